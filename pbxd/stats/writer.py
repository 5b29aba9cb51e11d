"""The one writer of the store: batches in, one transaction each. Records and the journal's position commit together."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pbxd.calls.record import CallRecord
from pbxd.errors import StoreBusy, StoreError
from pbxd.stats import rows
from pbxd.stats.engine import database_path, open_engine, store_errors
from pbxd.stats.migrate import migrate

MAX_VARIABLES = 500  # ids in one IN (...): far below SQLite's own limit
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


@dataclass(slots=True)
class Batch:
    """What one transaction commits."""

    records: list[CallRecord] = field(default_factory=list)
    queue_log: list[QueueLogLine] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    saved: dict[str, bytes] = field(default_factory=dict)  # source -> the open calls at its positions' saved_offset
    forgotten: list[tuple[str, str]] = field(default_factory=list)  # (source, part) whose files are gone

    def __bool__(self) -> bool:
        return any((self.records, self.queue_log, self.rejects, self.positions, self.saved, self.forgotten))


def insert_sql(table: str, columns: Sequence[str]) -> str:
    """An INSERT with numbered parameters; the driver takes tuples as they are."""
    names = ", ".join(f'"{name}"' for name in columns)
    return f'INSERT INTO "{table}" ({names}) VALUES ({", ".join("?" * len(columns))})'  # noqa: S608 - our own names


INSERT_CALLS = insert_sql("calls", ["id", *rows.CALL])
INSERT_PARTS = {
    "call_legs": (insert_sql("call_legs", ["call", "position", *rows.LEG]), rows.leg_rows),
    "call_events": (insert_sql("call_events", ["call", "position", *rows.EVENT]), rows.event_rows),
    "call_queues": (insert_sql("call_queues", ["call", "position", *rows.QUEUE]), rows.queue_rows),
    "call_transfers": (
        insert_sql("call_transfers", ["call", "position", *rows.TRANSFER]),
        rows.transfer_rows,
    ),
}
INSERT_QUEUE_LOG = insert_sql(
    "queue_log", ["part", "offset", "at", "call_id", "queue", "agent", "event", "data"]
).replace("INSERT", "INSERT OR IGNORE", 1)
INSERT_REJECT = 'INSERT OR IGNORE INTO journal_rejects (source, part, "offset", reason, line) VALUES (?, ?, ?, ?, ?)'
UPSERT_POSITION = (
    'INSERT OR REPLACE INTO journal_position (source, part, "offset", saved_offset, began) VALUES (?, ?, ?, ?, ?)'
)


class Writer:
    """Holds the store's write lock for as long as it is open. Use `await Writer.open(url)` and `await close()`."""

    def __init__(self, engine: AsyncEngine, connection: AsyncConnection, lock: int | None, next_key: int) -> None:
        self._engine = engine
        self._connection = connection
        self._lock = lock
        self._next_key = next_key
        self._turn = asyncio.Lock()  # one transaction at a time: an import may run beside the journal
        self._committing: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, url: str) -> Writer:
        """Migrate the store and become its writer. StoreBusy if another process is; StoreError if it cannot be opened."""
        path = database_path(url)
        lock = None if path is None else take_lock(path)
        try:
            await asyncio.to_thread(_migrate, url)
            engine = open_engine(url)
            with store_errors(f"opening the store {path or 'database'}"):
                connection = await engine.connect()
                found = await connection.exec_driver_sql("SELECT coalesce(max(id), 0) FROM calls")
                last = int(found.scalar_one())
                await connection.rollback()
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise
        return cls(engine, connection, lock, last + 1)

    async def commit(self, batch: Batch) -> None:
        """Commit the whole batch or nothing. StoreFull or StoreError if it cannot be; the batch can be given again.

        A cancelled caller does not stop a commit halfway: it goes on, and `close` waits for it.
        """
        if not batch:
            return
        task = asyncio.create_task(self._in_turn(batch))
        self._committing.add(task)
        task.add_done_callback(self._committing.discard)
        await asyncio.shield(task)

    async def _in_turn(self, batch: Batch) -> None:
        async with self._turn:
            await self._commit(batch)

    async def _commit(self, batch: Batch) -> None:
        key = self._next_key
        try:
            with store_errors("writing to the store"):
                await self._replace(batch.records)
                key = await self._insert(batch, key)
                await self._connection.commit()
        except StoreError:
            await self._connection.rollback()
            raise
        self._next_key = key

    async def _insert(self, batch: Batch, key: int) -> int:
        keyed = list(enumerate(_latest(batch.records), key))
        await self._many(INSERT_CALLS, [rows.call_row(number, record) for number, record in keyed])
        for sql, make in INSERT_PARTS.values():
            await self._many(sql, [row for number, record in keyed for row in make(number, record)])
        lines = [(e.part, e.offset, e.at, e.call_id, e.queue, e.agent, e.event, e.data) for e in batch.queue_log]
        await self._many(INSERT_QUEUE_LOG, lines)
        rejects = [(r.source, r.part, r.offset, r.reason, r.line[:KEPT_LINE]) for r in batch.rejects]
        await self._many(INSERT_REJECT, rejects)
        positions = [(p.source, p.part, p.offset, p.saved_offset, p.began) for p in batch.positions]
        await self._many(UPSERT_POSITION, positions)
        await self._many(
            "INSERT OR REPLACE INTO journal_state (source, saved) VALUES (?, ?)", list(batch.saved.items())
        )
        await self._many("DELETE FROM journal_position WHERE source = ? AND part = ?", batch.forgotten)
        return key + len(keyed)

    async def _many(self, sql: str, values: Sequence[tuple[Any, ...]]) -> None:
        if values:
            await self._connection.exec_driver_sql(sql, list(values))

    async def _replace(self, records: Iterable[CallRecord]) -> None:
        """Take out what these records stand for already: twice is once."""
        ids = [name for record in records for name in (record.id, *record.replaces)]
        for start in range(0, len(ids), MAX_VARIABLES):
            part = ids[start : start + MAX_VARIABLES]
            marks = ", ".join("?" * len(part))
            select = f"SELECT id FROM calls WHERE call_id IN ({marks})"  # noqa: S608 - question marks only
            found = await self._connection.exec_driver_sql(select, tuple(part))
            keys = [(row[0],) for row in found]
            for child in CHILDREN if keys else ():
                await self._many(f"DELETE FROM {child} WHERE call = ?", keys)  # noqa: S608 - our own names
            await self._many("DELETE FROM calls WHERE id = ?", keys)

    async def close(self) -> None:
        """Wait for a commit that is under way, close the store and give up its lock."""
        if self._committing:
            await asyncio.wait(self._committing)
        await self._connection.close()
        await self._engine.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _migrate(url: str) -> None:
    with store_errors("bringing the store to the newest schema"):
        migrate(url)


def _latest(records: Sequence[CallRecord]) -> list[CallRecord]:
    """A call that was given out twice in one batch is written once, as it was last; one that was replaced is not."""
    latest = {record.id: record for record in records}
    gone = {old for record in records for old in record.replaces}
    return [record for record in latest.values() if record.id not in gone]


def take_lock(database: Path) -> int:
    """The lock of the store's one writer. StoreBusy if another process holds it."""
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(database.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"the store's folder {database.parent} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise StoreBusy(f"another pbxd is writing {database}; stop it first, or use its control socket") from error
    return lock
