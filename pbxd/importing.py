"""Histories from elsewhere, read into the store through its one writer, batch after batch.

A batch commits its records, its position and the calls that are still open in one transaction: whatever is killed, the next batch
goes on from there. The lines of a batch are those of `cel_custom`, each behind its number in the source and a space.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from pbxd.calls.interpreter import Interpreter
from pbxd.calls.site import Site
from pbxd.errors import OutOfStep, SourceError
from pbxd.sources import understand
from pbxd.stats.layout import SLOT
from pbxd.stats.queries import Queries
from pbxd.stats.rollup import roll_up
from pbxd.stats.writer import Batch, ImportProgress, Reject, Writer

MOST_SOURCES = 4  # whose open calls are kept in memory; the store has those of all
LONGEST_BODY = 16 * 1024 * 1024  # bytes of one batch: it is held in memory, and its records too
PAUSE = 30.0  # s without a batch, after which an import is taken for given up
AT_ONCE = 500  # lines read before others get their turn


@dataclass(frozen=True, slots=True)
class ImportBatch:
    """What one request asks: the lines between two positions of a source."""

    source: str
    after: str  # the position behind which it begins; empty is the beginning
    position: str  # the position behind its last line
    last: bool = False  # the source has no more lines now
    again: bool = False  # begin again, whatever has been read


@dataclass(slots=True)
class Running:
    """A source that is being read."""

    interpreter: Interpreter
    progress: ImportProgress


class Imports:
    """The imports of one daemon. They take turns, a batch each."""

    def __init__(self, queries: Queries, writer: Writer, site: Callable[[], Site]) -> None:
        self._queries = queries
        self._writer = writer
        self._site = site
        self._running: OrderedDict[str, Running] = OrderedDict()
        self._turn = asyncio.Lock()
        self._busy_until = 0.0  # monotonic

    async def progress(self, source: str) -> dict[str, Any]:
        """How far `source` has been read: `position` (empty: not at all), `lines`, `records`, `rejects`, `complete`."""
        async with self._turn:
            return told(await self._queries.import_progress(source))

    async def take(self, wanted: ImportBatch, body: AsyncIterator[bytes]) -> dict[str, Any]:
        """Read and commit one batch; the progress behind it, as `progress` tells it.

        With it `late`, the calls that were not taken, because they began where calls have been deleted for their age. Behind the
        last batch what has changed is rolled up. OutOfStep if the batch does not follow what is committed; SourceError if its body
        is not one; StoreError from the writer.
        """
        data = await whole(body)
        async with self._turn:
            running = await self._open(wanted)
            calls = running.interpreter.calls
            batch = Batch()
            count = await self._read(running.interpreter, wanted.source, data, batch)
            if wanted.last:
                batch.records.extend(running.interpreter.provisional())
            progress = running.progress
            progress = replace(
                progress,
                position=wanted.position,
                lines=progress.lines + count,
                records=progress.records + running.interpreter.calls - calls,
                rejects=progress.rejects + len(batch.rejects),
                complete=wanted.last,
                saved=running.interpreter.save(late=True),
            )
            batch.imports.append(progress)
            late = await self._writer.commit(batch)
            running.progress = progress
            self._running[wanted.source] = running
            if len(self._running) > MOST_SOURCES:
                self._running.popitem(last=False)
        await self._roll_up(batch, last=wanted.last)
        return {**told(progress), "late": late}

    @property
    def under_way(self) -> bool:
        """Whether an import is being read, that will roll up what it changes."""
        return time.monotonic() < self._busy_until

    async def _roll_up(self, batch: Batch, *, last: bool) -> None:
        """Make the rollups that no later batch should change; behind the last batch, all of them.

        A quarter of an hour that is made after each batch would be made dozens of times: a later call may change what is said of an
        earlier one by the same caller.
        """
        self._busy_until = 0.0 if last else time.monotonic() + PAUSE
        if last:
            await roll_up(self._writer)
        elif batch.records:
            newest = max(record.start for record in batch.records)
            await roll_up(self._writer, (newest - self._writer.resolution) // SLOT, days=False)

    async def _open(self, wanted: ImportBatch) -> Running:
        """The source as the store has it; not kept, for what is read now is ahead of the store until the commit."""
        running = self._running.pop(wanted.source, None)
        if running is None:
            found = await self._queries.import_progress(wanted.source)
            running = Running(self._restore(found), found)
        if wanted.again:
            running = Running(Interpreter(self._site()), ImportProgress(wanted.source))
        if running.progress.position != wanted.after:
            raise OutOfStep(running.progress.position)
        running.interpreter.site = self._site()
        return running

    def _restore(self, found: ImportProgress) -> Interpreter:
        return Interpreter.restore(self._site(), found.saved) if found.saved else Interpreter(self._site())

    @staticmethod
    async def _read(interpreter: Interpreter, source: str, data: bytes, batch: Batch) -> int:
        lines = data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        for start in range(0, len(lines), AT_ONCE):
            for numbered in lines[start : start + AT_ONCE]:
                number, _, line = numbered.partition(b" ")
                for event, fault in understand(line):
                    if event is not None:
                        batch.records.extend(interpreter.take(event))
                    else:
                        batch.rejects.append(Reject("import", source, place_of(number), fault, line))
            await asyncio.sleep(0)
        return len(lines)


def place_of(number: bytes) -> int:
    """The number of a line in its source. SourceError if it is none."""
    if not number.isdigit():
        raise SourceError(f"a line of the batch begins with {number[:40]!r}, not with its number in the source")
    return int(number)


def told(progress: ImportProgress) -> dict[str, Any]:
    """What people are told of a progress."""
    return {name: value for name, value in asdict(progress).items() if name not in {"source", "saved"}}


async def whole(body: AsyncIterator[bytes]) -> bytes:
    """All of a request's body. SourceError if it is too long."""
    parts, size = [], 0
    async for part in body:
        parts.append(part)
        size += len(part)
        if size > LONGEST_BODY:
            raise SourceError(f"a batch has more than {LONGEST_BODY} bytes: send fewer lines at once")
    return b"".join(parts)
