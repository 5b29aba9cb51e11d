"""The hub's store: one connection pool for reading, one for writing. What is committed is on the disk.

Several nodes may share it (PostgreSQL), and commands of an operator use it beside the nodes: a transaction begins with a
statement that locks the row it is about.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.hub.schema import HEAD
from pbxd.stats.engine import fetch, native, open_engine, store_errors
from pbxd.stats.migrate import migrate

MIGRATIONS = Path(__file__).parent / "migrations"

Found = tuple[Any, ...]


def now() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000


class Database:
    """The store of one hub. StoreError and StoreFull if it fails."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._reader = open_engine(url, read_only=True)
        self._writer = open_engine(url, durable=True)
        # SQLite has one writer: who waits here does not wait for a connection of the pool, which gives up.
        self._turn = asyncio.Lock() if url.startswith("sqlite") else nullcontext()

    @classmethod
    async def open(cls, url: str) -> Database:
        """Bring the store to the newest schema and open it."""
        with store_errors("opening the hub's store"):
            await asyncio.to_thread(migrate, url, MIGRATIONS, HEAD)
        return cls(url)

    async def close(self) -> None:
        """Close all connections."""
        await self._reader.dispose()
        await self._writer.dispose()

    @asynccontextmanager
    async def reading(self, what: str) -> AsyncIterator[AsyncConnection]:
        """A connection that cannot write."""
        with store_errors(what):
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self, what: str) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed and on the disk when the block ends, undone if it raises."""
        with store_errors(what):
            async with self._turn, self._writer.begin() as connection:
                yield connection

    async def read(self, what: str, sql: str, *values: Any) -> list[Found]:  # noqa: ANN401 - of any column
        """What a query with `?` marks finds."""
        async with self.reading(what) as connection:
            return await rows(connection, sql, *values)

    async def write(self, what: str, sql: str, *values: Any) -> int:  # noqa: ANN401 - of any column
        """One statement as a transaction; how many rows it concerned."""
        async with self.writing(what) as connection:
            return await run(connection, sql, *values)


async def rows(connection: AsyncConnection, sql: str, *values: Any) -> list[Found]:  # noqa: ANN401 - of any column
    """What a query with `?` marks finds."""
    return [tuple(row) for row in await fetch(connection, sql, values)]


async def run(connection: AsyncConnection, sql: str, *values: Any) -> int:  # noqa: ANN401 - of any column
    """Run a statement with `?` marks; how many rows it concerned."""
    return (await connection.exec_driver_sql(native(connection, sql), values)).rowcount


async def changed(connection: AsyncConnection, box: int) -> None:
    """Tell the nodes, when this transaction commits, to look at a box: it was revoked, or has messages."""
    # The row of `hub` stays locked until the commit, so numbers become visible in their order and no node misses one.
    ((number,),) = await rows(connection, "UPDATE hub SET changes = changes + 1 WHERE id = 1 RETURNING changes")
    await run(connection, "INSERT INTO changes (number, box, at) VALUES (?, ?, ?)", number, box, now())
