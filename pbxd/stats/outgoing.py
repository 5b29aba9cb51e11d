"""What of the rollups may leave the box: one quarter of an hour at a time, once it is settled. Reads only.

Of the whole box, its queues, trunks and extensions; agents and their pauses are persons and stay. Keys are as they are stored:
which of them may be told is the gate's matter (pbxd.uplink.gate).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.stats.engine import fetch, store_errors
from pbxd.stats.layout import ALL, CALLS, QUALITY, QUARTERS, QUEUES, TRUNK, Layout, Row
from pbxd.stats.queries import Queries
from pbxd.stats.rolled import Wanted, carried

TABLES = (CALLS, QUEUES, QUALITY)
FIRST = " UNION ALL ".join(
    f"SELECT min(slot) AS slot FROM {layout.table} WHERE box = ? AND span = {QUARTERS}{layout.leading} AND slot > ? AND slot < ?"
    for layout in (CALLS, QUEUES)
)
NEXT = f"SELECT min(slot) FROM ({FIRST}) AS found"
DIRTY = f"SELECT min(slot) FROM rollup_dirty WHERE box = ? AND span = {QUARTERS} AND slot > ? AND slot < ?"
READ = {
    layout: f"SELECT {', '.join(layout.names[1:])} FROM {layout.table} WHERE box = ? AND span = {QUARTERS}{layout.leading}"
    f" AND slot = ? ORDER BY {', '.join((*layout.lead, *layout.keys))}"
    for layout in TABLES
}
USED = """
    SELECT count(*), coalesce(sum(CASE WHEN disposition = 'voicemail' THEN 1 ELSE 0 END), 0),
        coalesce(sum((SELECT count(*) FROM call_queues WHERE call_queues.call = calls.id)), 0)
    FROM calls WHERE box = ? AND start >= ? AND start < ?
"""


@dataclass(frozen=True, slots=True)
class Quarter:
    """The rollups of one slot: rows are (kind, key, *values of the layout)."""

    slot: int
    rows: Mapping[Layout, list[Row]]
    levels: list[tuple[int, str, int]]  # (kind, key, calls up at its beginning), where that is not 0


async def next_quarter(queries: Queries, after: int, before: int) -> Quarter | None:
    """The first slot between `after` and `before`, both exclusive, in which there is anything. StoreError if it cannot be read.

    None if there is none yet, or if one before it is to be rolled up first: they go in order.
    """
    with store_errors("reading what may be uploaded"):
        async with queries.connect() as (connection, box):
            values = (box, after, before)
            ((slot,),) = await fetch(connection, NEXT, values * 2)
            ((dirty,),) = await fetch(connection, DIRTY, values)
            if slot is None or (dirty is not None and dirty <= slot):
                return None
            return await _quarter(connection, box, int(slot))


async def quarter(queries: Queries, slot: int) -> Quarter:
    """The rollups of one slot as they are now. StoreError if they cannot be read."""
    with store_errors("reading what may be uploaded"):
        async with queries.connect() as (connection, box):
            return await _quarter(connection, box, slot)


async def _quarter(connection: AsyncConnection, box: int, slot: int) -> Quarter:
    rows = {layout: [tuple(row) for row in await fetch(connection, READ[layout], (box, slot))] for layout in TABLES}
    levels = [
        (ALL, "", level) for level in (await carried(connection, Wanted(CALLS, box, (("kind", ALL),)), slot)).values()
    ]
    trunks = await carried(connection, Wanted(CALLS, box, (("kind", TRUNK),)), slot, "key")
    levels += [(TRUNK, key, level) for key, level in sorted(trunks.items())]
    return Quarter(slot, rows, [level for level in levels if level[2]])


async def used(queries: Queries, start: int, end: int) -> dict[str, int]:
    """How many calls began between two times (microseconds UTC, `end` exclusive), and how much of the rest was in them.

    `calls`, `queue_visits`, and `voice_messages`: calls that were left to a mailbox. StoreError if it cannot be read.
    """
    with store_errors("counting what was used"):
        async with queries.connect() as (connection, box):
            ((calls, messages, visits),) = await fetch(connection, USED, (box, start, end))
    return {"calls": int(calls), "queue_visits": int(visits), "voice_messages": int(messages)}
