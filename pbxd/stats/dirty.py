"""Which rollups are older than what they are made from. The transaction that changes rows marks them; `rollup` makes them again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.calls.record import CallRecord
from pbxd.stats.engine import fetch, many, native
from pbxd.stats.layout import QUARTERS, SLOT
from pbxd.stats.schema import BOX_KEYS

MARK = "INSERT INTO rollup_dirty (box, span, slot) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
# Visits of the same caller to the same queue before those of the calls [?, ?): whether they were the last word may have changed.
MARK_FOLLOWED = f"""
    INSERT INTO rollup_dirty (box, span, slot)
    SELECT DISTINCT CAST(? AS INTEGER), {QUARTERS}, CAST(earlier.joined / {SLOT} AS INTEGER)
    FROM call_queues later JOIN call_queues earlier ON earlier.queue = later.queue AND earlier.caller = later.caller
    WHERE later.call >= ? AND later.call < ? AND later.caller <> '' AND earlier.call <> later.call
    AND earlier.call >= ? AND earlier.call < ?
    AND earlier.joined < later.joined AND earlier.joined >= later.joined - ? AND earlier.joined >= ?
    ON CONFLICT DO NOTHING
"""
MARK_ALL = f"""
    INSERT INTO rollup_dirty (box, span, slot)
    SELECT CAST(? AS INTEGER), {QUARTERS}, slot FROM (
        SELECT DISTINCT CAST(start / {SLOT} AS INTEGER) AS slot FROM calls WHERE box = ?
        UNION SELECT DISTINCT slot FROM call_slots WHERE box = ?
        UNION SELECT DISTINCT CAST(at / {SLOT} AS INTEGER) FROM queue_log WHERE box = ?
        UNION SELECT DISTINCT slot FROM agent_time WHERE box = ?
        UNION SELECT DISTINCT slot FROM rollup_calls WHERE box = ? AND span = {QUARTERS}
    ) AS found WHERE slot >= ?
    ON CONFLICT DO NOTHING
"""


def other_slots(record: CallRecord) -> set[int]:
    """The slots, other than that of its start, in which something of the call is counted: its end, its trunks, its queues."""
    found = {record.end // SLOT}
    for leg in record.legs:
        if leg.trunk:
            found.add(leg.start // SLOT)
            found.add(leg.end // SLOT)
    for visit in record.queues:
        found.add(visit.joined // SLOT)
    found.discard(record.start // SLOT)
    return found


async def slots_of_calls(connection: AsyncConnection, keys: Sequence[int]) -> set[int]:
    """Every slot in which something of these stored calls is counted."""
    marks = ", ".join("?" * len(keys))
    found: set[int] = set()
    for sql in (
        f'SELECT start, "end" FROM calls WHERE id IN ({marks})',
        f'SELECT start, "end" FROM call_legs WHERE trunk AND call IN ({marks})',
        f"SELECT joined, joined FROM call_queues WHERE call IN ({marks})",
    ):
        for row in await fetch(connection, sql, tuple(keys)):
            found |= {row[0] // SLOT, row[1] // SLOT}
    return found


async def mark(connection: AsyncConnection, box: int, span: int, slots: Iterable[int]) -> None:
    """These slots have to be made again."""
    await many(connection, MARK, [(box, span, slot) for slot in sorted(slots)])


async def mark_followed(
    connection: AsyncConnection, box: int, calls: tuple[int, int], resolution: int, first: int
) -> None:
    """The slots, from `first` on, of earlier visits by the callers of these calls: keys from calls[0] to before calls[1]."""
    own = (box * BOX_KEYS, (box + 1) * BOX_KEYS)
    values = (box, *calls, *own, resolution, first * SLOT)
    await connection.exec_driver_sql(native(connection, MARK_FOLLOWED), values)


async def mark_all(connection: AsyncConnection, box: int, first: int) -> None:
    """Every slot from `first` on that has, or had, anything in it."""
    await connection.exec_driver_sql(native(connection, MARK_ALL), (box,) * 6 + (first,))
