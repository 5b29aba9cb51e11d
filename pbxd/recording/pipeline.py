"""From the spool into the vault: checked, put together, encoded, encrypted, durable, entered, and only then out of the spool.

    ready.json -> worker (assemble, encode, encrypt to a scratch file, fsync) -> rename, fsync -> rows -> folder out of the spool

The spool's folder is the truth until the rows are committed. A kill before that leaves the folder, and all is done again; a kill
after it leaves a folder whose recording is there, which is only taken away. What cannot be made into a recording goes into the
vault as it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.backoff import backoff
from pbxd.comms.encrypted import Encrypted
from pbxd.comms.files import ID
from pbxd.comms.store import Communications
from pbxd.errors import CommsError, CommsFull, ObjectGone, RecordingDamaged, RecordingError
from pbxd.recording import spool as spools
from pbxd.recording.catalogue import Catalogue
from pbxd.recording.foreman import Foreman, WorkerDied, job
from pbxd.recording.manifest import parse
from pbxd.recording.stage import READY, remove
from pbxd.waking import woken

LOOK = 30.0  # s between looks into the spool, beside those when a recording is complete
IDLE = 20.0  # s without work after which the worker is let go
FIRST, LONGEST = 1.0, 20.0  # s of waiting after a failure
DEATHS = 3  # how often a recording may end the worker before it counts as damaged
log = structlog.get_logger("pbxd.recording")


@dataclass(slots=True)
class PipelineCounters:
    """What was done since the start."""

    ingested: int = 0
    seconds: float = 0.0  # of sound
    bytes: int = 0  # in the vault
    damaged: int = 0
    failed: int = 0  # tries that failed and are made again


@dataclass(slots=True)
class Troubles:
    """What fails now."""

    alarm: str = ""  # why nothing goes on; empty while it does
    of: dict[str, str] = field(default_factory=dict)  # id -> why it waits
    deaths: dict[str, int] = field(default_factory=dict)


class Pipeline:
    """Empties the spools."""

    def __init__(
        self,
        spools: Sequence[Path],
        codec: str,
        store: Communications,
        catalogue: Catalogue,
        on_damaged: Callable[[], None] = lambda: None,
    ) -> None:
        self.spools = spools
        self.codec = codec
        self.counters = PipelineCounters()
        self.troubles = Troubles()
        self._store = store
        self._catalogue = catalogue
        self._on_damaged = on_damaged  # one more is in the catalogue
        self._foreman = Foreman()
        self._wake = asyncio.Event()

    def notice(self, _name: str = "") -> None:
        """A recording is complete."""
        self._wake.set()

    async def run(self) -> None:
        """Empty the spool now, and whenever something is in it, until cancelled."""
        waits = backoff(FIRST, LONGEST)
        try:
            while True:
                self._wake.clear()
                if await self.empty():
                    waits = backoff(FIRST, LONGEST)
                    await self._until_woken()
                else:
                    await asyncio.sleep(max(0.1, next(waits)))
        finally:
            await self.close()

    async def close(self) -> None:
        """End the worker; what it had begun is made again."""
        await self._foreman.dismiss()

    async def _until_woken(self) -> None:
        for patience in (IDLE, LOOK - IDLE):
            if await woken(self._wake, patience):
                return
            await self._foreman.dismiss()  # its memory is more than the daemon's own

    async def empty(self) -> bool:
        """Take in all that is ready; whether nothing failed."""
        try:
            await asyncio.to_thread(spools.sweep, self.spools)
            waiting = await asyncio.to_thread(spools.look, self.spools)
        except OSError as error:
            self._alarm(f"the spool cannot be read: {error.strerror or error}: {error.filename}")
            return False
        self.troubles.of = {
            folder.name: self.troubles.of[folder.name] for folder in waiting.ready if folder.name in self.troubles.of
        }
        for folder in waiting.ready:
            name = folder.name
            try:
                await self._take(folder)
            except CommsFull as error:
                self._alarm(str(error))
                self.troubles.of[name] = str(error)
                return False  # the next one would not go in either
            except (CommsError, RecordingError, OSError) as error:
                self.counters.failed += 1
                if self.troubles.of.get(name) != str(error):
                    log.error("a recording waits in the spool", recording=name, error=str(error))
                self.troubles.of[name] = str(error)
            else:
                self.troubles.of.pop(name, None)
                self.troubles.deaths.pop(name, None)
                self._alarm("")
        return not self.troubles.of

    def _alarm(self, text: str) -> None:
        if text and text != self.troubles.alarm:
            log.error("recordings wait in the spool", error=text)
        if self.troubles.alarm and not text:
            log.info("recordings are taken out of the spool again")
        self.troubles.alarm = text

    async def _take(self, folder: Path) -> None:
        """One recording, to the end."""
        name = folder.name
        if not ID.fullmatch(name):
            raise RecordingError(f"{name[:80]!r} is no id of a recording")
        vault = self._store.vault
        if await vault.find(name) is None and not await vault.is_shredded(name):
            try:
                await self._ingest(folder)
            except WorkerDied as error:
                if not error.failed:
                    raise  # memory was short, say: that is not the sound's fault
                deaths = self.troubles.deaths[name] = self.troubles.deaths.get(name, 0) + 1
                if deaths < DEATHS:
                    raise
                await self._set_aside(folder, f"{error}, {deaths} times")
            except RecordingDamaged as error:
                await self._set_aside(folder, str(error))
            except ObjectGone:
                log.warning("a recording was destroyed while it was taken in", recording=name)
        await asyncio.to_thread(remove, folder)

    async def _ingest(self, folder: Path) -> None:
        manifest = await asyncio.to_thread(lambda: parse((folder / READY).read_bytes(), folder.name))
        vault = self._store.vault
        draft = vault.draft(manifest.id, "recording")
        scratch = vault.scratch(manifest.id)
        made = await self._foreman.do(job(folder, self.codec, draft.recipient, scratch))
        sound = {"codec": self.codec, "rate": made["rate"], "frames": made["frames"]}
        encrypted = Encrypted(scratch, made["size"], made["length"], made["sha256"])

        async def enter(connection: AsyncConnection) -> None:
            await self._catalogue.enter(connection, manifest, sound)

        await vault.adopt(draft, encrypted, enter)
        self.counters.ingested += 1
        self.counters.seconds += made["frames"] / made["rate"]
        self.counters.bytes += made["size"]
        log.info("a recording is in the vault", recording=manifest.id, call=manifest.call, bytes=made["size"])

    async def _set_aside(self, folder: Path, reason: str) -> None:
        """Keep all that is there of a recording that cannot be made, encrypted, and say so."""
        log.error("a recording is damaged; what is there of it was kept", recording=folder.name, reason=reason)

        async def enter(connection: AsyncConnection) -> None:
            await self._catalogue.enter_damaged(connection, folder.name, int(time.time() * 1_000_000), reason)

        with await asyncio.to_thread(spools.packed, folder) as content:
            await self._store.vault.put(folder.name, "damaged", content, enter)
        self.counters.damaged += 1
        self._on_damaged()
