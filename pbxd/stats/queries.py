"""Questions to the store, through connections that cannot write."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pbxd.calls.cel import id_order
from pbxd.calls.record import CallRecord
from pbxd.stats.engine import open_engine, store_errors
from pbxd.stats.fragments import LONGEST_CALL
from pbxd.stats.rows import record_of
from pbxd.stats.schema import (
    DEFAULT_BOX,
    Box,
    Call,
    CallEvent,
    CallLeg,
    CallQueue,
    CallTransfer,
    Import,
    JournalPosition,
    JournalReject,
    JournalState,
)
from pbxd.stats.writer import ImportProgress

NO_SECOND = 1 << 62  # `id_order` of an id that is no number
PAGE = 500  # calls read at once by a long listing
PARTS = (CallLeg, CallEvent, CallQueue, CallTransfer)


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls; every condition that is given must hold. Times are microseconds, `end` is exclusive."""

    start: int | None = None
    end: int | None = None
    number: str = ""  # of any party, or as dialled
    extension: str = ""  # of any party that is no trunk
    queue: str = ""
    disposition: str = ""  # or a reason
    direction: str = ""
    limit: int = 50
    newest_first: bool = True


@dataclass(frozen=True, slots=True)
class JournalProgress:
    """What a journal's reader needs to go on: `saved` is the interpreter's state at each part's saved offset."""

    positions: dict[str, tuple[int, int, int]]  # part -> (offset, saved_offset, began)
    saved: bytes | None


class Queries:
    """Reads what the store has of one box. Any number of them may be open."""

    def __init__(self, url: str, box: str = DEFAULT_BOX) -> None:
        self._engine: AsyncEngine = open_engine(url, read_only=True)
        self._box = box

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[tuple[AsyncConnection, int]]:
        """A connection for reading, and the number of the box."""
        async with self._engine.connect() as connection:
            number = await connection.scalar(select(Box.id).where(Box.name == self._box))
            yield connection, -1 if number is None else number

    def _own(self, table: type[Call | Import | JournalPosition | JournalState | JournalReject]) -> ColumnElement[bool]:
        """The condition that a row is of this box."""
        return table.box == select(Box.id).where(Box.name == self._box).scalar_subquery()

    async def close(self) -> None:
        """Close the connections."""
        await self._engine.dispose()

    async def calls(self, wanted: CallFilter) -> AsyncIterator[CallRecord]:
        """The calls that `wanted` describes, whole, in the order of their start."""
        left = wanted.limit
        after: tuple[int, int] | None = None
        while left > 0:
            page = min(left, PAGE)
            statement = _conditions(select(Call.__table__).where(self._own(Call)), wanted)
            statement = _page(statement, after, newest_first=wanted.newest_first).limit(page)
            with store_errors("reading calls"):
                async with self._engine.connect() as connection:
                    calls = (await connection.execute(statement)).all()
                    parts = [await _parts(connection, part, [call.id for call in calls]) for part in PARTS]
            for call in calls:
                yield record_of(dict(call._mapping), *(part.get(call.id, []) for part in parts))  # noqa: SLF001 - SQLAlchemy's public name for it
            left -= len(calls)
            if len(calls) < page:
                return
            after = (calls[-1].start, calls[-1].id)

    async def count(self, wanted: CallFilter) -> int:
        """How many calls `wanted` describes, whatever its limit."""
        with store_errors("counting calls"):
            async with self._engine.connect() as connection:
                counted = _conditions(_count(Call).where(self._own(Call)), wanted)
                return int((await connection.execute(counted)).scalar_one())

    async def call(self, call_id: str) -> CallRecord | None:
        """One call by its id, or by the uniqueid of any of its legs.

        Legs have no index by their ids; a uniqueid begins with the second of its channel, and no call began long before its legs.
        """
        whole = select(Call.__table__).where(self._own(Call)).limit(1)
        second, _, _ = id_order(call_id)
        by_leg = whole.join(CallLeg, CallLeg.call == Call.id).where(CallLeg.uniqueid == call_id)
        near = Call.start.between(second * 1_000_000 - LONGEST_CALL, (second + 2) * 1_000_000)
        with store_errors("reading a call"):
            async with self._engine.connect() as connection:
                call = (await connection.execute(whole.where(Call.call_id == call_id))).first()
                if call is None:
                    call = (await connection.execute(by_leg.where(near) if second < NO_SECOND else by_leg)).first()
                if call is None:
                    return None
                parts = [await _parts(connection, part, [call.id]) for part in PARTS]
        return record_of(dict(call._mapping), *(part.get(call.id, []) for part in parts))  # noqa: SLF001

    async def progress(self, source: str) -> JournalProgress:
        """How far the journal `source` has been read."""
        table = JournalPosition
        columns = select(table.part, table.offset, table.saved_offset, table.began).where(
            self._own(table), table.source == source
        )
        with store_errors("reading the journal's position"):
            async with self._engine.connect() as connection:
                found = {
                    row.part: (row.offset, row.saved_offset, row.began) for row in await connection.execute(columns)
                }
                state = select(JournalState.saved).where(self._own(JournalState), JournalState.source == source)
                saved = (await connection.execute(state)).scalar_one_or_none()
        return JournalProgress(found, saved)

    async def import_progress(self, source: str) -> ImportProgress:
        """How far the history `source` has been read; nothing at all, if it is not known."""
        names = [getattr(Import, item.name) for item in fields(ImportProgress)]
        statement = select(*names).where(self._own(Import), Import.source == source)
        with store_errors("reading an import's position"):
            async with self._engine.connect() as connection:
                found = (await connection.execute(statement)).first()
        return ImportProgress(source) if found is None else ImportProgress(*found)

    async def counts(self) -> dict[str, int]:
        """How many calls and rejected journal lines the store holds."""
        with store_errors("counting"):
            async with self._engine.connect() as connection:
                calls = (await connection.execute(_count(Call).where(self._own(Call)))).scalar_one()
                rejects = (await connection.execute(_count(JournalReject).where(self._own(JournalReject)))).scalar_one()
        return {"calls": calls, "journal_rejects": rejects}


