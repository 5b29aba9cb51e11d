"""Entries of a box's ledger as they come in: stored whole and once, in their order. (box, ledger, number) is the key.

A batch of frames is one transaction; what is said to the box is said after its commit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.errors import FrameError, GateRefused
from pbxd.hub import figures
from pbxd.hub.boxes import alarm
from pbxd.hub.database import Database, now, rows, run
from pbxd.hub.upkeep import AGED
from pbxd.uplink.bodies import LARGEST as LARGEST_BODY
from pbxd.uplink.frames import Frame, frame


class Replaced(Exception):
    """Another connection of this box is the one that may write now."""


@dataclass(frozen=True, slots=True)
class Writer:
    """The connection that may write for a box."""

    box: int
    ledger: int  # row of `ledgers`
    session: str


@dataclass(slots=True)
class Intake:
    """Takes the frames of one connection."""

    writer: Writer
    answers: list[Frame] = field(default_factory=list)
    taken: int = 0  # entries that are held since this connection began
    rejected: int = 0

    async def begin(self, database: Database) -> tuple[int, int]:
        """The number of the entry that is wanted next, and how many bytes of it are held."""
        sql = 'SELECT "next" FROM ledgers WHERE id = ?'
        ((number,),) = await database.read("reading a ledger's place", sql, self.writer.ledger)
        sql = 'SELECT coalesce(max("offset" + length(body)), 0) FROM parts WHERE ledger = ? AND number = ?'
        ((have,),) = await database.read("reading parts", sql, self.writer.ledger, number)
        return int(number), int(have)

    async def take(self, database: Database, frames: Sequence[Frame]) -> list[Frame]:
        """Store these entries and skips, all or none of them; the answers to them.

        FrameError if the box breaks the order; Replaced if another connection writes for it; StoreError: nothing was stored.
        """
        self.answers = []
        async with database.writing("storing entries") as connection:
            mine = "UPDATE boxes SET seen = ? WHERE number = ? AND session = ?"
            if not await run(connection, mine, now(), self.writer.box, self.writer.session):
                raise Replaced
            sql = 'SELECT "next" FROM ledgers WHERE id = ?'
            ((number,),) = await rows(connection, sql, self.writer.ledger)
            for one in frames:
                number += await self._one(connection, one, int(number))
            await run(connection, 'UPDATE ledgers SET "next" = ? WHERE id = ?', number, self.writer.ledger)
        self.taken += sum(answer.type == "accepted" for answer in self.answers)
        self.rejected += sum(answer.type == "rejected" for answer in self.answers)
        return self.answers

    async def _one(self, connection: AsyncConnection, one: Frame, wanted: int) -> bool:
        """Store one frame; whether its number is done with it."""
        number = one["number"]
        if number > wanted:
            raise FrameError(f"entry {number} came, and {wanted} is wanted: a number goes up only by one")
        if number < wanted:
            await self._again(connection, one)
            return False
        if one.type == "skip":
            await self._put(connection, one, one["why"], None)
        elif one["size"] > LARGEST_BODY:
            await self._reject(connection, one, "size")
        else:
            body = await self._whole(connection, one)
            if body is None:
                return False
            await self._judge(connection, one, body)
        return True

    async def _judge(self, connection: AsyncConnection, one: Frame, body: bytes) -> None:
        """Take a whole entry, or reject it."""
        if hashlib.sha256(body).hexdigest() != one["sha256"]:
            await self._reject(connection, one, "sha256")
            return
        try:
            said = figures.read_entry(one["class"], body)
        except GateRefused as error:
            await self._reject(connection, one, "schema", str(error))
            return
        await self._put(connection, one, "", body)
        await figures.apply(connection, self.writer.box, one["class"], said)
        self.answers.append(frame("accepted", number=one["number"]))

    async def _again(self, connection: AsyncConnection, one: Frame) -> None:
        """Answer again to what was stored before: the answer was lost."""
        if one.type == "skip" or one["offset"] + len(one.body) < one["size"]:
            return
        sql = "SELECT why FROM entries WHERE box = ? AND ledger = ? AND number = ?"
        found = await rows(connection, sql, self.writer.box, self.writer.ledger, one["number"])
        why = found[0][0] if found else ""
        if why in ("", "destroyed", AGED):
            self.answers.append(frame("accepted", number=one["number"]))
        elif one["offset"] == 0:
            self.answers.append(frame("rejected", number=one["number"], why=why))

    async def _whole(self, connection: AsyncConnection, one: Frame) -> bytes | None:
        """The body, if this piece makes it whole; the pieces so far are stored."""
        ledger, offset = self.writer.ledger, one["offset"]
        if offset == 0:
            if len(one.body) == one["size"]:
                return one.body
            await run(connection, "DELETE FROM parts WHERE ledger = ?", ledger)
        sql = "SELECT coalesce(sum(length(body)), 0), max(sha256) FROM parts WHERE ledger = ? AND number = ?"
        ((have, sha256),) = await rows(connection, sql, ledger, one["number"])
        if offset != have or (offset and sha256 != one["sha256"]):
            raise FrameError(f"entry {one['number']}: a piece at {offset} came, and {have} bytes of it are held")
        if not one.body:
            raise FrameError(f"entry {one['number']}: an empty piece")
        if offset + len(one.body) == one["size"]:
            sql = 'SELECT body FROM parts WHERE ledger = ? AND number = ? ORDER BY "offset"'
            return b"".join([*(body for (body,) in await rows(connection, sql, ledger, one["number"])), one.body])
        sql = 'INSERT INTO parts (ledger, "offset", number, sha256, body) VALUES (?, ?, ?, ?, ?)'
        await run(connection, sql, ledger, offset, one["number"], one["sha256"], one.body)
        return None

    async def _reject(self, connection: AsyncConnection, one: Frame, why: str, detail: str = "") -> None:
        await self._put(connection, one, why, None)
        text = f"entry {one['number']} of class {one['class']} was rejected: {why}" + (f" ({detail})" if detail else "")
        await alarm(connection, self.writer.box, "rejected", text)
        self.answers.append(frame("rejected", number=one["number"], why=why))

    async def _put(self, connection: AsyncConnection, one: Frame, why: str, body: bytes | None) -> None:
        writer, said = self.writer, one.fields
        await run(connection, "DELETE FROM parts WHERE ledger = ?", writer.ledger)
        sql = (
            'INSERT INTO entries (box, ledger, number, "class", size, sha256, created, accepted, why, body)'
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
        values = (said.get("class", ""), said.get("size", 0), said.get("sha256", ""), said.get("created", ""))
        await run(connection, sql, writer.box, writer.ledger, one["number"], *values, now(), why, body)
