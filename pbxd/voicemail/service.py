"""Voicemail as the rest of pbxd uses it: the index, the mailboxes, what keeps them in order, who is told. Started by the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from pbxd.asterisk.manager import ManagerSession
from pbxd.comms.host import CommsHost
from pbxd.comms.store import Communications
from pbxd.errors import CommsError
from pbxd.voicemail.disk import Scan
from pbxd.voicemail.index import Index
from pbxd.voicemail.mailboxes import Mailboxes
from pbxd.voicemail.notices import Notices
from pbxd.voicemail.operations import Operations
from pbxd.voicemail.rules import Rules
from pbxd.voicemail.upkeep import Upkeep

COUNT = 60.0  # s between counts of what is in the archive
log = structlog.get_logger("pbxd.voicemail")


class Voicemail:
    """`run` is a part of its own for the daemon's `supervise`."""

    def __init__(self, host: CommsHost, spool: Path, ami: ManagerSession, rules: Callable[[], Rules]) -> None:
        self.index = Index(spool, self._changed)
        self.operations = Operations(ami, self.index)
        self._host = host
        self._rules = rules
        self._upkeep: Upkeep | None = None
        self._notices: Notices | None = None
        self._mailboxes: Mailboxes | None = None
        self._totals = {"archived": 0, "leaving": 0, "kept": 0, "held_messages": 0, "held_boxes": 0}

    @property
    def mailboxes(self) -> Mailboxes:
        """The mailboxes, for people. CommsError if the store is not open: nothing is done without a row in the audit."""
        if self._mailboxes is None:
            raise CommsError(f"mailboxes cannot be reached: {self._host.last_error or 'pbxd is starting'}")
        return self._mailboxes

    @property
    def store(self) -> Communications:
        """The store. CommsError if it is not open."""
        return self._host.store

    def _changed(self, _scan: Scan) -> None:
        for part in (self._upkeep, self._notices):
            if part is not None:
                part.notice()

    def configure(self) -> None:
        """The configuration was read again."""
        if self._notices is not None:
            self._notices.configure()
        if self._upkeep is not None:
            self._upkeep.notice()

    async def run(self) -> None:
        """Keep the index, and when the store is open the mailboxes too, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.index.run())
            tasks.create_task(self._serve())

    async def _serve(self) -> None:
        store = await self._host.opened()
        upkeep = Upkeep(store, self.index, self.operations, self._rules)
        notices = Notices(store, self.index, self._rules)
        await self.index.ready.wait()  # else every message would be said not to be there
        self._upkeep, self._notices = upkeep, notices
        self._mailboxes = Mailboxes(store, self.index, self.operations, upkeep)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(upkeep.run())
                tasks.create_task(notices.run())
                tasks.create_task(self._count(upkeep))
        finally:
            self._upkeep = self._notices = self._mailboxes = None

    async def _count(self, upkeep: Upkeep) -> None:
        while True:
            try:
                self._totals = await upkeep.archive.totals()
            except CommsError as error:
                log.error("what is archived cannot be counted", error=str(error))
            await asyncio.sleep(COUNT)

    def status(self) -> dict[str, Any]:
        """What lies there, and what is wrong with it."""
        scan, upkeep, notices = self.index.scan, self._upkeep, self._notices
        return {
            "spool": str(self.index.disk.root),
            "boxes": len(scan.boxes),
            "messages": len(scan.messages),
            "new": sum(message.new for message in scan.messages),
            "rejects": len(scan.rejects),
            "last_error": self.index.last_error,
            "unwatched": self.index.unwatched,
            **self._totals,
            "troubled": bool(upkeep and upkeep.last_error),
            "untold": bool(notices and notices.error),
            "upkeep": {**(asdict(upkeep.counters) if upkeep else {}), "error": upkeep.last_error if upkeep else ""},
            "notices": {"sent": notices.sent if notices else 0, "error": notices.error if notices else ""},
        }
