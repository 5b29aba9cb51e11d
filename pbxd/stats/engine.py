"""Connections to the store: how SQLite and PostgreSQL are set up, and how their errors become ours."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Row, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from pbxd.errors import StoreError, StoreFull

BUSY_TIMEOUT = 10_000  # ms; only a checkpoint or an admin's own sqlite3 can hold the file for long
CONNECT_TIMEOUT = 10.0  # s for a database server to take a connection
DISK_FULL = ("53100", "53200")  # PostgreSQL: disk_full, out_of_memory
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


def database_path(url: str) -> Path | None:
    """The file of a SQLite URL; None for a database server."""
    parsed = make_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def database_name(url: str) -> str:
    """What people are told of the store's place: a path, or a URL without its password."""
    return str(database_path(url) or make_url(url).render_as_string(hide_password=True))


def open_engine(url: str, *, read_only: bool = False, durable: bool = False) -> AsyncEngine:
    """An engine on the store. Readers cannot write: the database itself refuses. `durable`: a commit is on the disk."""
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if parsed.drivername != DRIVERS.get(backend):
        raise StoreError(f"statistics.database: {parsed.drivername} is not one of {', '.join(DRIVERS.values())}")
    if backend == "postgresql":
        settings = {"application_name": "pbxd", "default_transaction_read_only": "on" if read_only else "off"}
        connect = {"server_settings": settings, "timeout": CONNECT_TIMEOUT}
        # A reader finds out about a server that was restarted by asking; the writer must notice, for its lock is gone.
        return create_async_engine(url, pool_size=4 if read_only else 2, pool_pre_ping=read_only, connect_args=connect)
    engine = create_async_engine(url, pool_size=1 if not read_only else 4)

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - a driver's own type
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT}")
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        else:
            cursor.execute("PRAGMA journal_mode = WAL")
            # A power cut may lose the last commits; position and records go together, so the journal gives them again.
            # A hub has no journal: what it says to have, it has.
            cursor.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    return engine


@contextlib.contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Database errors inside become StoreFull or StoreError, with `what` was tried."""
    try:
        yield
    except DBAPIError as error:
        text = str(error.orig or error)
        full = isinstance(error.orig, sqlite3.OperationalError) and ("full" in text or "disk I/O" in text)
        if full or getattr(error.orig, "sqlstate", None) in DISK_FULL:
            raise StoreFull(f"{what}: {text}; free disk space, pbxd goes on by itself") from error
        raise StoreError(f"{what}: {text}") from error
    except OSError as error:  # the server is not there; a driver's TimeoutError is one too
        raise StoreError(f"{what}: {error or type(error).__name__}") from error


@lru_cache(maxsize=512)
def numbered(sql: str) -> str:
    """`?` marks as PostgreSQL writes them: $1, $2, …"""
    head, *rest = sql.split("?")
    return head + "".join(f"${n}{part}" for n, part in enumerate(rest, 1))


def native(connection: AsyncConnection, sql: str) -> str:
    """A statement with `?` marks, in the driver's own writing. The driver takes tuples as they are."""
    return numbered(sql) if connection.dialect.name == "postgresql" else sql


async def many(connection: AsyncConnection, sql: str, values: Sequence[tuple[Any, ...]]) -> None:
    """Run a statement once for each tuple; not at all for none."""
    if values:
        await connection.exec_driver_sql(native(connection, sql), list(values))


async def fetch(connection: AsyncConnection, sql: str, values: tuple[Any, ...] = ()) -> Sequence[Row[*tuple[Any, ...]]]:
    """What a query with `?` marks finds."""
    return (await connection.exec_driver_sql(native(connection, sql), values)).all()
