"""What is promised in seconds, measured: off within 1 s, support ended within 1 s, a dead line given up within its bound.

    python -m bench.promises [--repeats 10] [--long] [--json]

A real hub, a real pbxd, its real link as a process of another user, OpenSSH's client as the person of support. Times are from the
customer's word until the kernel says that it is done: the link holds no connected socket, no process of the session is left.
The dead line: the link is in a network namespace of its own, behind another one that is a router and, from one moment on, forwards
nothing: both ends' cables are plugged in, and every packet is dropped. `--long` adds the keepalive that a box has by itself (81 s).
Needs root. Exit 1 if a time is over its bound.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.table import show
from lab.asterisk import wait_until
from pbxd.config.uplink import Uplink
from pbxd.policy import network
from pbxd.uplink.support.family import MARK
from tests.hub.running import Hub, Template
from tests.uplink.boxes import BoxEnd
from tests.uplink.support.rig import Rig, halls, read_until, say
from tests.uplink.test_service import UplinkBox

OFF, ENDED = 1.0, 1.0  # s: the bounds of issue 5
PROCESSES = 50  # of a support session
ESTABLISHED = "01"  # in /proc/net/tcp
LOOK = 0.002  # s between two looks at the kernel
KEEPALIVE, COUNT = 1.0, 3  # of the dead line, so that a run takes seconds
ORPHANS = (
    "sleep {mark} & setsid -f sleep {mark}; (setsid sleep {mark} >/dev/null 2>&1 &)",  # a job, a daemon, an orphan: 16 times
    "sleep {mark} & env -i setsid -f sleep {mark}",  # and one more, and one without the ticket's mark
)


@dataclass(slots=True)
class Promise:
    """One of them: what is measured, its bound in seconds (none: it is only told), the times in seconds."""

    what: str
    bound: float | None
    times: list[float] = field(default_factory=list)

    @property
    def broken(self) -> bool:
        """Whether any time is over the bound."""
        return self.bound is not None and max(self.times) > self.bound

    def row(self) -> tuple[str, int, float, float, str, str]:
        """A line of the table."""
        said = "" if self.bound is None else "over" if self.broken else "kept"
        bound = "" if self.bound is None else f"{self.bound:.2f}"
        return self.what, len(self.times), statistics.median(self.times), max(self.times), bound, said


def until(condition: Callable[[], bool], began: float, longest: float = 300.0) -> float:
    """Seconds from `began` until it holds. RuntimeError if it never does."""
    while not condition():
        if time.monotonic() - began > longest:
            raise RuntimeError(f"it did not end within {longest:.0f} s")
        time.sleep(LOOK)
    return time.monotonic() - began


def silent(pid: int) -> bool:
    """Whether a process holds no connected socket; one that is gone holds none."""
    found = network.process(pid)
    return found is None or not found.connected


def connection(pid: int) -> set[str]:
    """The inodes of a process's sockets that are connected; those of its next tries are others."""
    home = Path(f"/proc/{pid}")
    lines = [line.split() for line in read(pid, "net/tcp").decode().splitlines()[1:]]
    return {fields[9] for fields in lines if fields[3] == ESTABLISHED} & network.held(home)


def closed(pid: int, sockets: set[str]) -> bool:
    """Whether a process has let go of these sockets."""
    try:
        return not sockets & network.held(Path(f"/proc/{pid}"))
    except OSError:
        return True


# Off


def switched_off(folder: Path, template: Template, repeats: int) -> Iterator[Promise]:
    """A box that is connected, and is switched off by each of the two ways; the command once with its own start."""
    hub = Hub(folder / "hub", template)
    hub.start()
    (folder / "box").mkdir()
    (folder / "box").chmod(0o755)
    box = UplinkBox(folder / "box", hub)
    try:
        box.start()
        done = box.ctl_here("uplink", "enrol", "--token", asyncio.run(hub.token()))
        if done.returncode:
            raise RuntimeError(done.stderr)
        yield _off(Promise("off by uplink.enabled: false and a reload", OFF), box, repeats, flag)
        flagged = Promise("of that, after the word lay on the disk", None)
        yield _off(Promise("off by pbxctl uplink off", OFF), box, repeats, command, flagged)
        yield flagged
        yield _off(Promise("the same, with the start of pbxctl", None), box, repeats, program)
    finally:
        box.kill()
        hub.kill()


