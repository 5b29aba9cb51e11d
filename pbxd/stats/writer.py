"""The one writer of the store: batches in, one transaction each. Records and the journal's position commit together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pbxd.calls.agents import AgentTime
from pbxd.calls.record import CallRecord
from pbxd.errors import StoreError
from pbxd.stats import dirty, rows
from pbxd.stats.engine import database_name, database_path, fetch, many, native, open_engine, store_errors
from pbxd.stats.fragments import MAX_VARIABLES, known_better
from pbxd.stats.layout import QUARTERS, SLOT
from pbxd.stats.lock import take_lock, take_server_lock
from pbxd.stats.migrate import migrate
from pbxd.stats.schema import BOX_KEYS, DEFAULT_BOX

T = TypeVar("T")
RESOLUTION = 86_400_000_000  # microseconds; the default of statistics.resolution
KEPT_LINE = 4096  # bytes of a rejected line that are kept
CHILDREN = ("call_legs", "call_events", "call_queues", "call_transfers")


@dataclass(frozen=True, slots=True)
class Position:
    """How far one part of a journal has been read."""

    source: str
    part: str
    offset: int
    saved_offset: int
    began: int


@dataclass(frozen=True, slots=True)
class Reject:
    """A journal line that could not be understood."""

    source: str
    part: str
    offset: int
    reason: str
    line: bytes


@dataclass(frozen=True, slots=True)
class QueueLogLine:
    """One line of queue_log, split at its bars."""

    part: str
    offset: int
    at: int
    call_id: str
    queue: str
    agent: str
    event: str
    data: str


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far a history has been read; see `schema.Import`."""

    source: str
    position: str = ""
    lines: int = 0
    records: int = 0
    rejects: int = 0
    complete: bool = False
    saved: bytes = b""


@dataclass(slots=True)
class Batch:
    """What one transaction commits."""

    records: list[CallRecord] = field(default_factory=list)
    queue_log: list[QueueLogLine] = field(default_factory=list)
    agent_time: list[AgentTime] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    saved: dict[str, bytes] = field(default_factory=dict)  # source -> the open calls at its positions' saved_offset
    forgotten: list[tuple[str, str]] = field(default_factory=list)  # (source, part) whose files are gone
    imports: list[ImportProgress] = field(default_factory=list)

    def __bool__(self) -> bool:
        own = (self.records, self.queue_log, self.agent_time, self.rejects)
        return any((*own, self.positions, self.saved, self.forgotten, self.imports))


def insert_sql(table: str, columns: Sequence[str]) -> str:
    """An INSERT with numbered parameters; the driver takes tuples as they are."""
    names = ", ".join(f'"{name}"' for name in columns)
    return f'INSERT INTO "{table}" ({names}) VALUES ({", ".join("?" * len(columns))})'


INSERT_CALLS = insert_sql("calls", ["id", "box", *rows.CALL])
INSERT_PARTS = {
    "call_legs": (insert_sql("call_legs", ["call", "position", *rows.LEG]), rows.leg_rows),
    "call_events": (insert_sql("call_events", ["call", "position", *rows.EVENT]), rows.event_rows),
    "call_queues": (insert_sql("call_queues", ["call", "position", *rows.QUEUE, "caller"]), rows.queue_rows),
    "call_transfers": (
        insert_sql("call_transfers", ["call", "position", *rows.TRANSFER]),
        rows.transfer_rows,
    ),
}
QUEUE_LOG = ["box", "part", "offset", "at", "call_id", "queue", "agent", "event", "data"]
INSERT_QUEUE_LOG = insert_sql("queue_log", QUEUE_LOG) + " ON CONFLICT DO NOTHING"
INSERT_CALL_SLOTS = insert_sql("call_slots", ["box", "slot", "call"])
AGENT_TIME = ["box", "slot", "agent", "queue", "kind", "reason", "start", "end"]
INSERT_AGENT_TIME = insert_sql("agent_time", AGENT_TIME) + " ON CONFLICT DO NOTHING"
INSERT_STATE = (
    insert_sql("rollup_state", ["box", "resolution", "calls_from", "rollups_from"]) + " ON CONFLICT DO NOTHING"
)
INSERT_REJECT = (
    insert_sql("journal_rejects", ["box", "source", "part", "offset", "reason", "line"]) + " ON CONFLICT DO NOTHING"
)
UPSERT_POSITION = insert_sql("journal_position", ["box", "source", "part", "offset", "saved_offset", "began"]) + (
    ' ON CONFLICT (box, source, part) DO UPDATE SET "offset" = excluded."offset", saved_offset = excluded.saved_offset,'
    " began = excluded.began"
)
IMPORT = ["position", "lines", "records", "rejects", "complete", "saved"]
UPSERT_IMPORT = insert_sql("imports", ["box", "source", *IMPORT]) + (
    " ON CONFLICT (box, source) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in IMPORT)
)
UPSERT_STATE = insert_sql("journal_state", ["box", "source", "saved"]) + (
    " ON CONFLICT (box, source) DO UPDATE SET saved = excluded.saved"
)