def _count(table: type[Call | JournalReject]) -> Select[int]:
    return select(func.count()).select_from(table)


def _conditions(statement: Select[Any], wanted: CallFilter) -> Select[Any]:
    leg = exists().where(CallLeg.call == Call.id)
    if wanted.start is not None:
        statement = statement.where(Call.start >= wanted.start)
    if wanted.end is not None:
        statement = statement.where(Call.start < wanted.end)
    if wanted.number:
        same = leg.where(CallLeg.number == wanted.number)
        statement = statement.where(or_(Call.dialled == wanted.number, Call.caller_number == wanted.number, same))
    if wanted.extension:
        statement = statement.where(leg.where(CallLeg.number == wanted.extension, CallLeg.trunk.is_(False)))
    if wanted.queue:
        statement = statement.where(exists().where(CallQueue.call == Call.id, CallQueue.queue == wanted.queue))
    if wanted.disposition:
        statement = statement.where(or_(Call.disposition == wanted.disposition, Call.reason == wanted.disposition))
    if wanted.direction:
        statement = statement.where(Call.direction == wanted.direction)
    return statement


def _page(statement: Select[Any], after: tuple[int, int] | None, *, newest_first: bool) -> Select[Any]:
    """The next page behind the call at `after` (start, id)."""
    if after is not None:
        start, key = after
        beyond = Call.start < start if newest_first else Call.start > start
        tie = Call.id < key if newest_first else Call.id > key
        statement = statement.where(or_(beyond, (Call.start == start) & tie))
    if newest_first:
        return statement.order_by(Call.start.desc(), Call.id.desc())
    return statement.order_by(Call.start, Call.id)


async def _parts(connection: Any, part: Any, keys: Sequence[int]) -> dict[int, list[Any]]:  # noqa: ANN401 - any of PARTS
    """The rows of one child table for the calls `keys`, by call, in order."""
    table = part.__table__
    found: dict[int, list[Any]] = {}
    rows: Sequence[Row[Any]] = (
        await connection.execute(select(table).where(table.c.call.in_(keys)).order_by(table.c.call, table.c.position))
    ).all()
    for row in rows:
        found.setdefault(row.call, []).append(row._mapping)  # noqa: SLF001
    return found
