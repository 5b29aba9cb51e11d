"""Checkpoints of the boxes' ledgers: kept, compared with one another, and said back to the box.

A box that shows the hub one ledger and its owner another has to sign two roots for one size, or go back behind a size that it
signed. Both are kept as they came, with the box's signature, and told to the operator. The other way round a box checks what the
hub says against its own ledger.
"""

from __future__ import annotations

import base64
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.errors import NoteError
from pbxd.hub import messages
from pbxd.hub.boxes import BoxRow, alarm
from pbxd.hub.database import Database, now, rows, run
from pbxd.uplink.notes import Checkpoint, Signer, Verifier, opened

SAID_EACH = 3600.0  # s between two messages of this kind to a box
GOOD_FOR = 30 * 86400.0  # s

log = structlog.get_logger("pbxd.hub")


async def take(database: Database, box: BoxRow, note: bytes) -> str:
    """Keep a checkpoint that a box sent. "" if it fits to those before, else the kind of the alarm: fork, rollback, checkpoint."""
    async with database.writing("storing a checkpoint") as connection:
        sql = "UPDATE ledgers SET verifier = verifier WHERE id = ? RETURNING verifier"
        ((verifier,),) = await rows(connection, sql, box.ledger)
        try:
            checkpoint = Checkpoint.of(opened(note, [Verifier.of(verifier)]))
        except NoteError as error:
            return await _tell(connection, box, "checkpoint", f"a checkpoint does not hold: {error}")
        return await _keep(connection, box, checkpoint, note)


async def _keep(connection: AsyncConnection, box: BoxRow, checkpoint: Checkpoint, note: bytes) -> str:
    sql = "SELECT size, root FROM checkpoints WHERE ledger = ? AND (size = ? OR size > ?) ORDER BY size"
    known = await rows(connection, sql, box.ledger, checkpoint.size, checkpoint.size)
    sql = "INSERT INTO checkpoints (ledger, size, root, received, note) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
    await run(connection, sql, box.ledger, checkpoint.size, checkpoint.root, now(), note)
    other = [bytes(root) for size, root in known if size == checkpoint.size and bytes(root) != checkpoint.root]
    if other:
        roots = " and ".join(base64.b64encode(root).decode() for root in (*other, checkpoint.root))
        return await _tell(connection, box, "fork", f"two ledgers of {checkpoint.size} entries: {roots}")
    if known and known[-1][0] > checkpoint.size and not any(size == checkpoint.size for size, _ in known):
        text = f"a checkpoint of {checkpoint.size} entries came after one of {known[-1][0]}"
        return await _tell(connection, box, "rollback", text)
    return ""


async def hello(database: Database, box: BoxRow, size: int) -> str:
    """Compare what a box says of its ledger with what is held of it. "" if it fits, else the kind of the alarm."""
    sql = 'SELECT "next", (SELECT coalesce(max(size), 0) FROM checkpoints WHERE ledger = ledgers.id) FROM ledgers WHERE id = ?'
    ((held, signed),) = await database.read("reading a ledger", sql, box.ledger)
    if size >= max(held, signed):
        return ""
    text = f"its ledger has {size} entries now; {max(held, signed)} were there before"
    async with database.writing("telling of a ledger") as connection:
        return await _tell(connection, box, "rollback", text)


async def _tell(connection: AsyncConnection, box: BoxRow, kind: str, text: str) -> str:
    if await alarm(connection, box.number, kind, text):
        log.error("a ledger is not what it was", box=box.id, kind=kind, text=text)
    return kind


async def say(database: Database, signer: Signer, box: BoxRow) -> None:
    """Queue a message with the newest checkpoint that is held, if the last was long ago."""
    async with database.writing("queueing a checkpoint") as connection:
        if now() - await messages.newest_checkpoint(connection, box.number) < SAID_EACH * messages.SECOND:
            return
        sql = "SELECT size, root FROM checkpoints WHERE ledger = ? ORDER BY received DESC, size DESC LIMIT 1"
        found = await rows(connection, sql, box.ledger)
        if found:
            fields: dict[str, Any] = {"size": found[0][0], "root": base64.b64encode(bytes(found[0][1])).decode()}
            letter = messages.Letter("checkpoint", fields, GOOD_FOR)
            await messages.replace_checkpoint(connection, signer, (box.number, box.id), letter)