def _off(
    promise: Promise, box: UplinkBox, repeats: int, off: Callable[[UplinkBox], None], flagged: Promise | None = None
) -> Promise:
    """`flagged` takes the part of each time that came after `outbox/off` was there."""
    for _ in range(repeats):
        box.reload(enabled=True)
        box.ctl_here("uplink", "on")
        wait_until((box.outbox / "enabled").exists, "the link to be allowed")
        box.start_link()
        box.becomes(connected=True)
        link = box.link
        assert link is not None
        with ThreadPoolExecutor(
            1
        ) as thread:  # the command ends later than the link does: it has something to write and to say
            began, clock = time.monotonic(), time.time()
            asked = thread.submit(off, box)
            took = until(lambda pid=link.pid: silent(pid), began)  # type: ignore[misc]
            asked.result()
        promise.times.append(took)
        if flagged is not None:
            flagged.times.append(took - ((box.outbox / "off").stat().st_mtime - clock))
        if link.wait(60):
            raise RuntimeError(f"the link ended with {link.returncode}")
    return promise


def flag(box: UplinkBox) -> None:
    """Write the configuration, and tell pbxd by its signal, without waiting."""
    box.configure(enabled=False)
    assert box.process is not None
    subprocess.run(["kill", "-HUP", str(box.process.pid)], check=True)


def command(box: UplinkBox) -> None:
    """pbxctl, without the start of an interpreter."""
    done = box.ctl_here("uplink", "off")
    if done.returncode:
        raise RuntimeError(done.stderr)


def program(box: UplinkBox) -> None:
    """pbxctl as a process of its own."""
    box.ctl("uplink", "off")


# The end of support


def support_ended(folder: Path, repeats: int) -> Iterator[Promise]:
    """A shell of a person with many processes: jobs, daemons, orphans, some without the ticket's mark."""
    folder.mkdir()
    folder.chmod(0o755)
    rig = Rig(folder)
    rig.pbxd.start()
    try:
        for what, bound, start in (
            ("support ended by pbxctl support end", ENDED, rig.pbxd.ctl_here),
            ("the same, with the start of pbxctl", None, rig.pbxd.ctl),
        ):
            promise = Promise(f"{what}, {PROCESSES} processes", bound)
            for _ in range(repeats):
                promise.times.append(_ended(rig, start))
            yield promise
    finally:
        rig.pbxd.kill()


def _ended(rig: Rig, ctl: Callable[..., subprocess.CompletedProcess[str]]) -> float:
    mark = str(random.SystemRandom().randrange(10**6, 10**8))  # seconds to sleep, by which the processes are found
    with rig.ticket("shell") as ticket, rig.shell(ticket) as person:
        read_until(person, b"COMMUNICATIONS")
        say(person, f"for n in $(seq 16); do {ORPHANS[0]} ; done; {ORPHANS[1]}".format(mark=mark))
        wait_until(lambda: len(sleeping(mark)) >= PROCESSES, f"{PROCESSES} processes")
        family = {*sleeping(mark), *halls()}
        with ThreadPoolExecutor(1) as thread:
            began = time.monotonic()
            asked = thread.submit(ctl, "support", "end")
            took = until(lambda: not any(map(alive, family)), began)
            if asked.result().returncode:
                raise RuntimeError(asked.result().stderr)
        if sleeping(mark) or marked(ticket):
            raise RuntimeError("processes of the session are left")
    return took


def sleeping(mark: str) -> list[int]:
    """The processes of the session."""
    return [pid for pid in everyone() if words_of(pid)[:2] == [b"sleep", mark.encode()]]


def marked(ticket: str) -> list[int]:
    """Whatever carries a ticket's mark in its environment."""
    return [pid for pid in everyone() if f"{MARK}={ticket}".encode() in read(pid, "environ").split(b"\0")]


def everyone() -> list[int]:
    """All processes."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def words_of(pid: int) -> list[bytes]:
    """The arguments of a process."""
    return read(pid, "cmdline").split(b"\0")


def alive(pid: int) -> bool:
    """Whether a process is there, and is not only waited for."""
    return read(pid, "stat").rpartition(b")")[2].split()[:1] not in ([], [b"Z"], [b"X"])


def read(pid: int, name: str) -> bytes:
    """A file of a process in /proc; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


# A dead line


@dataclass(frozen=True, slots=True)
class Line:
    """A way from a namespace `box` by a router `router` to us, by two pairs of interfaces."""

    box: str
    router: str
    hub: str  # our address at its end

    def forwards(self, *, packets: bool) -> None:
        """Let packets through, or drop all of them."""
        ip("netns", "exec", self.router, "sysctl", "-qw", f"net.ipv4.ip_forward={int(packets)}")


