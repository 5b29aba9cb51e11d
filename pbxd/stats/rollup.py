"""Makes the rollups that are marked as old again, from the rows: a few quarters of an hour in a transaction, then whole days.

A quarter is always made whole (deleted and inserted), so it is the same whether rows came at once or one by one, in order or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.stats import dirty
from pbxd.stats.engine import fetch, many, native
from pbxd.stats.layout import DAY, DAYS, HOUR, HOURS, LAYOUTS, QUARTERS, SLOT, WEEK, WEEKS, Layout, Row
from pbxd.stats.schema import BOX_KEYS
from pbxd.stats.soundness import SoundRow
from pbxd.stats.tally import EVENTS, CallRow, EventRow, LegRow, Source, TimeRow, VisitRow, tally
from pbxd.stats.writer import Writer, insert_sql

T = TypeVar("T")
AT_ONCE = 4  # quarters in one transaction: an hour of a busy box takes well under a second
MANY = 2000  # calls; with more of them each quarter is made by itself: what is read at once is held in memory
FAR = (1 << 31) - 1  # a slot behind all others

# Calls that have a say in the slots [?, ?) of a box: they began there, or something of them is counted there.
CONCERNED = """
    WITH concerned AS (
        SELECT id FROM calls WHERE box = ? AND start >= ? AND start < ?
        UNION SELECT call FROM call_slots WHERE box = ? AND slot >= ? AND slot < ?
    )
"""
READ_CALLS = (
    CONCERNED
    + """
    SELECT c.id, start, "end", direction, disposition, ring_time, queue_time, talk_time
    FROM concerned JOIN calls c ON c.id = concerned.id
"""
)
READ_LEGS = (
    CONCERNED
    + """
    SELECT call, role, number, endpoint, trunk, start, answer, "end", talked
    FROM concerned JOIN call_legs ON call = concerned.id
"""
)
READ_TRANSFERS = (
    CONCERNED + "SELECT call, count(*) FROM concerned JOIN call_transfers ON call = concerned.id GROUP BY call"
)
READ_VISITS = (
    CONCERNED
    + """
    SELECT call, queue, joined, answer, "left", outcome, caller, caller <> '' AND answer IS NOT NULL AND EXISTS (
        SELECT 1 FROM call_queues later WHERE later.queue = v.queue AND later.caller = v.caller AND later.joined > v.joined
        AND later.joined <= v.joined + ? AND later.call <> v.call AND later.call >= ? AND later.call < ?)
    FROM concerned JOIN call_queues v ON v.call = concerned.id
"""
)
READ_EVENTS = (
    "SELECT at, queue, agent, event FROM queue_log WHERE box = ? AND at >= ? AND at < ? AND event IN "
    f"({', '.join(repr(event) for event in EVENTS)})"
)
READ_TIMES = (
    'SELECT slot, agent, queue, kind, reason, start, "end" FROM agent_time WHERE box = ? AND slot >= ? AND slot < ?'
)
READ_SOUNDS = """
    SELECT c.start, trunk, number, endpoint, sent_loss, sent_jitter, sent_mos, received_loss, received_jitter, received_mos, rtt
    FROM calls c JOIN call_legs ON call = c.id WHERE box = ? AND c.start >= ? AND c.start < ?
    AND (sent_loss IS NOT NULL OR received_loss IS NOT NULL OR rtt IS NOT NULL)
