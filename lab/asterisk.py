"""One running Asterisk of the lab: its own address, folder, mount and process namespaces. Nothing can be left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from string import Template

from lab.tree import LabError

CONFIGURATION = Path(__file__).parent / "etc"
PHONES = range(101, 150)
MOBILES = range(150, 156)  # phones that Asterisk knows the place of only when they register
MAILBOXES = range(101, 106)  # phones that have one, as voicemail.conf says
PROVIDER_HOST = 250  # last byte of the address at which the lab's telephone company listens
AMI_PORT = 5038
LOCKS = Path("/run/lock")  # one for the machine, whatever cache folder a lab uses

# Mounts and processes die with the namespaces. `$1` is the tree, `$2` the folder of this instance.
START = """
set -e
mount --make-rprivate /
mount --rbind "$2" "$1/lab"
mount --bind "$2/hosts" "$1/etc/hosts"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
# Each call needs ten descriptors, four of them RTP sockets; with none left Asterisk drops calls, and CEL lines too.
ulimit -n "$(ulimit -H -n)"
exec chroot "$1" env $3 asterisk -C /lab/etc/asterisk.conf -U asterisk -G asterisk -f
"""


# Only what the clock on the wall says is faked: timers go on.
OWN_CLOCK = (
    "LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1 FAKETIME_TIMESTAMP_FILE=/lab/clock "
    "FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1"
)


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Return when `condition` holds; a LabError that names `what` if it does not in `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.02)


class Asterisk:
    """An Asterisk on `address` (127.77.N.1), with its configuration and logs in `folder`.

    `folder/etc` is /etc/asterisk, `folder/log` is /var/log/asterisk, `folder/spool` is /var/spool/asterisk.
    """

    def __init__(self, tree: Path, folder: Path, *, own_clock: bool = False, lamps: bool = False) -> None:
        self.tree = tree
        self.own_clock = own_clock  # it takes its time from `set_clock`
        self.lamps = (
            lamps  # phones with a mailbox are told of their messages; to a SIPp phone that would be its one call
        )
        self.folder = folder
        self.etc = folder / "etc"
        self.log = folder / "log"
        self.network, self._claim = claim_network()
        self.address = f"{self.network}.1"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def journal(self) -> Path:
        """The CEL file that pbxd tails."""
        return self.log / "cel-custom" / "pbxd.csv"

    @property
    def pid(self) -> int:
        """Process id of Asterisk itself, as the host sees it."""
        if self.process is None:
            raise LabError("this Asterisk was not started")
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        if not children:
            raise LabError(f"Asterisk has ended; see {self.folder}/console.log")
        return int(children[0])

    def phone(self, extension: int | str) -> str:
        """The address at which the phone of `extension` listens."""
        return f"{self.network}.{extension}"

    @property
    def provider(self) -> str:
        """The address of the telephone company at the other end of the trunk."""
        return f"{self.network}.{PROVIDER_HOST}"

    def write_configuration(self) -> None:
        """Lay the lab's own Asterisk configuration; pbxd's part is added by pbxd's own generator."""
        uid, gid = owner(self.tree)
        for part in ("etc", "log", "log/cdr-csv", "spool", "spool/outgoing", "lib", "run"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
            os.chown(self.folder / part, uid, gid)
        names = {"network": self.network, "address": self.address, "provider": self.provider}
        for template in sorted(CONFIGURATION.glob("*.conf")):
            (self.etc / template.name).write_text(Template(template.read_text()).substitute(names))
        with (self.etc / "pjsip.conf").open("a") as file:
            file.writelines(phone_sections(extension, self.phone(extension), lamp=self.lamps) for extension in PHONES)
            file.writelines(phone_sections(extension, "") for extension in MOBILES)
        self.set_clock(0)
        hosts = f"127.0.0.1 localhost {socket.gethostname()} A.ROOT-SERVERS.NET a.root-servers.net\n"
        (self.folder / "hosts").write_text(hosts)

    def start(self) -> None:
        """Start it and return when it answers on its command socket and on AMI."""
        if (self.folder / "run" / "asterisk.ctl").exists():
            (self.folder / "run" / "asterisk.ctl").unlink()
        with (self.folder / "console.log").open("ab") as console:
            self.process = subprocess.Popen(
                [
                    "unshare",
                    "--mount",
                    "--pid",
                    "--fork",
                    "--kill-child",
                    "sh",
                    "-c",
                    START,
                    "lab",
                    *self._folders(),
                ],
                stdout=console,
                stderr=console,
                stdin=subprocess.DEVNULL,
            )
        wait_until(self._ready, f"Asterisk to start; its log is {self.folder}/console.log")

    def _folders(self) -> tuple[str, str, str]:
        return str(self.tree), str(self.folder), OWN_CLOCK if self.own_clock else ""

    def set_clock(self, offset: float) -> None:
        """Set its clock to ours plus `offset` seconds, also while it runs (libfaketime)."""
        new = self.folder / "clock.new"
        new.write_text(f"{offset:+.0f}\n")
        new.rename(self.folder / "clock")

    def _ready(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            log = (self.folder / "console.log").read_text(errors="replace").splitlines()[-15:]
            raise LabError("Asterisk ended at its start:\n" + "\n".join(log))
        return "fully booted" in self.command("core waitfullybooted").lower()

    def command(self, line: str) -> str:
        """What `asterisk -rx LINE` prints; empty if it does not listen yet."""
        control = self.folder / "run" / "asterisk.ctl"
        if not control.exists():
            return ""
        # What `asterisk -rx` sends: with this prefix Asterisk closes the socket when the answer is complete.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(10)
            try:
                link.connect(str(control))
                link.sendall(f"cli quit after {line}".encode() + b"\0")
                return read_answer(link)
            except (ConnectionError, TimeoutError):
                return ""

    def call_file(self, text: str) -> None:
        """Have it place a call: a file moved into its outgoing spool, as Asterisk asks for it."""
        outgoing = self.folder / "spool" / "outgoing"
        file = self.folder / "spool" / "click.call"
        file.write_text(text)
        os.chown(file, *owner(self.tree))
        file.rename(outgoing / f"{time.time_ns()}.call")

    def stop(self) -> None:
        """Ask it to stop now; returns when it is gone."""
        if self.process is None:
            return
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process = None

    def kill(self) -> None:
        """kill -9, as a power cut would."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.process.wait(30)
        self.process = None

    def cpu_seconds(self) -> float:
        """CPU time that it has used since its start, user and system."""
        return cpu_seconds(self.pid)

    def discard(self) -> None:
        """Stop it and delete its folder."""
        self.stop()
        self._claim.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def read_answer(link: socket.socket) -> str:
    """All that the command socket answers to one command, without the greeting (`host/pid/version`)."""
    answer = bytearray()
    while part := link.recv(65536):
        answer += part
    return answer.replace(b"\0", b"").decode(errors="replace").partition("\n")[2]


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, user and system, in seconds (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def owner(tree: Path) -> tuple[int, int]:
    """User and group id of `asterisk` in the tree."""
    for line in (tree / "etc/passwd").read_text().splitlines():
        name, _, uid, gid, *_ = line.split(":")
        if name == "asterisk":
            return int(uid), int(gid)
    raise LabError(f"the tree {tree} has no user asterisk; delete it to have it built again")


def claim_network() -> tuple[str, TextIOWrapper]:
    """A /24 of the loopback range that no other lab uses now, and the lock that holds it."""
    for number in range(1, 255):
        lock = (LOCKS / f"pbxd-lab-network-{number}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        if _somebody_listens(f"127.77.{number}.1"):  # an Asterisk that a lab left behind when it was killed
            lock.close()
            continue
        return f"127.77.{number}", lock
    raise LabError("254 labs run at once: none is left of the loopback addresses")


def _somebody_listens(address: str) -> bool:
    with socket.socket() as link:
        return link.connect_ex((address, AMI_PORT)) == 0


def phone_sections(extension: int, address: str, *, lamp: bool = False) -> str:
    """The pjsip.conf sections of one phone: found by its user name, reached at a fixed address, or where it registers from."""
    # Asterisk tells a phone of its messages without being asked: PJSUA asks only after a registration, which there is none of.
    told = f"mailboxes={extension}@default\n" if lamp and extension in MAILBOXES else ""
    return (
        f"\n[{extension}](phone)\naors={extension}\ncallerid=Phone {extension} <{extension}>\n{told}"
        f"named_call_group={(extension - 1) // 4}\nnamed_pickup_group={(extension - 1) // 4}\n"
        f"[{extension}](reached)\n" + (f"contact=sip:{extension}@{address}:5060\n" if address else "")
    )
