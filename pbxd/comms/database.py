"""The database of the store of communications: one writer, readers of their own, and what is deleted is overwritten.

`await Database.open(folder, parts)` makes or upgrades it. What is written goes through `run`: a transaction each, in turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, event, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql.base import Executable

from pbxd.comms.schema import CORE, Part, metadata, parts
from pbxd.errors import CommsBusy, CommsError, CommsFull

T = TypeVar("T")
BUSY_TIMEOUT = 10_000  # ms; only a checkpoint or an admin's own sqlite3 can hold the file for long
READERS = 4
ERASE_TRIES, ERASE_WAIT = 50, 0.1  # how often, and with how many s between, the write-ahead log is tried to be emptied
LOCK_TRIES, LOCK_WAIT = 60, 0.05  # the same of the write lock


class Database:
    """Holds the store's write lock for as long as it is open."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.parts: tuple[Part, ...] = ()
        self._lock: int | None = lock
        self._writing = _engine(path, 1, _prepare_writer)
        self._reading = _engine(path, READERS, _prepare_reader)
        self._connection: AsyncConnection | None = None
        self._turn = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(cls, folder: Path, others: Sequence[Part] = ()) -> Database:
        """Make the store, or bring each part to its newest version. CommsBusy, CommsFull or CommsError if that cannot be."""
        path = folder / "comms.db"
        database = cls(path, await _lock(path))
        try:
            for part in (CORE, *others):
                await database.add(part)
        except BaseException:
            await database.close()
            raise
        return database

    async def add(self, part: Part) -> None:
        """Bring one more part's tables. Part of `open`; a package that is started later may call it itself."""
        await self.run(f"making the tables of {part.name}", lambda connection: connection.run_sync(_upgrade, part))
        self.parts = (*self.parts, part)

    async def run(self, what: str, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do `work` in a transaction of its own, in turn with all others; committed to the disk when it returns.

        A cancelled caller does not stop it halfway, and `close` waits for it. CommsFull or CommsError, with `what`, if it fails:
        then nothing of it was done.
        """
        task = asyncio.create_task(self._in_turn(what, work))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _in_turn(self, what: str, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with self._turn:
            with _errors(what):
                connection = self._connection or await self._writing.connect()
                self._connection = connection
                try:
                    done = await work(connection)
                    await connection.commit()
                except BaseException:
                    await self._undo(connection)
                    raise
                return done

    async def _undo(self, connection: AsyncConnection) -> None:
        """Roll back; a connection that cannot is given up."""
        try:
            await connection.rollback()
        except DBAPIError:
            await connection.invalidate()
        if connection.invalidated or connection.closed:
            await connection.close()
            self._connection = None

    async def fetch(self, statement: Executable) -> Sequence[Row[*tuple[Any, ...]]]:
        """What a query finds, on a reader's connection. The whole answer is in memory: limit it. CommsError if it fails."""
        with _errors("reading the store of communications"):
            async with self._reading.connect() as connection:
                return (await connection.execute(statement)).all()

    async def erase(self) -> bool:
        """Empty the write-ahead log, in which what was deleted still stands. False if a reader kept it open: try again later."""
        async with self._turn:
            with _errors("emptying the write-ahead log"):
                connection = self._connection or await self._writing.connect()
                self._connection = connection
                driver: Any = (await connection.get_raw_connection()).driver_connection
                for _ in range(ERASE_TRIES):
                    cursor = await driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    busy, _, _ = await cursor.fetchone()
                    await cursor.close()
                    if not busy:
                        return True
                    await asyncio.sleep(ERASE_WAIT)
        return False

    async def close(self) -> None:
        """Wait for what is under way, close, and give up the lock."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
        await self._reading.dispose()
        await self._writing.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


async def _lock(path: Path) -> int:
    """The lock, after a moment if need be: a run that was killed while it made a process holds it until that is another program."""
    for _ in range(LOCK_TRIES - 1):
        with contextlib.suppress(CommsBusy):
            return _take_lock(path)
        await asyncio.sleep(LOCK_WAIT)
    return _take_lock(path)


def _take_lock(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CommsError(f"{path.parent} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise CommsBusy(f"another pbxd is writing {path}; stop it first, or use its control socket") from error
    return lock


def _engine(path: Path, connections: int, prepare: Callable[[Any], None]) -> AsyncEngine:
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}", pool_size=connections, max_overflow=0)

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _record: object) -> None:  # noqa: ANN401 - a driver's own type
        connection.isolation_level = None  # we begin transactions ourselves: the driver would leave DDL outside of them
        prepare(connection)

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if prepare is _prepare_writer else "BEGIN")

    return engine


def _prepare_writer(connection: Any) -> None:  # noqa: ANN401 - a driver's own type
    _pragmas(
        connection,
        "journal_mode = WAL",
        "synchronous = FULL",  # a spool folder is deleted because its row is there
        "secure_delete = ON",  # the bytes of a deleted key are overwritten
        "foreign_keys = ON",
    )


def _prepare_reader(connection: Any) -> None:  # noqa: ANN401 - a driver's own type
    _pragmas(connection, "query_only = ON")


def _pragmas(connection: Any, *settings: str) -> None:  # noqa: ANN401 - a driver's own type
    cursor = connection.cursor()
    for setting in (f"busy_timeout = {BUSY_TIMEOUT}", *settings):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _upgrade(connection: Connection, part: Part) -> None:
    """Make a part's tables, or bring them to the newest version."""
    metadata.create_all(connection, tables=[parts])
    found = connection.execute(select(parts.c.version).where(parts.c.name == part.name)).scalar_one_or_none()
    if found is None:
        metadata.create_all(connection, tables=list(part.tables))
        for statement in part.statements:
            connection.exec_driver_sql(statement)
        connection.execute(insert(parts).values(name=part.name, version=part.version))
        return
    if found > part.version:
        raise CommsError(
            f"{part.name} is at version {found} in the store, this pbxd knows {part.version}: install the newer pbxd again"
        )
    for statements in part.upgrades[found - 1 :]:
        for statement in statements:
            connection.exec_driver_sql(statement)
    if found < part.version:
        connection.execute(update(parts).where(parts.c.name == part.name).values(version=part.version))


@contextlib.contextmanager
def _errors(what: str) -> Iterator[None]:
    """Database errors inside become CommsFull or CommsError, with `what` was tried."""
    try:
        yield
    except DBAPIError as error:
        said = str(error.orig or error)
        if isinstance(error.orig, sqlite3.OperationalError) and ("full" in said or "disk I/O" in said):
            raise CommsFull(f"{what}: {said}; free disk space, pbxd goes on by itself") from error
        raise CommsError(f"{what}: {said}") from error
    except OSError as error:
        raise CommsError(f"{what}: {error}") from error
