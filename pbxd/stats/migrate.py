"""Brings the store to the newest schema. Alembic is loaded only when there is something to do."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from pbxd.errors import StoreError
from pbxd.stats.engine import database_path
from pbxd.stats.schema import HEAD

MIGRATIONS = Path(__file__).parent / "migrations"


def version(url: str) -> str | None:
    """The migration at which the store stands; None if it is empty or absent."""
    path = database_path(url)
    if path is None or not path.exists() or path.stat().st_size == 0:
        return None
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.DatabaseError as error:
            if "no such table" in str(error):
                return None
            raise StoreError(f"{path} cannot be read as a database: {error}") from error
    return str(row[0]) if row else None


def migrate(url: str) -> bool:
    """Bring the store to HEAD; whether anything was done. StoreError if it is newer than this pbxd."""
    found = version(url)
    if found == HEAD:
        return False
    if found is not None and found > HEAD:
        raise StoreError(
            f"the store is at schema {found}, newer than this pbxd knows ({HEAD}): install the newer pbxd again"
        )
    from alembic import command  # noqa: PLC0415 - 20 MB that a daemon with a current store never loads
    from alembic.config import Config  # noqa: PLC0415

    path = database_path(url)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("sqlalchemy.url", url.replace("sqlite+aiosqlite:", "sqlite:").replace("%", "%%"))
    command.upgrade(config, HEAD)
    return True
