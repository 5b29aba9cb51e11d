"""Recordings after the call: the pipeline, the library, and what keeps them in order. Started and stopped by the daemon."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from pbxd.comms.host import CommsHost
from pbxd.comms.store import Communications
from pbxd.errors import CommsError, RecordingError
from pbxd.recording import spool as spools
from pbxd.recording.catalogue import Catalogue
from pbxd.recording.library import Library
from pbxd.recording.pipeline import Pipeline
from pbxd.recording.retention import Keep
from pbxd.waking import woken

PURGE = 3600.0  # s between looks for recordings that have been kept long enough
ROOM = 60.0  # s between looks at the disk
log = structlog.get_logger("pbxd.recording")


@dataclass(frozen=True, slots=True)
class ArchiveSettings:
    """How recordings are kept."""

    spools: Sequence[Path]
    codec: str
    keep: Callable[[], Keep]
    keep_free: Callable[[], int | None]  # bytes


class RecordingService:
    """From the spool to the listener."""

    def __init__(self, host: CommsHost, settings: ArchiveSettings, every: float = ROOM) -> None:
        self._host = host
        self._settings = settings
        self._every = every  # s between looks at what is kept
        self._pipeline: Pipeline | None = None
        self._library: Library | None = None
        self._recount = asyncio.Event()  # the totals are not what is in the catalogue
        self._totals = {"recordings": 0, "damaged": 0, "held": 0}  # of the catalogue, at the last look

    @property
    def library(self) -> Library:
        """The recordings. CommsError if the store is not open."""
        if self._library is None:
            raise CommsError(f"recordings cannot be reached: {self._host.last_error or 'pbxd is starting'}")
        return self._library

    @property
    def store(self) -> Communications:
        """The store. CommsError if it is not open."""
        return self._host.store

    def notice(self, name: str = "") -> None:
        """A recording is complete in the spool."""
        if self._pipeline is not None:
            self._pipeline.notice(name)

    async def run(self) -> None:
        """Wait for the store, then empty the spool and keep the vault in order, until cancelled."""
        store = await self._host.opened()
        catalogue = Catalogue(store.database, store.vault)
        settings = self._settings
        pipeline = Pipeline(settings.spools, settings.codec, store, catalogue, self._recount.set)
        library = Library(store, catalogue, settings.keep, settings.spools)
        await self._look_at_orphans(store)
        self._pipeline, self._library = pipeline, library
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(pipeline.run())
                tasks.create_task(self._keep_in_order(library))
        finally:
            self._pipeline = self._library = None

    async def _look_at_orphans(self, store: Communications) -> None:
        """Objects without a row: what still lies in the spool is made again, all others are set aside."""
        for name in store.recovered.unknown:
            if (
                not any((spool / name).is_dir() for spool in self._settings.spools)
                and await store.vault.find(name) is None
            ):
                await store.vault.set_aside(name)

    async def count(self) -> None:
        """Count what is in the catalogue, for the status. CommsError if it cannot be read."""
        self._totals = await self.library.catalogue.totals()

    async def _keep_in_order(self, library: Library) -> None:
        looked: float | None = None
        loop = asyncio.get_running_loop()
        while True:
            try:
                free = self._settings.keep_free()
                if free is not None:
                    await library.make_room(free)
                if looked is None or loop.time() - looked >= PURGE:
                    await library.purge()
                    looked = loop.time()
                await self.count()
            except (CommsError, RecordingError, OSError) as error:
                log.error("recordings cannot be put in order", error=str(error))
            await self._until_looked_at_again()

    async def _until_looked_at_again(self) -> None:
        """Wait, and count meanwhile when something was damaged: its alarm does not wait for the next look."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._every
        while await woken(self._recount, until - loop.time()):
            self._recount.clear()
            try:
                await self.count()
            except CommsError as error:
                log.error("recordings cannot be counted", error=str(error))

    def status(self) -> dict[str, Any]:
        """How it stands, read from the parts; `error` is why nothing goes into the vault, empty while it does."""
        try:
            folders = spools.look(self._settings.spools)
            free = max((shutil.disk_usage(spool).free for spool in self._settings.spools if spool.exists()), default=0)
        except OSError as error:
            return {"error": f"{error.filename} cannot be read: {error.strerror}", "blocked": True, **self._totals}
        found: dict[str, Any] = {
            "error": "", "waiting": len(folders.ready), "oldest": folders.oldest, "unfinished": folders.unfinished,
            "spool_free": free, **self._totals,
        }  # fmt: skip
        if self._pipeline is None:
            why = self._host.last_error or "the store is being opened"
            return found | {"error": why, "blocked": True, "failing": {}}
        troubles = self._pipeline.troubles
        counters = asdict(self._pipeline.counters) | self._totals  # damaged ones are counted over all starts
        alarm = {"error": troubles.alarm, "blocked": bool(troubles.alarm)}
        return found | counters | alarm | {"failing": dict(troubles.of)}
