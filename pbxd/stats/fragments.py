"""Records of calls of which the lines have a part only: a part of a journal that is read once more must not spoil what is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.calls.record import CallRecord
from pbxd.stats.engine import fetch

MAX_VARIABLES = 500  # ids in one IN (...): far below SQLite's own limit
LONGEST_CALL = (
    7 * 86_400_000_000
)  # µs before a fragment in which its call is looked for: there is no index of legs by their ids


class Stored(NamedTuple):
    """A call that the store has."""

    call_id: str
    start: int
    end: int
    disposition: str


async def known_better(connection: AsyncConnection, box: int, records: Sequence[CallRecord]) -> list[CallRecord]:
    """`records` without those that are fragments of calls of which the store has more."""
    fragments = [record for record in records if not record.whole]
    if not fragments:
        return list(records)
    stored = await _stored(connection, box, fragments)
    return [
        record
        for record in records
        if record.whole
        or not any(_has_more(found, record) for name in _names(record) for found in stored.get(name, ()))
    ]


def _names(record: CallRecord) -> set[str]:
    """Uniqueids by which its call can be found: a part with nothing but Local channels has no leg that the call has."""
    return {leg.uniqueid for leg in record.legs} | set(record.linkedids)


def _has_more(found: Stored, record: CallRecord) -> bool:
    if found.call_id == record.id:
        return found.end > record.end or (found.end == record.end and found.disposition != "cut")
    return found.call_id not in record.replaces and found.start <= record.start and found.end >= record.end


async def _stored(connection: AsyncConnection, box: int, fragments: Sequence[CallRecord]) -> dict[str, list[Stored]]:
    """The calls in the store with a leg that these fragments name, by the leg's uniqueid."""
    first = min(record.start for record in fragments) - LONGEST_CALL
    last = max(record.end for record in fragments)
    names = sorted(set().union(*map(_names, fragments)))
    found: dict[str, list[Stored]] = {}
    for start in range(0, len(names), MAX_VARIABLES):
        part = names[start : start + MAX_VARIABLES]
        marks = ", ".join("?" * len(part))
        sql = (
            'SELECT uniqueid, call_id, c.start, c."end", disposition FROM calls c JOIN call_legs ON call = c.id '
            f"WHERE box = ? AND c.start >= ? AND c.start <= ? AND uniqueid IN ({marks})"
        )
        values: tuple[Any, ...] = (box, first, last, *part)
        for uniqueid, *call in await fetch(connection, sql, values):
            found.setdefault(uniqueid, []).append(Stored(*call))
    return found
