"""A pbxd that is enrolled, a support CA, and people of support with OpenSSH's own client."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab.asterisk import wait_until
from lab.tree import LabError
from pbxd.cli.client import UnixConnection
from pbxd.uplink.keyring import make_signer
from pbxd.uplink.notes import Signer
from pbxd.uplink.vocabulary import message_text, time_text
from tests.running import Running

BOX = "0123456789abcdef"
PUMP = """
import os, select, socket, sys
link = socket.socket(socket.AF_UNIX); link.connect(sys.argv[1])
while True:
    for ready in select.select([0, link], [], [])[0]:
        data = os.read(0, 65536) if ready == 0 else link.recv(65536)
        if not data: sys.exit(0)
        link.sendall(data) if ready == 0 else os.write(1, data)
"""
KEYS = """
uplink:
  {{support: {folder}/support, outbox: {folder}/outbox, state: {folder}/link, key_file: {folder}/keys/ledger.key,
    accepted: {folder}/accepted.yaml, health_wait: 1ms, {more}}}
"""


class Key:
    """A key pair of OpenSSH's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)

    @property
    def public(self) -> str:
        return self.path.with_suffix(".pub").read_text().strip()


class Rig:
    """The box, and the vendor's people."""

    def __init__(self, folder: Path, more: str = "allow_shell: true") -> None:
        self.folder = folder
        self.pbxd = Running(folder)
        self.pbxd.config.write_text(self.pbxd.config.read_text() + KEYS.format(folder=folder, more=more))
        self.authority, self.person = Key(folder / "ca"), Key(folder / "person")
        self.messages = Signer("vendor-messages", bytes(range(32)))
        self.outbox = folder / "outbox"
        (self.outbox / "down").mkdir(parents=True)
        (folder / "link").mkdir()
        self.ledger_key = make_signer(folder / "keys" / "ledger.key").verifier.text
        self.enrol()

    def enrol(self) -> None:
        """As after an enrolment with a hub."""
        value = {
            "box": BOX, "hub": "hub.example.org:22", "until": "2036-01-01T00:00:00Z", "support_ca": self.authority.public,
            "message_key": self.messages.verifier.text, "ledger": self.ledger_key,
        }  # fmt: skip
        (self.outbox / "identity").mkdir(exist_ok=True)
        (self.outbox / "identity" / "enrolment.json").write_text(json.dumps(value))

    @contextlib.contextmanager
    def configured(self, old: str, new: str) -> Iterator[None]:
        """The box with another configuration, for a while."""
        text = self.pbxd.config.read_text()
        assert old in text
        self.pbxd.config.write_text(text.replace(old, new))
        self.ask("/v1/reload", "POST")
        try:
            yield
        finally:
            self.pbxd.config.write_text(text)
            self.ask("/v1/reload", "POST")

    @property
    def socket(self) -> Path:
        return self.outbox / "support.sock"

    def open(self, scope: str = "diagnose", *more: str) -> str:
        """A ticket, and that it is listened for."""
        done = self._asked(scope, *more)
        assert done.returncode == 0, done.stderr
        return self._named(done)

    def open_briefly(self) -> str:
        """A ticket whose time is soon over: as short a one as this machine can begin to listen for."""
        for seconds in (1, 3, 10, 30):
            done = self._asked("diagnose", "--for", f"{seconds}s")
            if done.returncode == 0:
                return self._named(done)
        raise LabError(done.stderr)

    def _asked(self, scope: str, *more: str) -> subprocess.CompletedProcess[str]:
        return self.pbxd.ctl("support", "open", "--scope", scope, "--reason", "request", "--yes", *more)

    @staticmethod
    def _named(done: subprocess.CompletedProcess[str]) -> str:
        found = re.search(r"ticket ([0-9a-f]{16}) is open", done.stdout)
        assert found is not None, done.stdout
        return found[1]

    @contextlib.contextmanager
    def ticket(self, scope: str = "diagnose", *more: str) -> Iterator[str]:
        """An open ticket, which is ended."""
        name = self.open(scope, *more)
        try:
            yield name
        finally:
            if self.shown(name)["state"] == "open":
                self.ask(f"/v1/support/{name}/end", "POST")

    def certify(self, ticket: str, *, authority: Key | None = None, valid: str = "-1m:+1h", **also: str) -> None:
        """A certificate for the person, as the vendor makes it, or with something wrong."""
        key_id = also.get("key_id", f"zoe ticket {ticket}")
        principals = also.get("principals", ticket)
        words = ["ssh-keygen", "-q", "-s", str((authority or self.authority).path), "-I", key_id, "-V", valid]
        words += ["-n", principals] if principals else []
        words += also.get("options", "").split()
        subprocess.run([*words, str(self.person.path.with_suffix(".pub"))], check=True)

    def ssh_words(self, user: str, *words: str) -> list[str]:
        proxy = shlex.join([sys.executable, "-c", PUMP, str(self.socket)])
        options = {
            "ProxyCommand": proxy, "IdentityFile": str(self.person.path), "IdentitiesOnly": "yes", "BatchMode": "yes",
            "StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "LogLevel": "INFO",
        }  # fmt: skip
        given = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "none", *given, *words[:-1], f"{user}@{BOX}", *words[-1:]]

    def ssh(
        self, ticket: str, command: str, *options: str, user: str = "", text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """One command of a person; options of ssh go before the host."""
        words = self.ssh_words(user or ticket, *options, command)
        return subprocess.run(words, capture_output=True, text=True, check=False, input=text, timeout=60)

    @contextlib.contextmanager
    def shell(self, ticket: str) -> Iterator[subprocess.Popen[bytes]]:
        """A person at a shell, or at the prompt, on a terminal."""
        self.certify(ticket)
        words = self.ssh_words(ticket, "-tt", "")[:-1]
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        ) as person:
            try:
                yield person
            finally:
                person.kill()

    def visit(self, ticket: str, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        """The same, with a good certificate."""
        self.certify(ticket)
        return self.ssh(ticket, command, *options)

    def ask(self, route: str, method: str = "GET") -> Any:
        """As pbxctl asks, without the time that it takes to start."""
        with contextlib.closing(UnixConnection(self.folder / "control.sock")) as link:
            link.request(method, route)
            answer = link.getresponse()
            data = answer.read()
            assert answer.status == 200, data
            return json.loads(data)

    def shown(self, ticket: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(f"/v1/support/{ticket}")
        return found

    def ledger(self) -> list[dict[str, Any]]:
        """Its lines about support."""
        lines = map(json.loads, (self.outbox / "ledger").read_text().splitlines())
        return [{"event": line["event"], **line["facts"]} for line in lines if line["what"] == "support"]

    def events(self, ticket: str, event: str) -> list[dict[str, Any]]:
        return [one for one in self.shown(ticket)["events"] if one["event"] == event]

    def proposals(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("/v1/uplink/proposals")["proposals"]
        return found

    def send(self, message: dict[str, Any], signer: Signer | None = None) -> None:
        """A message as the link lays it down."""
        self.lay((signer or self.messages).sign(message_text(message)).encode())

    def lay(self, note: bytes) -> None:
        number = len(list((self.outbox / "down").iterdir()))
        path = self.outbox / "down" / f"{uuid.UUID(int=time.time_ns() + number)}.note"
        path.with_suffix(".half").write_bytes(note)
        path.with_suffix(".half").rename(path)

    def inbox(self, count: int) -> list[dict[str, Any]]:
        """All messages, when there are so many."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = self.ask("/v1/uplink/messages")["messages"]
            return len(found) >= count

        wait_until(there, f"{count} messages")
        return found


def read_until(person: subprocess.Popen[bytes], wanted: bytes) -> bytes:
    """What the person saw, up to some words."""
    assert person.stdout is not None
    seen = b""
    while wanted not in seen:
        data = os.read(person.stdout.fileno(), 65536)
        assert data, (seen, person.stderr and person.stderr.read())
        seen += data
    return seen


def say(person: subprocess.Popen[bytes], line: str) -> None:
    """Type a line."""
    assert person.stdin is not None
    person.stdin.write(line.encode() + b"\r")


def processes(mark: str) -> list[int]:
    """Those with some word among their arguments, wherever they are by now."""
    return [pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if mark in arguments(pid)]


def halls() -> list[int]:
    """The processes of tickets that this test's own daemons have; another test may run beside it."""
    return [pid for pid in processes("pbxd.uplink.support") if os.getpid() in ancestors(pid)]


def arguments(pid: int) -> list[str]:
    """Of a process; none if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []


def ancestors(pid: int) -> list[int]:
    """Its parent, its parent's, and so on."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        while pid > 1:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            found.append(pid)
    return found


def at(seconds: float) -> str:
    """A time from now, as the protocol writes it."""
    return time_text(datetime.fromtimestamp(time.time() + seconds, UTC))