def ip(*words: str) -> None:
    """ip(8)."""
    subprocess.run(["ip", *words], check=True)


@contextmanager
def line() -> Iterator[Line]:
    """Make one, in addresses for benchmarks (RFC 2544), and take it away."""
    name = f"pbxd{random.SystemRandom().randrange(10**6)}"
    third = random.SystemRandom().randrange(256)
    near, far = f"198.18.{third}", f"198.19.{third}"
    made = Line(f"{name}b", f"{name}r", f"{near}.1")
    try:
        for space in (made.box, made.router):
            ip("netns", "add", space)
            ip("-n", space, "link", "set", "lo", "up")
        ip("link", "add", f"{name}h", "type", "veth", "peer", "name", "hub", "netns", made.router)
        ip("-n", made.router, "link", "add", "box", "type", "veth", "peer", "name", "eth", "netns", made.box)
        ip("address", "add", f"{near}.1/30", "dev", f"{name}h")
        ip("link", "set", f"{name}h", "up")
        for space, device, address in (
            (made.router, "hub", f"{near}.2/30"), (made.router, "box", f"{far}.1/30"), (made.box, "eth", f"{far}.2/30"),
        ):  # fmt: skip
            ip("-n", space, "address", "add", address, "dev", device)
            ip("-n", space, "link", "set", device, "up")
        ip("-n", made.box, "route", "add", "default", "via", f"{far}.1")
        ip("route", "add", f"{far}.0/30", "via", f"{near}.2")
        made.forwards(packets=True)
        yield made
    finally:
        for space in (made.box, made.router):  # the interfaces go with them, and ours with its other end
            subprocess.run(["ip", "netns", "delete", space], check=False)


def connected_again(end: BoxEnd, before: str) -> str:
    """Wait for a connection since another time than `before`; since when it is."""
    found = {"since": before}

    def again() -> bool:
        found.update({"state": ""} | end.status())
        return found["state"] == "connected" and found["since"] != before

    end.wait(again, "the link to be connected again")
    return found["since"]


def given_up(folder: Path, template: Template, repeats: int, keepalive: float, count: int) -> Promise:
    """A link whose line is dead from one moment on, until it has closed its connection."""
    bound = keepalive * (count + 1) + 1
    promise = Promise(f"a dead line is closed, keepalive {keepalive:g} s, {count} times", bound)
    folder.mkdir()
    folder.chmod(0o755)
    with line() as way:
        hub = Hub(folder / "hub", template)
        text = hub.config_file.read_text()
        hub.config_file.write_text(text.replace(f"listen: {hub.address}", f"listen: {way.hub}"))
        hub.address = way.hub
        hub.start()
        (folder / "end").mkdir()
        end = BoxEnd(folder / "end")
        try:
            asyncio.run(end.enrol(hub))
            end.tell(keepalive=keepalive, keepalive_count=count)
            link = end.start("ip", "netns", "exec", way.box)
            since = ""
            for _ in range(repeats):
                since = connected_again(end, since)
                sockets = connection(link.pid)
                if not sockets:
                    raise RuntimeError("the link has no connection")
                time.sleep(random.SystemRandom().random() * keepalive)  # at any moment between two signs of life
                began = time.monotonic()
                way.forwards(packets=False)
                promise.times.append(until(lambda sockets=sockets: closed(link.pid, sockets), began))  # type: ignore[misc]
                way.forwards(packets=True)
        finally:
            end.close()
            hub.kill()
    return promise


def measure(repeats: int, *, long: bool) -> Iterator[Promise]:
    """All of them, one after the other."""
    with tempfile.TemporaryDirectory(prefix="pbxd-promises-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "template").mkdir()
        template = Template(folder / "template")
        yield from switched_off(folder, template, repeats)
        yield from support_ended(folder / "support", repeats)
        yield given_up(folder / "line", template, repeats, KEEPALIVE, COUNT)
        if long:
            own = Uplink()
            yield given_up(folder / "long", template, 1, own.keepalive, own.keepalive_count)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--long", action="store_true", help="a dead line with the keepalive of a box too: 81 s more")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("run it as root: the link runs as another user, and the line in network namespaces")
    found = list(measure(arguments.repeats, long=arguments.long))
    head = ("promise", "times", "median, s", "worst, s", "bound, s", "")
    load = os.getloadavg()[0]
    show(f"promises in seconds, load {load:.1f}", head, [one.row() for one in found], as_json=arguments.json)
    return int(any(one.broken for one in found))


if __name__ == "__main__":
    sys.exit(main())
