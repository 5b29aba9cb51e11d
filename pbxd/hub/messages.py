"""Messages down to the boxes: signed, queued, sent until the box says that it has them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.errors import FrameError, HubError, NoteError
from pbxd.hub.boxes import BoxRow
from pbxd.hub.database import Database, changed, now, rows, run
from pbxd.uplink.notes import Signer
from pbxd.uplink.vocabulary import message_text, time_text

SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Message:
    """One in the queue."""

    id: str
    kind: str
    note: bytes


@dataclass(frozen=True, slots=True)
class Letter:
    """What is to be said: a kind of the vocabulary, its own fields, and for how many seconds it is good."""

    kind: str
    fields: Mapping[str, Any]
    length: float


async def queue(database: Database, signer: Signer, box: BoxRow, letter: Letter) -> str:
    """Put a message into the queue of a box; its id. HubError if it is none of the vocabulary."""
    async with database.writing("queueing a message") as connection:
        message = await put(connection, signer, (box.number, box.id), letter)
        await changed(connection, box.number)
    return message.id


async def put(connection: AsyncConnection, signer: Signer, box: tuple[int, str], letter: Letter) -> Message:
    """The same within a transaction, without telling the nodes. `box` is (number, id)."""
    number, box_id = box
    at = now()
    issued = datetime.fromtimestamp(at // SECOND, UTC)
    expires = issued + timedelta(seconds=int(letter.length))
    made = {
        "id": str(uuid.uuid4()), "box": box_id, "kind": letter.kind, "issued": time_text(issued), "expires": time_text(expires),
        **letter.fields,
    }  # fmt: skip
    try:
        note = signer.sign(message_text(made)).encode()
    except (FrameError, NoteError) as error:
        raise HubError(f"this message cannot be sent: {error}") from error
    sql = "INSERT INTO messages (box, id, kind, issued, expires, note) VALUES (?, ?, ?, ?, ?, ?)"
    until = int(expires.timestamp()) * SECOND
    await run(connection, sql, number, made["id"], letter.kind, at, until, note)
    return Message(made["id"], letter.kind, note)


async def waiting(database: Database, box: int) -> list[Message]:
    """What the box does not have yet and is still good, in its order."""
    sql = "SELECT id, kind, note FROM messages WHERE box = ? AND received IS NULL AND expires > ? ORDER BY seq"
    return [Message(*row) for row in await database.read("reading messages", sql, box, now())]


async def received(database: Database, box: int, message: str) -> None:
    """The box has it; what it says of others' messages changes nothing."""
    sql = "UPDATE messages SET received = ? WHERE box = ? AND id = ? AND received IS NULL"
    await database.write("noting a received message", sql, now(), box, message)


async def listed(database: Database, box: int, limit: int) -> list[tuple[Any, ...]]:
    """The newest messages: id, kind, issued, expires, received."""
    sql = "SELECT id, kind, issued, expires, received FROM messages WHERE box = ? ORDER BY seq DESC LIMIT ?"
    return await database.read("reading messages", sql, box, limit)


async def replace_checkpoint(connection: AsyncConnection, signer: Signer, box: tuple[int, str], letter: Letter) -> None:
    """Put the hub's newest view of a ledger into the queue, in the place of an older one that was not received."""
    sql = "DELETE FROM messages WHERE box = ? AND kind = 'checkpoint' AND received IS NULL"
    await run(connection, sql, box[0])
    await put(connection, signer, box, letter)


async def newest_checkpoint(connection: AsyncConnection, box: int) -> int:
    """When the newest message of this kind was issued; 0 if none was."""
    sql = "SELECT coalesce(max(issued), 0) FROM messages WHERE box = ? AND kind = 'checkpoint'"
    return int((await rows(connection, sql, box))[0][0])
