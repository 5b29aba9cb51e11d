"""Brings the store to the newest schema: an empty one is made from the models, any other is migrated by a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing

from sqlalchemy import Dialect, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateIndex, CreateTable

from pbxd.errors import StoreError, StoreFull
from pbxd.stats.engine import database_path, open_engine
from pbxd.stats.schema import HEAD, ONE_AT_A_TIME, Base

VERSION = "alembic_version"  # Alembic's own table and its names, as it makes them
VERSION_TABLE = (
    f"CREATE TABLE {VERSION} (version_num VARCHAR(32) NOT NULL, CONSTRAINT {VERSION}_pkc PRIMARY KEY (version_num))"
)
STAMP = f"INSERT INTO {VERSION} (version_num) VALUES ('{HEAD}')"


def version(url: str) -> str | None:
    """The migration at which the store stands; None if it is empty or absent. It must not be called in an event loop."""
    path = database_path(url)
    if path is None:
        return asyncio.run(_server_version(url))
    if not path.exists() or path.stat().st_size == 0:
        return None
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        try:
            row = connection.execute(f"SELECT version_num FROM {VERSION}").fetchone()
        except sqlite3.DatabaseError as error:
            if "no such table" in str(error):
                return None
            raise StoreError(f"{path} cannot be read as a database: {error}") from error
    return str(row[0]) if row else None


async def _server_version(url: str) -> str | None:
    engine = open_engine(url, read_only=True)
    try:
        async with engine.connect() as connection:
            return await _version(connection)
    finally:
        await engine.dispose()


async def _version(connection: AsyncConnection) -> str | None:
    if (await connection.execute(text(f"SELECT to_regclass('{VERSION}')"))).scalar_one() is None:
        return None
    found = (await connection.execute(text(f"SELECT version_num FROM {VERSION}"))).scalar_one_or_none()
    return None if found is None else str(found)


def migrate(url: str, head: str = HEAD, bring: Callable[[str], None] | None = None) -> bool:
    """Bring the store to `head`; whether anything was done. StoreError if it is newer than this pbxd.

    `bring` does it for stores that are not the statistics. Not to be called in an event loop: a thread of its own is the place.
    """
    found = version(url)
    if found == head:
        return False
    if found is not None and found > head:
        raise StoreError(
            f"the store is at schema {found}, newer than this pbxd knows ({head}): install the newer pbxd again"
        )
    if bring is not None:
        bring(url)
    elif found is not None or not _create(url):
        _upgrade(url)
    return True


def _statements(dialect: Dialect) -> Iterator[str]:
    """What makes an empty store."""
    for table in Base.metadata.sorted_tables:
        yield str(CreateTable(table).compile(dialect=dialect))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield str(CreateIndex(index).compile(dialect=dialect))
    yield VERSION_TABLE
    yield STAMP


def _create(url: str) -> bool:
    """Make an empty store, whole or not at all. False if it is not empty."""
    path = database_path(url)
    if path is None:
        return asyncio.run(_create_on_server(url))
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # the file gives back what is deleted, step by step
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            return False
        for statement in _statements(sqlite.dialect()):
            connection.execute(statement)
        connection.execute("COMMIT")
    return True


async def _create_on_server(url: str) -> bool:
    """The same; boxes that share a database and start together take turns."""
    engine = open_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})"))
            if (
                await connection.execute(text("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"))
            ).scalar_one():
                return await _version(connection) == HEAD
            for statement in _statements(connection.dialect):
                await connection.exec_driver_sql(statement)
        return True
    finally:
        await engine.dispose()


def _upgrade(url: str) -> None:
    """Run the migrations in a process that ends with us. StoreFull or StoreError if they fail: then nothing is changed."""
    done = subprocess.run(
        [sys.executable, "-m", "pbxd.stats.upgrade", str(os.getpid())],
        input=url, capture_output=True, text=True, check=False,
        process_group=0,  # a Ctrl-C is for pbxd, which waits for it
    )  # fmt: skip
    if done.returncode == 0:
        return
    if done.stdout:
        said = json.loads(done.stdout)
        raise (StoreFull if said["full"] else StoreError)(said["error"])
    last = done.stderr.strip().rpartition("\n")[2]
    raise StoreError(f"bringing the store to the newest schema: its process ended with {done.returncode}: {last}")
