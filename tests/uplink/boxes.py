"""The box's end of the uplink without the rest of a box: a real ledger here, a real link as a process of another user."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab.asterisk import wait_until
from lab.tree import LabError, environment
from pbxd import __version__
from pbxd.uplink.bodies import Entry, body_of
from pbxd.uplink.enrol import Applicant, enrol
from pbxd.uplink.enrolment import CERTIFICATE, ENROLMENT, IDENTITY, KEY, Enrolment, LinkSettings
from pbxd.uplink.keyring import new_identity
from pbxd.uplink.ledger import Ledger
from pbxd.uplink.notes import Signer
from pbxd.uplink.outbox import DOWN, ENABLED, OFF, SETTINGS
from tests.hub.peer import HEALTH
from tests.hub.running import Hub

USER = "nobody"  # the link's user in tests: it owns nothing
GROUP = grp.getgrgid(pwd.getpwnam(USER).pw_gid).gr_gid


def health(uptime: int) -> Entry:
    """An entry, another for each number."""
    return Entry("health", body_of("health", {**HEALTH, "uptime": uptime}))


class BoxEnd:
    """One box's end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outbox, self.state = folder / "outbox", folder / "state"
        self.signer = Signer("pbxd-ledger-test", os.urandom(32))
        self.ledger = Ledger(self.outbox, self.signer, group=GROUP)
        self.ledger.open()
        self.state.mkdir()
        os.chown(self.state, pwd.getpwnam(USER).pw_uid, GROUP)
        self.state.chmod(0o750)
        for name, mode in ((IDENTITY, 0o2750), (DOWN, 0o2770)):
            (self.outbox / name).mkdir()
            os.chown(self.outbox / name, -1, GROUP)
            (self.outbox / name).chmod(mode)
        self.settings: LinkSettings | None = None
        self.box = ""
        self.process: subprocess.Popen[bytes] | None = None

    async def enrol(self, hub: Hub, token: str = "") -> None:
        """Enrol at the hub; the link may run from now on."""
        private, public = new_identity()
        address, keys = f"{hub.address}:{hub.port}", (hub.host_key,)
        who = Applicant(public, self.signer.verifier.text, "Praxis")
        answer = await enrol(address, keys, token or await hub.token(), who)
        self.box = answer["box"]
        made = Enrolment(
            self.box, address, answer["until"], answer["support_ca"], answer["message_key"], self.signer.verifier.text
        )
        self.ledger.replace(KEY, private)
        self.ledger.replace(CERTIFICATE, answer["certificate"].encode())
        self.ledger.replace(ENROLMENT, made.encoded())
        identity = hashlib.sha256(answer["certificate"].encode()).hexdigest()
        self.tell(
            LinkSettings(address, keys, 20.0, 3, 0.05, 1.0, None, self.signer.verifier.text, __version__, identity)
        )
        self.on()

    def tell(self, settings: LinkSettings | None = None, **changes: Any) -> None:
        """Settings for the link."""
        settings = settings or self.settings
        assert settings is not None
        self.settings = replace(settings, **changes)
        self.ledger.replace(SETTINGS, self.settings.encoded())

    def on(self) -> None:
        """The link may run."""
        (self.outbox / OFF).unlink(missing_ok=True)
        (self.outbox / ENABLED).touch()

    def off(self) -> None:
        """The customer's command."""
        (self.outbox / OFF).touch()
        (self.outbox / ENABLED).unlink(missing_ok=True)

    def command(self) -> list[str]:
        return [sys.executable, "-m", "pbxd.uplink.link", str(self.outbox), str(self.state), USER]

    def start(self, *before: str) -> subprocess.Popen[bytes]:
        """Start the link; `before` is a command that starts it, strace say."""
        with (self.folder / "link.json").open("ab") as log:
            self.process = subprocess.Popen([*before, *self.command()], stderr=log, env=environment())
        return self.process

    def log(self) -> str:
        return (self.folder / "link.json").read_text()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End the link, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait()

    def status(self) -> dict[str, Any]:
        """What the link says of itself."""
        try:
            found: dict[str, Any] = json.loads((self.state / "status.json").read_bytes())
        except FileNotFoundError:
            return {"state": "none"}
        return found

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something; in vain, it is told how the link stands."""
        try:
            wait_until(condition, what)
        except LabError as error:
            error.add_note(f"{self.status()}\n{self.log()[-3000:]}")
            raise

    def becomes(self, state: str) -> None:
        """Wait until the link stands so."""
        self.wait(lambda: self.status()["state"] == state, f"the link to be {state}")

    def sent(self) -> None:
        """Wait until all that there is was sent."""

        def nothing_open() -> bool:
            self.ledger.fold(self.state)
            return not self.ledger.book.open

        self.wait(nothing_open, "all to be sent")

    def close(self) -> None:
        self.kill()
        self.ledger.close()
