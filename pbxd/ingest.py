"""From the journals to the store: waits for a change, reads what is new, commits it with its position.

When the store cannot take a batch (a full disk), the batch is kept, reading stops and the journal waits on its disk; nothing is
lost and nothing is read twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from pbxd.asterisk.journal import Journal, Journals, rotate
from pbxd.asterisk.watch import Watch
from pbxd.backoff import backoff
from pbxd.calls.record import CallRecord
from pbxd.calls.site import Site
from pbxd.errors import JournalError, StoreError
from pbxd.sources import CelSource, QueueLogSource
from pbxd.stats.queries import Queries
from pbxd.stats.writer import Batch, Writer

ROTATION_LOOKS = 5.0  # s between looks at the sizes and ages of parts, at most
HOUSEKEEPING = 60.0  # s between looks at rotation and old parts when nothing else happens
FOLDER_MISSING = 5.0  # s between looks for a folder that Asterisk has not made yet
RETRY_FIRST, RETRY_LONGEST = 0.5, 30.0  # s between tries of a commit that failed
GRACE = 2.0  # s after which a call that ended while Asterisk was being asked has its CHAN_END in the journal


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """Where the journals are and how they are kept. Times in seconds, sizes in bytes."""

    cel: Path
    queue_log: Path
    own: Path
    keep: float
    rotate_at: int
    batch: int
    commit_interval: float
    wrapup: float = 0.0  # s after each call of a queue


@dataclass(slots=True)
class IngestCounters:
    """What has been read since the start."""

    lines: int = 0
    records: int = 0
    rejects: int = 0
    fragments: int = 0
    commits: int = 0
    failed_commits: int = 0
    last_commit: float | None = None  # epoch seconds
    last_error: str = ""  # of the last try; empty when it worked
    lag: float = 0.0  # s from the hang-up to the commit, of the call that waited longest in the last batch
    cut: int = 0
    late: int = 0  # calls that began before those that are kept


@dataclass(slots=True)
class Ingest:
    """Reads both journals into the store until `stop`."""

    settings: IngestSettings
    site: Site
    writer: Writer
    queries: Queries
    on_records: Callable[[list[CallRecord]], None]
    counters: IngestCounters = field(default_factory=IngestCounters)
    log: structlog.stdlib.BoundLogger = field(default_factory=lambda: structlog.get_logger("pbxd.ingest"))
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _next_housekeeping: float = 0.0  # monotonic
    _last_read: float = 0.0  # monotonic
    _alive: tuple[int, frozenset[str]] | None = None
    cel: CelSource | None = None
    queue_log: QueueLogSource | None = None

    @property
    def open_calls(self) -> int:
        """Calls whose end the journal does not have yet."""
        return 0 if self.cel is None else self.cel.interpreter.open_calls

    def silent_calls(self, seconds: float) -> bool:
        """Whether a call is open of which nothing was heard for `seconds`: a long one, or one whose end never came."""
        if self.cel is None:
            return False
        return self.cel.interpreter.silent_since(int((time.time() - seconds) * 1_000_000))

    def channels_alive(self, uniqueids: Collection[str], at: int) -> None:
        """Asterisk had exactly these channels at `at` (microseconds); calls without any of them are over, cut off."""
        self._alive = (at, frozenset(uniqueids))
        asyncio.get_running_loop().call_later(GRACE, self._wake.set)

    def set_site(self, site: Site) -> None:
        """Use another configuration of trunks and extensions, from the next record on."""
        self.site = site
        if self.cel is not None:
            self.cel.interpreter.site = site

    def stop(self) -> None:
        """Let `run` commit what it has and return."""
        self._stop.set()
        self._wake.set()

    async def open(self) -> None:
        """Find out where the last run ended. StoreError or JournalError if that cannot be read."""
        # Our own lines first: they are there when a call ends, and its record need not be written again for them.
        cel = Journals(Journal(self.settings.own), Journal(self.settings.cel))
        queue_log = Journal(self.settings.queue_log)
        found = await self.queries.progress(CelSource.name)
        self.cel = await asyncio.to_thread(CelSource, cel, found, self.site)
        known = await self.queries.progress(QueueLogSource.name)
        wrapup = int(self.settings.wrapup * 1_000_000)
        self.queue_log = await asyncio.to_thread(QueueLogSource, queue_log, known, wrapup)

    async def run(self) -> None:
        """Read until `stop`; `open` was called before."""
        watch = Watch(
            {self.settings.cel.parent, self.settings.queue_log.parent, self.settings.own.parent}, self._wake.set
        )
        try:
            while not self._stop.is_set():
                self._wake.clear()
                watch.drain()
                complete = watch.look_again()
                await self.catch_up()
                watch.arm()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._patience(complete=complete)):
                        await self._wake.wait()
                # Lines come in bursts; a commit for each would cost more than all the rest.
                await self._sleep(self.settings.commit_interval)
            await self.catch_up(last=True)
        except StoreError as error:
            if not self._stop.is_set():
                raise
            self.log.error(
                "stopped before the last commit; the journal has it, the next start reads it", error=str(error)
            )
        finally:
            watch.close()

    async def _sleep(self, seconds: float) -> None:
        """Let time pass, but not when we are to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    def _patience(self, *, complete: bool) -> float:
        """How long to wait for a change: not long while a folder is missing, or parts were not looked at since the last."""
        looked = self._next_housekeeping - ROTATION_LOOKS >= self._last_read
        longest = min(HOUSEKEEPING, max(FOLDER_MISSING, self.settings.keep))  # parts that are kept for less go in time
        return longest if complete and looked else FOLDER_MISSING

    async def catch_up(self, *, last: bool = False) -> None:
        """Read to the end of both journals, commit, then see to rotation and old parts."""
        try:
            while await self._step():  # noqa: ASYNC110 - there is more to read now; nothing will come to wait for
                await asyncio.sleep(0)  # a long backlog must not keep others waiting
            batch = Batch()
            self._cut(batch)
            if last and self.cel is not None and self.queue_log is not None:
                self.cel.save(batch)
                self.queue_log.save(batch)
            await self._commit(batch)
            await self._housekeep()
        except JournalError as error:
            self.counters.last_error = str(error)
            self.log.error("journal cannot be read", error=str(error))

    async def _step(self) -> bool:
        """Read and commit one batch; whether it was full, so that more is waiting.

        What comes while a batch that was not full is committed waits for the next wake-up: read at once, it would make a commit of
        every few lines.
        """
        if self.cel is None or self.queue_log is None:
            raise JournalError("the journal was not opened")
        batch = Batch()
        try:
            calls = self.cel.next(batch, self.settings.batch)
            queues = self.queue_log.next(batch, self.settings.batch)
        except JournalError:
            await self._commit(batch)  # what was read of the one is not lost to a fault of the other
            raise
        self.counters.lines += calls + queues
        if calls or queues:
            self._last_read = time.monotonic()
        await self._commit(batch)
        return max(calls, queues) >= self.settings.batch

    def _cut(self, batch: Batch) -> None:
        """Asterisk has told which channels it has: calls that have none of them ended when it was killed."""
        if self._alive is None or self.cel is None or time.time() * 1_000_000 < self._alive[0] + GRACE * 1_000_000:
            return
        at, alive = self._alive
        self._alive = None
        cut = self.cel.cut(batch, at, alive)
        self.counters.cut += len(cut)
        if cut:
            self.log.warning("calls cut off: Asterisk does not run them any more", calls=[record.id for record in cut])

    async def _commit(self, batch: Batch) -> None:
        """Commit `batch`, trying again for as long as it takes, or until we are told to stop."""
        if not batch:
            return
        late = 0
        for delay in backoff(RETRY_FIRST, RETRY_LONGEST):
            try:
                late = await self.writer.commit(batch)
                break
            except StoreError as error:
                self.counters.failed_commits += 1
                self.counters.last_error = str(error)
                self.log.error(
                    "the store takes nothing; the journal waits", error=str(error), records=len(batch.records)
                )
                if self._stop.is_set():
                    raise
                await self._sleep(delay)
        self._committed(batch, late)

    def _committed(self, batch: Batch, late: int) -> None:
        now = time.time()
        counters = self.counters
        if late:
            counters.late += late
            self.log.warning("calls not taken: they began where calls have been deleted for their age", calls=late)
        counters.commits += 1
        counters.last_commit = now
        counters.last_error = ""
        counters.records += len(batch.records)
        counters.rejects += len(batch.rejects)
        for reject in batch.rejects:
            self.log.warning(
                "journal line not understood", source=reject.source, offset=reject.offset, reason=reject.reason
            )
        if self.cel is not None:
            counters.fragments = self.cel.interpreter.fragments
        if batch.records:
            counters.lag = max(0.0, now - min(record.end for record in batch.records) / 1_000_000)
            self.on_records(batch.records)

    async def _housekeep(self) -> None:
        """Rotate the live CEL file when it is large, and delete parts that were read and kept for long enough."""
        if self.cel is None or self.queue_log is None:
            return
        if time.monotonic() < self._next_housekeeping:
            return
        self._next_housekeeping = time.monotonic() + ROTATION_LOOKS
        batch = Batch()
        oldest = time.time() - self.settings.keep
        for source in (self.cel, self.queue_log):
            for part in source.journal.parts():
                if part.live and source is self.cel and part.size >= self.settings.rotate_at:
                    self.cel.save(batch)
                    await self._commit(batch)
                    batch = Batch()
                    rotate(part.path, time.strftime("%Y%m%d-%H%M%S", time.gmtime()))
                elif not part.live and part.modified < oldest and source.tail.consumed(part):
                    part.path.unlink(missing_ok=True)
                    self.log.info("old journal part deleted", part=str(part.path))
            source.tail.forget_gone(batch)
        await self._commit(batch)
