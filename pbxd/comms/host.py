"""Keeps the store of communications open while pbxd runs: tried again when it cannot be, and nothing else waits for it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import structlog

from pbxd.backoff import backoff
from pbxd.comms import theft
from pbxd.comms.people import SYSTEM, Directory
from pbxd.comms.schema import Part
from pbxd.comms.store import CommsSettings, Communications
from pbxd.errors import CommsError

FIRST, LONGEST = 1.0, 60.0  # s between tries to open it
UPKEEP = 3600.0  # s between looks for rows of the audit log that are old, and for what could not be overwritten
log = structlog.get_logger("pbxd.comms")


class CommsHost:
    """Opens the store for recordings, voicemail and chat."""

    def __init__(
        self,
        settings: CommsSettings,
        people: Callable[[], Directory],
        keep_audit: Callable[[], float | None],
        parts: Sequence[Part] = (),
    ) -> None:
        self._settings = settings
        self._people = people
        self._keep_audit = keep_audit
        self._parts = tuple(parts)
        self._store: Communications | None = None
        self._opened = asyncio.Event()
        self.last_error = ""

    @property
    def store(self) -> Communications:
        """The open store. CommsError, with the reason, if it is not open."""
        if self._store is None:
            raise CommsError(f"the store of communications is not open: {self.last_error or 'pbxd is starting'}")
        return self._store

    async def opened(self) -> Communications:
        """The store, when it is open."""
        await self._opened.wait()
        return self.store

    async def open(self) -> None:
        """Open the store, trying until it succeeds."""
        for delay in backoff(FIRST, LONGEST):
            try:
                self._store = await Communications.open(self._settings, self._people, self._parts)
            except CommsError as error:
                if str(error) != self.last_error:
                    log.error("the store of communications cannot be opened", error=str(error))
                self.last_error = str(error)
                await asyncio.sleep(max(0.1, delay))
            else:
                self.last_error = ""
                self._opened.set()
                return

    async def run(self) -> None:
        """Open the store, and look after it until cancelled. `close` comes after its users have ended."""
        if self._store is None:
            await self.open()
        while True:
            try:
                await self._look_after(self.store)
                self.last_error = ""
            except CommsError as error:
                log.error("the store of communications is not looked after", error=str(error))
                self.last_error = str(error)
            await asyncio.sleep(UPKEEP)

    async def _look_after(self, store: Communications) -> None:
        if store.vault.erase_pending:
            await store.vault.erase()
        keep = self._keep_audit()
        if keep is not None:
            await store.audit.cut(SYSTEM, int((store.vault.clock() - keep) * 1_000_000))

    async def close(self) -> None:
        """Close the store."""
        store, self._store = self._store, None
        self._opened.clear()
        if store is not None:
            await store.close()

    def status(self) -> dict[str, Any]:
        """How the store stands."""
        folder = self._settings.folder
        place = next(parent for parent in (folder, *folder.parents) if parent.exists())
        vault = None if self._store is None else self._store.vault
        recovered = None if self._store is None else self._store.recovered
        return {
            "open": self._store is not None,
            "error": self.last_error,
            "folder": str(folder),
            "free": shutil.disk_usage(place).free,
            "recipient": "" if vault is None else vault.key.recipient,
            "erase_pending": vault is not None and vault.erase_pending,
            "orphans": 0 if vault is None else vault.orphans(),
            "missing": [] if recovered is None else recovered.missing,
            "theft": asdict(theft.risk(folder, self._settings.key_file, self._settings.credentials)),
        }
