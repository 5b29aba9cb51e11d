"""Connections to the store: how SQLite is set up, and how its errors become ours."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from pbxd.errors import StoreError, StoreFull

BUSY_TIMEOUT = 10_000  # ms; only a checkpoint or an admin's own sqlite3 can hold the file for long


def database_path(url: str) -> Path | None:
    """The file of a SQLite URL; None for a database server."""
    parsed = make_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def open_engine(url: str, *, read_only: bool = False) -> AsyncEngine:
    """An engine on the store. Readers cannot write: SQLite itself refuses."""
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
            cursor.execute("PRAGMA synchronous = NORMAL")
            cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    return engine


@contextlib.contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Database errors inside become StoreFull or StoreError, with `what` was tried."""
    try:
        yield
    except (OperationalError, DatabaseError) as error:
        text = str(error.orig or error)
        if isinstance(error.orig, sqlite3.OperationalError) and ("full" in text or "disk I/O" in text):
            raise StoreFull(f"{what}: {text}; free disk space, pbxd goes on by itself") from error
        raise StoreError(f"{what}: {text}") from error
