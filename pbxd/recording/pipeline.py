"""From the spool into the vault: put together, encoded, looked at, encrypted, durable, entered; only then the spool's folder goes.

A kill at any step loses and doubles nothing: what is in the vault already is not put there again, and what is not is made anew.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from pbxd.comms import priority
from pbxd.comms.store import Communications
from pbxd.errors import CommsError, ObjectGone, RecordingDamaged
from pbxd.recording.assemble import encode
from pbxd.recording.catalogue import Catalogue
from pbxd.recording.stage import READY

DAMAGED = "damaged.json"
LOOK = 60.0  # s between looks when nobody tells of anything
AGAIN = 5.0  # s after a disk that was full, or a store that took nothing
log = structlog.get_logger("pbxd.recording")


@dataclass(slots=True)
class PipelineCounters:
    """What became of recordings since the start."""

    stored: int = 0
    damaged: int = 0
    failed: int = 0  # tries
    waiting: int = 0
    last_error: str = ""  # empty when the last try worked


class Pipeline:
    """Empties the spool for as long as `run` runs."""

    def __init__(self, store: Communications, catalogue: Catalogue, spool: Path, codec: str) -> None:
        self.counters = PipelineCounters()
        self._store = store
        self._catalogue = catalogue
        self._spool = spool
        self._codec = codec
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "recordings", initializer=priority.lower_this_thread)

    def notice(self) -> None:
        """A recording is ready."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            whole = await self._empty()
            try:
                async with asyncio.timeout(LOOK if whole else AGAIN):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _empty(self) -> bool:
        """Take in all that is ready; whether nothing is left."""
        ready = sorted(self._spool.glob(f"*/{READY}"), key=lambda path: path.parent.name)
        self.counters.waiting = len(ready)
        for path in ready:
            try:
                await self.take_in(path.parent)
            except RecordingDamaged as error:
                self.counters.damaged += 1
                log.error("a recording is damaged; its folder is kept", folder=str(path.parent), error=str(error))
                path.rename(path.with_name(DAMAGED))
            except (CommsError, OSError) as error:
                self.counters.failed += 1
                self.counters.last_error = str(error)
                log.error("recordings wait in the spool", error=str(error), waiting=self.counters.waiting)
                return False
            self.counters.waiting -= 1
        self.counters.last_error = ""
        return True

    async def take_in(self, folder: Path) -> None:
        """Put one recording into the vault. RecordingDamaged, CommsError or OSError if it cannot be; its folder stays then."""
        in_thread = asyncio.get_running_loop().run_in_executor
        told = await in_thread(self._thread, _told, folder)
        name = told["id"]
        vault = self._store.vault
        if await vault.find(name) is None and not await vault.is_shredded(name):
            began = time.monotonic()
            made = await in_thread(self._thread, encode, folder, told, self._codec)
            with made.open("rb") as source:
                try:
                    await vault.put(
                        name, "recording", source, partial(self._catalogue.enter, told=told, codec=self._codec)
                    )
                except ObjectGone:
                    log.warning("a recording was deleted before it was stored", recording=name)
            self.counters.stored += 1
            log.info("a recording is stored", recording=name, seconds=round(time.monotonic() - began, 3))
        await in_thread(self._thread, shutil.rmtree, folder)

    def status(self) -> dict[str, Any]:
        """State, for people."""
        return asdict(self.counters)

    async def close(self) -> None:
        """Wait for what is being encoded."""
        await asyncio.to_thread(self._thread.shutdown)


def _told(folder: Path) -> dict[str, Any]:
    """What the recorder says of a recording. RecordingDamaged if that is not what it writes."""
    try:
        told: dict[str, Any] = json.loads((folder / READY).read_text())
        if told["id"] != folder.name or told["version"] != 1:
            raise RecordingDamaged(f"{folder}: it is of {told['id']}, version {told['version']}")
    except (ValueError, KeyError, TypeError) as error:
        raise RecordingDamaged(f"{folder / READY} cannot be understood: {error!r}") from error
    return told
