"""A process that looks after a spool once: `python -m tests.voicemail.keeper FOLDER AMI_PORT MAIL_PORT STEP`; to be killed.

It ends as by kill -9 before its STEPth change of a file or commit of the database, counted from when the store is open; 0 is never.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from pbxd.asterisk.manager import AmiSettings, ManagerSession
from pbxd.comms.store import CommsSettings, Communications
from pbxd.voicemail.archive import VOICEMAIL, Archived
from pbxd.voicemail.index import Index
from pbxd.voicemail.mailboxes import Mailboxes
from pbxd.voicemail.notices import Notices
from pbxd.voicemail.operations import Operations
from pbxd.voicemail.rules import BoxRule, Rules
from pbxd.voicemail.upkeep import Upkeep
from tests.comms.conftest import PEOPLE

DAY = 86_400
ANNA = "anna@example.org"


def rules(mail_port: int = 0, **box: Any) -> Rules:
    """What heard is archived after a day, and anna is told of what is new, if there is a mail server."""
    server = {"host": "127.0.0.1", "port": mail_port, "security": "none", "ca_file": None, "timeout": 30.0}
    boxes = {"101@default": BoxRule(mail=(ANNA,) if mail_port else (), sound=True, archive_after=DAY, **box)}
    return Rules(BoxRule(archive_after=DAY), boxes, server=server if mail_port else None, sender="pbx@example.org")


class Keeping:
    """The parts, on real files and a real connection."""

    def __init__(self, store: Communications, index: Index, ami: ManagerSession, of: Rules) -> None:
        self.rules = of
        self.index = index
        self.store = store
        self.clock = 0.0  # s beyond the machine's own
        operations = Operations(ami, index)
        self.upkeep = Upkeep(store, index, operations, lambda: self.rules, self._now)
        self.notices = Notices(store, index, lambda: self.rules, self._now)
        self.mailboxes = Mailboxes(store, index, operations, self.upkeep)

    def _now(self) -> float:
        return self.store.vault.clock() + self.clock

    async def archive_sound(self, row: Archived) -> bytes:
        """What is in the vault."""
        return await self.upkeep.archive.sound(row)

    async def look(self) -> None:
        """Look at the spool, and do what is to be done."""
        await self.index.look()
        await self.upkeep.look()


@asynccontextmanager
async def keeping(folder: Path, ami_port: int, of: Rules) -> AsyncIterator[Keeping]:
    """An open store, and a session; with `ami_port` 0 there is none."""
    store = await Communications.open(
        CommsSettings(folder / "comms", folder / "keys" / "comms.key"), lambda: PEOPLE, [VOICEMAIL]
    )
    up = asyncio.Event()

    async def connected(_session: ManagerSession) -> None:
        up.set()

    settings = AmiSettings(port=ami_port or 1, secret="x")
    ami = ManagerSession(settings, {}, connected)
    running = asyncio.create_task(ami.run())
    try:
        if ami_port:
            await up.wait()
        made = Keeping(store, Index(folder / "voicemail"), ami, of)
        await made.index.look()
        yield made
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await store.close()


def die_at(step: int) -> None:
    """End this process, as kill -9 would, before its `step`th rename, unlink, fsync or commit."""
    left = [step]

    def count() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            count()
            return real(*args, **kwargs)

        return call

    for name in ("rename", "unlink", "fsync"):
        setattr(os, name, counted(getattr(os, name)))
    event.listen(Engine, "commit", lambda _connection: count())


async def keep_once(folder: Path, ami_port: int, mail_port: int, step: int) -> None:
    """One look at everything."""
    async with keeping(folder, ami_port, rules(mail_port)) as made:
        if step:
            die_at(step)
        await made.upkeep.look()
        if mail_port:
            await made.notices.look()
        assert not made.upkeep.last_error, made.upkeep.last_error


if __name__ == "__main__":
    place, *numbers = sys.argv[1:]
    asyncio.run(keep_once(Path(place), *map(int, numbers)))
    print("done", flush=True)
