"""The process that brings an earlier pbxd's store to the newest schema, by Alembic: `python -m pbxd.stats.upgrade PARENT`.

What Alembic loads, 12 MB that are needed once in the life of a version, goes with it. The URL comes by its input, for arguments
can be read by every user and it may have a password. Nothing is answered if all is well, else `{"error", "full"}` as JSON.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config

from pbxd.errors import StoreError, StoreFull
from pbxd.lifeline import die_with
from pbxd.stats.engine import database_path, store_errors
from pbxd.stats.schema import HEAD

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(url: str, to: str = HEAD, scripts: Path = MIGRATIONS) -> None:
    """Run the migrations of `scripts`. It must not be called in an event loop."""
    path = database_path(url)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.set_main_option("sqlalchemy.url", url.replace("sqlite+aiosqlite:", "sqlite:").replace("%", "%%"))
    command.upgrade(config, to)
    if path is not None:
        _shrinkable(path)


def _shrinkable(path: Path) -> None:
    """Let the file give back what is deleted, step by step (auto_vacuum). A file that cannot yet is written anew, once."""
    with closing(sqlite3.connect(path)) as connection:
        if connection.execute("PRAGMA auto_vacuum").fetchone() != (2,):
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("VACUUM")


def main() -> None:
    """Upgrade what the input names."""
    die_with(int(sys.argv[1]))
    try:
        with store_errors("bringing the store to the newest schema"):
            upgrade(sys.stdin.read())
    except StoreError as error:
        print(json.dumps({"error": str(error), "full": isinstance(error, StoreFull)}))
        sys.exit(1)


if __name__ == "__main__":
    main()