"""
COUNT_CALLS = "SELECT count(*) FROM calls WHERE box = ? AND start >= ? AND start < ?"
READ_DIRTY = "SELECT slot FROM rollup_dirty WHERE box = ? AND span = ? AND slot < ? ORDER BY slot LIMIT ?"
FORGET = "DELETE FROM rollup_dirty WHERE box = ? AND span = ? AND slot = ?"


# One thread for all: each thread that has ever held much memory keeps some of it.
THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rollup")


async def _aside(work: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401 - those of `work`
    """Do `work` in a thread, so that the loop turns meanwhile."""
    return await asyncio.get_running_loop().run_in_executor(THREAD, work, *arguments)


async def roll_up(writer: Writer, before: int = FAR, *, days: bool = True) -> int:
    """Make what is marked, before the slot `before`, again; with `days`, the hours and days too. How many quarters that were.

    StoreError if the store fails; what was not made stays marked. Other writers get their turn between the steps.
    """
    done = 0
    while count := await _step(writer, before):
        done += count
        await asyncio.sleep(0)
    while days:
        days = await writer.run("rolling up a day", lambda connection, box: roll_up_day(connection, box, before))
        await asyncio.sleep(0)
    return done


async def rebuild(writer: Writer) -> int:
    """Make all rollups again for which there are rows. How many quarters that were."""

    async def mark(connection: AsyncConnection, box: int) -> None:
        await dirty.mark_all(connection, box, writer.calls_from)

    await writer.run("marking all rollups", mark)
    return await roll_up(writer)


async def _step(writer: Writer, before: int) -> int:
    async def work(connection: AsyncConnection, box: int) -> int:
        found = await fetch(connection, READ_DIRTY, (box, QUARTERS, before, AT_ONCE))
        slots = [int(row[0]) for row in found]
        run = [slot for n, slot in enumerate(slots) if slot == slots[0] + n]
        if len(run) > 1:
            ((calls,),) = await fetch(connection, COUNT_CALLS, (box, run[0] * SLOT, (run[-1] + 1) * SLOT))
            run = run[: 1 if calls > MANY else None]
        if run:
            await _quarters(connection, box, run, writer.resolution)
        return len(run)

    return await writer.run("rolling up", work)


async def _quarters(connection: AsyncConnection, box: int, slots: Sequence[int], resolution: int) -> None:
    """Make these quarters, which follow one another, again."""
    source = await read(connection, box, slots[0], slots[-1] + 1, resolution)
    made = await _aside(tally, source)
    for layout, rows in made.items():
        await replace_rows(connection, layout, (box, QUARTERS), slots, rows)
    await many(connection, FORGET, [(box, QUARTERS, slot) for slot in slots])
    await dirty.mark(connection, box, DAYS, {slot // DAY * DAY for slot in slots})


async def read(connection: AsyncConnection, box: int, first: int, end: int, resolution: int) -> Source:
    """The rows that have a say in the slots [first, end)."""
    times = (box, first * SLOT, end * SLOT)
    concerned = (*times, box, first, end)
    visits = (*concerned, resolution, box * BOX_KEYS, (box + 1) * BOX_KEYS)
    return Source(
        first,
        end,
        [CallRow(*row) for row in await fetch(connection, READ_CALLS, concerned)],
        [LegRow(*row) for row in await fetch(connection, READ_LEGS, concerned)],
        [(row[0], row[1]) for row in await fetch(connection, READ_TRANSFERS, concerned)],
        [VisitRow(*row) for row in await fetch(connection, READ_VISITS, visits)],
        [EventRow(*row) for row in await fetch(connection, READ_EVENTS, times)],
        [TimeRow(*row) for row in await fetch(connection, READ_TIMES, (box, first, end))],
        [SoundRow(*row) for row in await fetch(connection, READ_SOUNDS, times)],
    )


async def roll_up_day(
    connection: AsyncConnection, box: int, before: int = FAR, layouts: Sequence[Layout] = LAYOUTS
) -> bool:
    """Make the first marked day, its hours and its week, again, from the quarters; whether there was one."""
    found = await fetch(connection, READ_DIRTY, (box, DAYS, before, 1))
    if not found:
        return False
    day = int(found[0][0])
    for layout in layouts:
        whole: list[Row] = []
        for hour in range(day, day + DAY, HOUR):  # a day of thousands of extensions is too much at once
            quarters = await fetch(connection, READ_SPAN[layout], (box, QUARTERS, hour, hour + HOUR))
            rows, whole = await _aside(_merged, layout, (hour, day), [tuple(row) for row in quarters], whole)
            await replace_rows(connection, layout, (box, HOURS), [hour], rows)
        await replace_rows(connection, layout, (box, DAYS), [day], whole)
        if layout.weekly:
            week = day // WEEK * WEEK
            days = await fetch(connection, READ_SPAN[layout], (box, DAYS, week, week + WEEK))
            rows = await _aside(layout.merged, week, [tuple(row) for row in days])
            await replace_rows(connection, layout, (box, WEEKS), [week], rows)
    await many(connection, FORGET, [(box, DAYS, day)])
    return True


def _merged(
    layout: Layout, place: tuple[int, int], quarters: Sequence[Row], before: Sequence[Row]
) -> tuple[list[Row], list[Row]]:
    """The rows of an hour, and of its day so far: `before`, and this hour. `place` is (hour, day)."""
    hour, day = place
    rows = layout.merged(hour, quarters)
    return rows, layout.merged(day, [*before, *rows]) if rows else list(before)


READ_SPAN = {
    layout: f"SELECT {', '.join(layout.names)} FROM {layout.table}"
    f" WHERE box = ? AND span = ?{layout.leading} AND slot >= ? AND slot < ? ORDER BY slot"
    for layout in LAYOUTS
}
DELETE = {
    layout: f"DELETE FROM {layout.table} WHERE box = ? AND span = ?{layout.leading} AND slot = ?" for layout in LAYOUTS
}
INSERT = {layout: insert_sql(layout.table, ["box", "span", *layout.names]) for layout in LAYOUTS}


async def replace_rows(
    connection: AsyncConnection, layout: Layout, place: tuple[int, int], slots: Sequence[int], rows: Sequence[Row]
) -> None:
    """Put `rows` in the place of what there is for these slots; `place` is (box, span)."""
    for slot in slots:
        await connection.exec_driver_sql(native(connection, DELETE[layout]), (*place, slot))
    await many(connection, INSERT[layout], [(*place, *row) for row in rows])
