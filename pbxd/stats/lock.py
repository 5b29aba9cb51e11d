"""There is one writer a box: the lock that it holds, of a file or of a database server."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.errors import StoreBusy, StoreError
from pbxd.stats.engine import native


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


async def take_server_lock(connection: AsyncConnection, box: str, place: str) -> None:
    """The lock of the box's one writer; the server holds it for as long as the connection lives."""
    take = native(connection, "SELECT pg_try_advisory_lock(hashtextextended(?, 0))")
    if not (await connection.exec_driver_sql(take, (f"pbxd writer of {box}",))).scalar_one():
        raise StoreBusy(
            f"another pbxd is writing for {box} into {place}; stop it first, or give this box its own site.name"
        )
