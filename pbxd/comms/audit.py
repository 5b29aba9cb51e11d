"""The audit log: who did what, or was refused. It is written before the thing is done: without a row nothing is given out."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.comms.chain import FIRST, START, Entry, Link, Walk, canonical, link
from pbxd.comms.database import Database
from pbxd.comms.people import Person
from pbxd.comms.schema import audit, audit_cuts, audit_head

MOST_FAULTS = 100  # that are told of a broken chain
FOREVER = 2**62
PAGE = 1000  # rows that are in memory at a time
LONGEST_REASON = 500  # characters


class Audit:
    """The log of one store."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def record(
        self,
        who: Person,
        action: str,
        kind: str,
        subject: str,
        *,
        allowed: bool = True,
        reason: str = "",
        via: str = "control",
        detail: dict[str, Any] | None = None,
    ) -> int:
        """Write a row; it is on the disk when this returns its number. CommsFull or CommsError if it cannot be."""

        async def work(connection: AsyncConnection) -> int:
            head = await _head(connection)
            entry = Entry(
                head.seq + 1, int(self._clock() * 1_000_000), who.name, who.role, via, action, kind, subject, allowed,
                reason[:LONGEST_REASON], canonical(detail or {}),
            )  # fmt: skip
            await _append(connection, head, entry)
            return entry.seq

        return await self._database.run("writing the audit log", work)

    async def entries(
        self,
        *,
        start: int = 0,
        end: int = FOREVER,
        who: str = "",
        subject: str = "",
        newest: int = 0,
        upto: int = FOREVER,
    ) -> AsyncIterator[tuple[Entry, str]]:
        """Rows with their hashes, in order: from `start` to before `end` (µs); only the last `newest` of them, if not 0."""
        conditions = [audit.c.seq <= upto, *_conditions(start, end, who, subject)]
        after = 0
        if newest:
            last = select(audit.c.seq).where(*conditions).order_by(audit.c.seq.desc()).limit(newest).subquery()
            after = (await self._database.fetch(select(func.coalesce(func.min(last.c.seq), 1))))[0][0] - 1
        while True:
            page = select(audit).where(audit.c.seq > after, *conditions).order_by(audit.c.seq).limit(PAGE)
            rows = await self._database.fetch(page)
            for row in rows:
                yield _entry(row), row.hash
            if len(rows) < PAGE:
                return
            after = rows[-1].seq

    async def count(self, *, start: int = 0, end: int = FOREVER, who: str = "", subject: str = "") -> int:
        """How many rows those are."""
        query = select(func.count()).select_from(audit).where(*_conditions(start, end, who, subject))
        return int((await self._database.fetch(query))[0][0])

    async def verify(self) -> tuple[Link, int, list[str]]:
        """The last row, how many there are, and what is wrong with the chain; nothing, if it is whole."""
        cut, head = await self._ends()
        walk = Walk(cut)
        wrong = [] if await self._cut_is_known(cut) else [f"the cut at row {cut.seq} is not in the log"]
        async for entry, written in self.entries(upto=head.seq):
            if len(wrong) < MOST_FAULTS:
                wrong += walk.step(entry, written)
        return head, walk.rows, [*wrong, *walk.end(head)]

    async def _ends(self) -> tuple[Link, Link]:
        cuts = await self._database.fetch(select(audit_cuts).order_by(audit_cuts.c.seq.desc()).limit(1))
        heads = await self._database.fetch(select(audit_head))
        return (
            Link(cuts[0].seq, cuts[0].hash) if cuts else START,
            Link(heads[0].seq, heads[0].hash) if heads else START,
        )

    async def cut(self, who: Person, before: int, via: str = "retention") -> int:
        """Delete rows from before `before` (µs), which were kept long enough, and leave a checkpoint; how many went.

        The cut is a row of the chain itself, so the chain still says where it begins.
        """

        async def work(connection: AsyncConnection) -> int:
            find = select(audit.c.seq, audit.c.hash).where(audit.c.at < before).order_by(audit.c.seq.desc()).limit(1)
            last = (await connection.execute(find)).first()
            if last is None:
                return 0
            head = await _head(connection)
            detail = canonical({"hash": last.hash, "seq": last.seq})
            now = int(self._clock() * 1_000_000)
            reason = "kept long enough"
            entry = Entry(
                head.seq + 1, now, who.name, who.role, via, "cut", "audit", str(last.seq), True, reason, detail
            )
            await _append(connection, head, entry)
            await connection.execute(insert(audit_cuts).values(seq=last.seq, hash=last.hash, at=now))
            return (await connection.execute(delete(audit).where(audit.c.seq <= last.seq))).rowcount

        return await self._database.run("cutting the audit log", work)

    async def _cut_is_known(self, cut: Link) -> bool:
        if cut == START:
            return True
        find = select(audit.c.detail).where(audit.c.action == "cut", audit.c.subject == str(cut.seq))
        known = canonical({"hash": cut.hash, "seq": cut.seq})
        return any(row.detail == known for row in await self._database.fetch(find))


def _conditions(start: int, end: int, who: str, subject: str) -> list[ColumnElement[bool]]:
    conditions = [audit.c.at >= start, audit.c.at < end]
    if who:
        conditions.append(audit.c.who == who)
    if subject:
        conditions.append(audit.c.subject == subject)
    return conditions


async def _head(connection: AsyncConnection) -> Link:
    row = (await connection.execute(select(audit_head))).first()
    return Link(0, FIRST) if row is None else Link(row.seq, row.hash)


async def _append(connection: AsyncConnection, head: Link, entry: Entry) -> None:
    new = link(head, entry)
    await connection.execute(insert(audit).values(**asdict(entry) | {"allowed": int(entry.allowed)}, hash=new.hash))
    if head.seq:
        await connection.execute(update(audit_head).values(seq=new.seq, hash=new.hash))
    else:
        await connection.execute(insert(audit_head).values(id=1, seq=new.seq, hash=new.hash))


def _entry(row: Any) -> Entry:  # noqa: ANN401 - a row
    values: Sequence[Any] = [getattr(row, name) for name in Entry.__slots__]
    entry = dict(zip(Entry.__slots__, values, strict=True))
    return Entry(**entry | {"allowed": bool(row.allowed)})
