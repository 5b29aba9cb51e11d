"""Entries of a box's ledger as they come in: stored whole and once, in their order. (box, ledger, number) is the key.

A batch of frames is one transaction; what is said to the box is said after its commit, a rejection until the box has noted it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.hub.boxes import alarm
from pbxd.hub.database import Database, now, rows, run
from pbxd.hub.intake import UNREAD, Batch, Held, Intake, Piece
from pbxd.hub.upkeep import AGED
from pbxd.stats.engine import many
from pbxd.uplink.frames import Frame, frame

PUT_PIECE = 'INSERT INTO parts (ledger, number, "offset", sha256, body) VALUES (?, ?, ?, ?, ?)'
PUT_ENTRY = (
    'INSERT INTO entries (box, ledger, number, "class", size, sha256, created, accepted, why, body)'
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Replaced(Exception):
    """Another connection of this box is the one that may write now."""


@dataclass(frozen=True, slots=True)
class Writer:
    """The connection that may write for a box."""

    box: int
    ledger: int  # row of `ledgers`
    session: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """An entry that is not taken."""

    ledger: int
    number: int
    class_: str
    why: str  # one of REJECT_WHYS
    detail: str = ""  # for people


class Entries:
    """Stores what one connection uploads. Before it begins, the store knows that this connection is the box's."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self.database = database
        self.writer = writer
        self._intake = Intake(0)

    async def begin(self) -> tuple[int, int]:
        """The number of the entry that is wanted next, and how many bytes of it are held."""
        ledger = self.writer.ledger
        async with self.database.reading("reading a ledger's place") as connection:
            ((number,),) = await rows(connection, 'SELECT "next" FROM ledgers WHERE id = ?', ledger)
            sql = 'SELECT "offset", sha256 FROM parts WHERE ledger = ? AND number = ? ORDER BY "offset"'
            held = await rows(connection, sql, ledger, number)
            # One by one: of a large body only its hash is wanted.
            sql = 'SELECT body FROM parts WHERE ledger = ? AND number = ? AND "offset" = ?'
            pieces = [bytes((await rows(connection, sql, ledger, number, offset))[0][0]) for offset, _ in held]
        self._intake = Intake(int(number), pieces, held[0][1] if held else "")
        return self._intake.next, self._intake.have

    async def take(self, frames: Sequence[Frame]) -> list[Frame]:
        """Store these entries and skips, all or none of them; the answers to them.

        FrameError if the box breaks the order; Replaced if another connection writes for it; StoreError: nothing was stored. After
        any of these this connection has to end.
        """
        batch = self._intake.take(frames)
        writer = self.writer
        async with self.database.writing("storing entries") as connection:
            mine = "UPDATE boxes SET seen = ? WHERE number = ? AND session = ?"
            if not await run(connection, mine, now(), writer.box, writer.session):
                raise Replaced
            await self._store(connection, batch)
            await run(connection, 'UPDATE ledgers SET "next" = ? WHERE id = ?', self._intake.next, writer.ledger)
            again = [answer for one in batch.again if (answer := await self._again(connection, one)) is not None]
        return [*again, *batch.answers]

    async def _store(self, connection: AsyncConnection, batch: Batch) -> None:
        writer = self.writer
        await many(
            connection,
            "DELETE FROM parts WHERE ledger = ? AND number = ?",
            [(writer.ledger, number) for number in batch.dropped],
        )
        await many(connection, PUT_PIECE, [self._piece(one) for one in batch.pieces])
        at = now()
        await many(connection, PUT_ENTRY, [self._entry(one, at) for one in batch.entries])
        for one in batch.entries:
            if one.class_ and one.why != UNREAD:
                await reject(connection, writer.box, Refusal(writer.ledger, one.number, one.class_, one.why))

    def _piece(self, one: Piece) -> tuple[object, ...]:
        return self.writer.ledger, one.number, one.offset, one.sha256, one.body

    def _entry(self, one: Held, at: int) -> tuple[object, ...]:
        box, ledger = self.writer.box, self.writer.ledger
        return box, ledger, one.number, one.class_, one.size, one.sha256, one.created, at, one.why, one.body

    async def _again(self, connection: AsyncConnection, one: Frame) -> Frame | None:
        """The answer to what was stored before: it was lost."""
        if one.type == "skip":
            return None
        sql = "SELECT why FROM entries WHERE box = ? AND ledger = ? AND number = ?"
        found = await rows(connection, sql, self.writer.box, self.writer.ledger, one["number"])
        why = found[0][0] if found else ""
        if why in ("", UNREAD, "destroyed", AGED):
            return frame("accepted", number=one["number"])
        return frame("rejected", number=one["number"], why=why) if one["offset"] == 0 else None


async def reject(connection: AsyncConnection, box: int, refusal: Refusal) -> None:
    """An entry is not taken: an alarm tells of it, and the box is told until it has noted it."""
    detail = f" ({refusal.detail})" if refusal.detail else ""
    text = f"entry {refusal.number} of class {refusal.class_} was rejected: {refusal.why}{detail}"
    await alarm(connection, box, "rejected", text)
    sql = "INSERT INTO refusals (ledger, number, why) VALUES (?, ?, ?)"
    await run(connection, sql, refusal.ledger, refusal.number, refusal.why)


async def refused(database: Database, ledger: int) -> list[Frame]:
    """What a box is to be told of its entries that were not taken."""
    sql = "SELECT number, why FROM refusals WHERE ledger = ? ORDER BY number"
    found = await database.read("reading refusals", sql, ledger)
    return [frame("rejected", number=int(number), why=why) for number, why in found]


async def noted(database: Database, ledger: int, number: int) -> None:
    """The box has put down that this entry of it was not taken."""
    sql = "DELETE FROM refusals WHERE ledger = ? AND number = ?"
    await database.write("noting a refusal", sql, ledger, number)
