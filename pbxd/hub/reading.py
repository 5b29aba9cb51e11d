"""Reads what is held: each body is checked against the form of its class, and what it says is put where it is asked for.

A body is read behind its upload, in the order of its ledger, by a process at low priority (`reader`), or before a report of its box
is made. Whoever reads first does it; what is not of its form is destroyed, and its box is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.errors import GateRefused
from pbxd.hub import figures
from pbxd.hub.database import Database, changed, rows, run
from pbxd.hub.entries import Refusal, reject
from pbxd.hub.intake import UNREAD

NEXT = (
    'SELECT ledger, number, "class", body FROM entries'
    f" WHERE why = '{UNREAD}' AND box = ? ORDER BY ledger, number LIMIT 1"
)
TAKE = f"UPDATE entries SET why = ?, body = ? WHERE box = ? AND ledger = ? AND number = ? AND why = '{UNREAD}'"


@dataclass(frozen=True, slots=True)
class Unread:
    """An entry that is held and was not looked at yet."""

    box: int
    ledger: int
    number: int
    class_: str
    body: bytes


async def waiting(database: Database) -> list[int]:
    """The boxes of which something is unread."""
    sql = f"SELECT DISTINCT box FROM entries WHERE why = '{UNREAD}'"
    return [int(box) for (box,) in await database.read("looking for entries to read", sql)]


async def catch_up(database: Database) -> None:
    """Read everything that is held. Who looks at the store then sees all that boxes were told to be accepted."""
    for box in await waiting(database):
        await read_all(database, box)


async def read_all(database: Database, box: int) -> int:
    """Read everything of a box that is unread; how many entries that were. StoreError if the store fails."""
    count = 0
    while (one := await _next(database, box)) is not None:
        count += await read(database, one)
    return count


async def _next(database: Database, box: int) -> Unread | None:
    async with database.reading("reading an entry") as connection:
        found = await rows(connection, NEXT, box)
        if not found:
            return None
        ledger, number, class_, body = found[0]
        if body is None:
            sql = 'SELECT body FROM parts WHERE ledger = ? AND number = ? ORDER BY "offset"'
            body = b"".join([bytes(piece) for (piece,) in await rows(connection, sql, ledger, number)])
    return Unread(box, int(ledger), int(number), str(class_), bytes(body))


async def read(database: Database, one: Unread) -> bool:
    """Take in what an entry says, or reject it; False if somebody else has done so meanwhile."""
    said: Mapping[str, Any] | None = None
    detail = ""
    try:
        said = figures.read_entry(one.class_, one.body)
    except GateRefused as error:
        detail = str(error)
    async with database.writing("reading an entry") as connection:
        why, body = ("schema", None) if said is None else ("", one.body)
        if not await run(connection, TAKE, why, body, one.box, one.ledger, one.number):
            return False
        await run(connection, "DELETE FROM parts WHERE ledger = ? AND number = ?", one.ledger, one.number)
        await _put(connection, one, said, detail)
    return True


async def _put(connection: AsyncConnection, one: Unread, said: Mapping[str, Any] | None, detail: str) -> None:
    if said is not None:
        await figures.apply(connection, one.box, one.class_, said)
        return
    await reject(connection, one.box, Refusal(one.ledger, one.number, one.class_, "schema", detail))
    await changed(connection, one.box)  # so that the node with its connection tells it
