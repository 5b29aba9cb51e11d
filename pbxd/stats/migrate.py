"""Brings the store to the newest schema. Alembic is loaded only when there is something to do."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import text

from pbxd.errors import StoreError
from pbxd.stats.engine import database_path, open_engine
from pbxd.stats.schema import HEAD

MIGRATIONS = Path(__file__).parent / "migrations"


def version(url: str) -> str | None:
    """The migration at which the store stands; None if it is empty or absent. It must not be called in an event loop."""
    path = database_path(url)
    if path is None:
        return asyncio.run(_server_version(url))
    if not path.exists() or path.stat().st_size == 0:
        return None
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.DatabaseError as error:
            if "no such table" in str(error):
                return None
            raise StoreError(f"{path} cannot be read as a database: {error}") from error
    return str(row[0]) if row else None


async def _server_version(url: str) -> str | None:
    engine = open_engine(url, read_only=True)
    try:
        async with engine.connect() as connection:
            if (await connection.execute(text("SELECT to_regclass('alembic_version')"))).scalar_one() is None:
                return None
            found = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()
            return None if found is None else str(found)
    finally:
        await engine.dispose()


def migrate(url: str, scripts: Path = MIGRATIONS, head: str = HEAD) -> bool:
    """Bring the store to `head` by these migrations; whether anything was done. StoreError if it is newer than this pbxd.

    It must not be called in an event loop: a thread of its own is the place.
    """
    found = version(url)
    if found == head:
        return False
    if found is not None and found > head:
        raise StoreError(
            f"the store is at schema {found}, newer than this pbxd knows ({head}): install the newer pbxd again"
        )
    from alembic import command  # noqa: PLC0415 - 20 MB that a daemon with a current store never loads
    from alembic.config import Config  # noqa: PLC0415

    path = database_path(url)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.set_main_option("sqlalchemy.url", url.replace("sqlite+aiosqlite:", "sqlite:").replace("%", "%%"))
    command.upgrade(config, head)
    if path is not None:
        _shrinkable(path)
    return True


def _shrinkable(path: Path) -> None:
    """Let the file give back what is deleted, step by step (auto_vacuum). A file that cannot yet is written anew, once."""
    with closing(sqlite3.connect(path)) as connection:
        if connection.execute("PRAGMA auto_vacuum").fetchone() != (2,):
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("VACUUM")