class Writer:
    """Holds a box's write lock for as long as it is open. Use `await Writer.open(url, box)` and `await close()`."""

    def __init__(self, url: str, box: str, lock: int | None, resolution: int) -> None:
        self._box_name = box
        self._box = 0
        self.resolution = resolution
        self.calls_from = 0  # slot; what began before it was purged, and is not taken any more
        self.calls = 0  # calls of this box in the store
        self._change = 0  # of that number, by the transaction under way
        self._engine: AsyncEngine = open_engine(url)
        self._connection: AsyncConnection | None = None
        self._place = database_name(url)
        self._lock = lock  # of a file; a database server holds the lock for its connection
        self._next_key = 0
        self._turn = asyncio.Lock()  # one transaction at a time: an import may run beside the journal
        self._committing: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(cls, url: str, box: str = DEFAULT_BOX, resolution: int = RESOLUTION) -> Writer:
        """Migrate the store and become the box's writer. StoreBusy if another process is; StoreError if it cannot be opened.

        `resolution`, in microseconds, is the time in which a caller must not call again (first-call resolution).
        """
        path = database_path(url)
        lock = None if path is None else take_lock(path)
        try:
            await asyncio.to_thread(_migrate, url)
            writer = cls(url, box, lock, resolution)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise
        try:
            await writer._connect()
        except BaseException:
            await writer.close()
            raise
        return writer

    async def _connect(self) -> AsyncConnection:
        """The connection: the one that there is, or a new one, with its lock, in place of one that was lost."""
        if self._connection is not None:
            return self._connection
        with store_errors(f"opening the store {self._place}"):
            connection = await self._engine.connect()
            try:
                if connection.dialect.name == "postgresql":
                    await take_server_lock(connection, self._box_name, self._place)
                self._box = await box_number(connection, self._box_name)
                first = self._box * BOX_KEYS
                find = "SELECT max(id), count(*) FROM calls WHERE id >= ? AND id < ?"
                ((last, calls),) = await fetch(connection, find, (first, first + BOX_KEYS))
                await self._read_state(connection)
                await connection.commit()
            except BaseException:
                await connection.invalidate()  # a pooled connection would keep the server's lock
                await connection.close()
                raise
        self._next_key = first + 1 if last is None else int(last) + 1
        self.calls = int(calls)
        self._connection = connection
        return connection

    async def _read_state(self, connection: AsyncConnection) -> None:
        """Where this box's calls begin. All rollups are made again if they were made with another resolution."""
        await many(connection, INSERT_STATE, [(self._box, self.resolution, 0, 0)])
        find = "SELECT resolution, calls_from FROM rollup_state WHERE box = ?"
        ((resolution, self.calls_from),) = await fetch(connection, find, (self._box,))
        if resolution != self.resolution:
            await dirty.mark_all(connection, self._box, self.calls_from)
            update = "UPDATE rollup_state SET resolution = ? WHERE box = ?"
            await many(connection, update, [(self.resolution, self._box)])

    async def commit(self, batch: Batch) -> int:
        """Commit the whole batch or nothing. StoreFull or StoreError if it cannot be; the batch can be given again.

        A cancelled caller does not stop a commit halfway: it goes on, and `close` waits for it. How many calls were not taken,
        because they began where calls have been purged.
        """
        if not batch:
            return 0

        async def work(connection: AsyncConnection, _box: int) -> int:
            return await self._write(connection, batch)

        return await self.run("writing to the store", work)

    async def run(self, what: str, work: Callable[[AsyncConnection, int], Awaitable[T]]) -> T:
        """Do `work(connection, number of the box)` in a transaction of its own, in turn with all others; see `commit`."""
        task = asyncio.create_task(self._in_turn(what, work))
        self._committing.add(task)
        task.add_done_callback(self._committing.discard)
        return await asyncio.shield(task)

    async def _in_turn(self, what: str, work: Callable[[AsyncConnection, int], Awaitable[T]]) -> T:
        async with self._turn:
            connection = await self._connect()
            self._change = 0
            try:
                with store_errors(what):
                    done = await work(connection, self._box)
                    await connection.commit()
            except BaseException:
                await self._undo(connection)
                raise
            self.calls += self._change
            return done

    async def _undo(self, connection: AsyncConnection) -> None:
        """Roll back. A connection that is lost, or may be, is given up: the next transaction makes a new one."""
        try:
            with store_errors("rolling back"):
                await connection.rollback()
        except StoreError:
            await connection.invalidate()
        if connection.invalidated or connection.closed:
            await connection.close()
            self._connection = None

    async def _write(self, connection: AsyncConnection, batch: Batch) -> int:
        taken = batch.records
        if self.calls_from:
            taken = [record for record in taken if record.start >= self.calls_from * SLOT]
        late = len(batch.records) - len(taken)
        taken = await known_better(connection, self._box, taken)
        slots = await self._replace(connection, taken)
        first = self._next_key
        keyed = list(enumerate(_latest(taken), first))
        await self._insert_calls(connection, keyed, slots)
        if any(record.queues for _, record in keyed):
            keys = (first, first + len(keyed))
            await dirty.mark_followed(connection, self._box, keys, self.resolution, self.calls_from)
        await self._insert_rest(connection, batch, slots)
        await dirty.mark(connection, self._box, QUARTERS, (slot for slot in slots if slot >= self.calls_from))
        # If the commit itself fails, these keys are left out.
        self._next_key = first + len(keyed)
        return late

    async def _insert_calls(
        self, connection: AsyncConnection, keyed: Sequence[tuple[int, CallRecord]], slots: set[int]
    ) -> None:
        await many(connection, INSERT_CALLS, [rows.call_row(number, self._box, record) for number, record in keyed])
        self._change += len(keyed)
        for sql, make in INSERT_PARTS.values():
            await many(connection, sql, [row for number, record in keyed for row in make(number, record)])
        others = [(self._box, slot, number) for number, record in keyed for slot in sorted(dirty.other_slots(record))]
        await many(connection, INSERT_CALL_SLOTS, others)
        slots |= {record.start // SLOT for _, record in keyed}
        slots |= {slot for _, slot, _ in others}

    async def _insert_rest(self, connection: AsyncConnection, batch: Batch, slots: set[int]) -> None:
        box, oldest = self._box, self.calls_from * SLOT
        entries = [entry for entry in batch.queue_log if entry.at >= oldest]
        slots |= {entry.at // SLOT for entry in entries}
        times = [
            (box, t.start // SLOT, t.agent, t.queue, t.kind, t.reason, t.start, t.end)
            for t in batch.agent_time
            if t.start >= oldest
        ]
        await many(connection, INSERT_AGENT_TIME, times)
        slots |= {row[1] for row in times}
        lines = [(box, e.part, e.offset, e.at, e.call_id, e.queue, e.agent, e.event, e.data) for e in entries]
        await many(connection, INSERT_QUEUE_LOG, lines)
        rejects = [(box, r.source, r.part, r.offset, r.reason, r.line[:KEPT_LINE]) for r in batch.rejects]
        await many(connection, INSERT_REJECT, rejects)
        positions = [(box, p.source, p.part, p.offset, p.saved_offset, p.began) for p in batch.positions]
        await many(connection, UPSERT_POSITION, positions)
        await many(connection, UPSERT_STATE, [(box, source, saved) for source, saved in batch.saved.items()])
        await many(connection, UPSERT_IMPORT, [(box, *astuple(progress)) for progress in batch.imports])
        gone = [(box, source, part) for source, part in batch.forgotten]
        await many(connection, "DELETE FROM journal_position WHERE box = ? AND source = ? AND part = ?", gone)

    async def _replace(self, connection: AsyncConnection, records: Iterable[CallRecord]) -> set[int]:
        """Take out what these records stand for already: twice is once. The slots in which that was counted."""
        slots: set[int] = set()
        ids = [name for record in records for name in (record.id, *record.replaces)]
        for start in range(0, len(ids), MAX_VARIABLES):
            part = ids[start : start + MAX_VARIABLES]
            marks = ", ".join("?" * len(part))
            select = f"SELECT id FROM calls WHERE box = ? AND call_id IN ({marks})"
            found = await connection.exec_driver_sql(native(connection, select), (self._box, *part))
            keys = [row[0] for row in found]
            if keys:
                slots |= await dirty.slots_of_calls(connection, keys)
                for key in keys:
                    calls = (key, key + 1)
                    await dirty.mark_followed(connection, self._box, calls, self.resolution, self.calls_from)
                await self.remove(connection, keys, slots)
        return slots

    async def remove(self, connection: AsyncConnection, keys: Sequence[int], slots: set[int]) -> None:
        """Delete calls, with all their parts, and what says that they have a say in `slots`. Within `run`."""
        for child in CHILDREN:
            await many(connection, f"DELETE FROM {child} WHERE call = ?", [(key,) for key in keys])
        places = [(self._box, slot, key) for key in keys for slot in slots]
        await many(connection, "DELETE FROM call_slots WHERE box = ? AND slot = ? AND call = ?", places)
        await many(connection, "DELETE FROM calls WHERE id = ?", [(key,) for key in keys])
        self._change -= len(keys)

    async def vacuum(self) -> bool:
        """Let PostgreSQL use again what was deleted; False for SQLite, which does it in other ways. StoreError if it cannot."""
        if self._engine.dialect.name != "postgresql":
            return False
        with store_errors("giving disk space back"):
            async with self._engine.connect() as plain:
                connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
                await connection.exec_driver_sql("VACUUM")
        return True

    async def close(self) -> None:
        """Wait for a commit that is under way, close the store and give up its lock."""
        if self._committing:
            await asyncio.wait(self._committing)
        if self._connection is not None:
            await self._connection.close()
        await self._engine.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


async def box_number(connection: AsyncConnection, name: str) -> int:
    """The number of the box `name`, which is entered if it is new. A SQLite store has one box, whatever its name is now."""
    if connection.dialect.name == "sqlite":
        upsert = "INSERT INTO boxes (id, name) VALUES (0, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name"
        await connection.exec_driver_sql(upsert, (name,))
        return 0
    find = native(connection, "SELECT id FROM boxes WHERE name = ?")
    found = (await connection.exec_driver_sql(find, (name,))).scalar_one_or_none()
    if found is None:
        await connection.exec_driver_sql("LOCK TABLE boxes IN EXCLUSIVE MODE")  # two new boxes get two numbers
        add = "INSERT INTO boxes (id, name) SELECT coalesce(max(id) + 1, 0), ? FROM boxes"
        await connection.exec_driver_sql(native(connection, add), (name,))
        found = (await connection.exec_driver_sql(find, (name,))).scalar_one()
    return int(found)


def _migrate(url: str) -> None:
    with store_errors("bringing the store to the newest schema"):
        migrate(url)


def _latest(records: Sequence[CallRecord]) -> list[CallRecord]:
    """A call that was given out twice in one batch is written once, as it was last; one that was replaced is not."""
    latest = {record.id: record for record in records}
    gone = {old for record in records for old in record.replaces}
    return [record for record in latest.values() if record.id not in gone]
