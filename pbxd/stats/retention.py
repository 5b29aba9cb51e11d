"""Deletes what is older than it is to be kept: calls, later their figures. In small steps: the writer is never held long.

Where calls are deleted, their rollups stay as they are for good: they are made before, and nothing that is older is taken any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.stats import dirty
from pbxd.stats.engine import fetch, many, native
from pbxd.stats.layout import ALL, CALLS, DAY, DAYS, HOURS, LAYOUTS, QUARTERS, SLOT, WEEK, Layout, slot_of
from pbxd.stats.rollup import FAR, roll_up
from pbxd.stats.writer import Writer, insert_sql

AT_ONCE = 200  # calls, or so many lines of queue_log, in one transaction
PAGES = 256  # pages of the file that are given back in one transaction


@dataclass(frozen=True, slots=True)
class Keep:
    """How long things are kept, in seconds; None is for ever. Figures are kept for at least as long as calls."""

    calls: float | None = None
    rollups: float | None = None


@dataclass(slots=True)
class Purged:
    """What was deleted, or would be."""

    calls: int = 0
    queue_log: int = 0
    rollups: int = 0  # rows
    calls_before: int | None = None  # microseconds; calls that ended before are deleted
    rollups_before: int | None = None


async def purge(writer: Writer, keep: Keep, now: int, *, dry_run: bool = False) -> dict[str, int | None]:
    """Delete what is too old at `now` (microseconds), or count it. StoreError if the store fails; what is done stays done."""
    found = Purged()
    calls = None if keep.calls is None else slot_of(now - int(keep.calls * 1_000_000))
    if calls is not None and calls > 0:
        found.calls_before = calls * SLOT
        await _count_calls(writer, calls, found)
        if not dry_run:
            await _purge_calls(writer, calls)
    if keep.rollups is not None:
        oldest = slot_of(now - int(keep.rollups * 1_000_000))
        if calls is None:
            oldest = 0  # the calls are there, and would make them again
        rollups = min(oldest, calls or 0) // DAY * DAY
        if rollups > 0:
            found.rollups_before = rollups * SLOT
            await _count_rollups(writer, rollups, found)
            if not dry_run:
                await _purge_rollups(writer, rollups)
    if not dry_run and (found.calls or found.queue_log or found.rollups):
        await _give_back(writer)
    return asdict(found)


async def _count_calls(writer: Writer, slot: int, found: Purged) -> None:
    async def work(connection: AsyncConnection, box: int) -> None:
        calls = 'SELECT count(*) FROM calls WHERE box = ? AND start < ? AND "end" < ?'
        found.calls = (await fetch(connection, calls, (box, slot * SLOT, slot * SLOT)))[0][0]
        lines = "SELECT count(*) FROM queue_log WHERE box = ? AND at < ?"
        found.queue_log = (await fetch(connection, lines, (box, slot * SLOT)))[0][0]

    await writer.run("counting old calls", work)


async def _purge_calls(writer: Writer, slot: int) -> None:
    """Delete the calls that ended before `slot`. A call that goes beyond it stays until it is old as a whole."""
    await roll_up(writer, slot)

    async def begin(connection: AsyncConnection, box: int) -> None:
        first = max(slot, writer.calls_from)
        await many(connection, "UPDATE rollup_state SET calls_from = ? WHERE box = ?", [(first, box)])
        await many(
            connection, "DELETE FROM rollup_dirty WHERE box = ? AND span = ? AND slot < ?", [(box, QUARTERS, slot)]
        )

    await writer.run("noting which calls are deleted", begin)
    writer.calls_from = max(slot, writer.calls_from)

    async def some(connection: AsyncConnection, box: int) -> int:
        sql = 'SELECT id FROM calls WHERE box = ? AND start < ? AND "end" < ? ORDER BY start LIMIT ?'
        keys = [row[0] for row in await fetch(connection, sql, (box, slot * SLOT, slot * SLOT, AT_ONCE))]
        if keys:
            await writer.remove(connection, keys, set())
        return len(keys)

    await _repeat(writer, "deleting old calls", some)
    for table, column, end in (
        ("queue_log", "at", slot * SLOT),
        ("agent_time", "slot", slot),
        ("call_slots", "slot", slot),
    ):
        await _purge_table(writer, table, column, end)


async def _repeat(writer: Writer, what: str, some: Callable[[AsyncConnection, int], Awaitable[int]]) -> None:
    """Do `some` until there is no more; others get their turn in between."""
    more = 1
    while more:
        more = await writer.run(what, some)
        await asyncio.sleep(0)


async def _purge_table(writer: Writer, table: str, column: str, end: int) -> None:
    """Delete the rows of a table whose `column` is below `end`, the oldest first."""

    async def some(connection: AsyncConnection, box: int) -> bool:
        sql = f"SELECT {column} FROM {table} WHERE box = ? AND {column} < ? ORDER BY {column} LIMIT 1 OFFSET ?"
        found = await fetch(connection, sql, (box, end, AT_ONCE))
        until = found[0][0] + 1 if found else end
        await many(connection, f"DELETE FROM {table} WHERE box = ? AND {column} < ?", [(box, until)])
        return bool(found)

    await _repeat(writer, f"deleting old rows of {table}", some)


async def _count_rollups(writer: Writer, slot: int, found: Purged) -> None:
    async def work(connection: AsyncConnection, box: int) -> None:
        for layout in LAYOUTS:
            sql = f"SELECT count(*) FROM {layout.table} WHERE {_old(layout)}"
            for span in layout.spans:
                found.rollups += (await fetch(connection, sql, (box, span, 0, slot)))[0][0]

    await writer.run("counting old figures", work)


def _old(layout: Layout) -> str:
    return f"box = ? AND span = ?{layout.leading} AND slot >= ? AND slot < ?"


async def _purge_rollups(writer: Writer, slot: int) -> None:
    """Delete the figures of the days before `slot`; only how many calls were up at its beginning is kept, in the day before."""
    await roll_up(writer, slot)

    async def begin(connection: AsyncConnection, box: int) -> int | None:
        update = "UPDATE rollup_state SET rollups_from = ? WHERE box = ? AND rollups_from < ?"
        await many(connection, update, [(slot, box, slot)])
        carry = f"SELECT kind, key, sum(change) FROM rollup_calls WHERE {_old(CALLS)} GROUP BY kind, key HAVING sum(change) <> 0"
        levels = [tuple(row) for row in await fetch(connection, carry, (box, DAYS, 0, slot))]
        await many(connection, f"DELETE FROM rollup_calls WHERE {_old(CALLS)}", [(box, DAYS, 0, slot)])
        zeros = [0] * len(CALLS.sums)
        rows = [(box, DAYS, slot - DAY, kind, key, *zeros, int(level), 0, b"") for kind, key, level in levels]
        await many(connection, insert_sql("rollup_calls", ["box", "span", *CALLS.names]), rows)
        oldest = [
            row[0]
            for layout in LAYOUTS
            for row in await fetch(
                connection, f"SELECT min(slot) FROM {layout.table} WHERE {_old(layout)}", (box, QUARTERS, 0, slot)
            )
            if row[0] is not None
        ]
        return min(oldest, default=None)

    first = await writer.run("noting which figures are deleted", begin)
    day = slot if first is None else first // DAY * DAY
    while day < slot:

        async def some(connection: AsyncConnection, box: int, day: int = day) -> None:
            for layout in LAYOUTS:
                spans = (QUARTERS, HOURS) if layout is CALLS else layout.spans
                delete = native(connection, f"DELETE FROM {layout.table} WHERE {_old(layout)}")
                for span in spans:
                    await connection.exec_driver_sql(delete, (box, span, day, day + DAY))

        await writer.run("deleting old figures", some)
        await asyncio.sleep(0)
        day += DAY
    if (
        slot % WEEK
    ):  # the week in which the oldest day that is kept lies went with its first day: it is made again of what is left
        await writer.run("noting a week", lambda connection, box: dirty.mark(connection, box, DAYS, [slot]))
        await roll_up(writer, slot + 1)


async def _give_back(writer: Writer) -> None:
    """Give what was freed back to the disk: SQLite page by page; PostgreSQL marks it for what comes next (VACUUM)."""
    if await writer.vacuum():
        return

    async def some(connection: AsyncConnection, _box: int) -> int:
        before = (await fetch(connection, "PRAGMA freelist_count"))[0][0]
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.executescript(f"PRAGMA incremental_vacuum({PAGES})")  # a plain execute would free a single page
        after = (await fetch(connection, "PRAGMA freelist_count"))[0][0]
        return int(before - after)

    await _repeat(writer, "giving disk space back", some)


async def status(writer: Writer) -> dict[str, int | None]:
    """Where the rollups stand: what waits to be made again, and since when calls and figures are kept (microseconds)."""

    async def work(connection: AsyncConnection, box: int) -> dict[str, int | None]:
        state = await fetch(connection, "SELECT calls_from, rollups_from FROM rollup_state WHERE box = ?", (box,))
        waiting = "SELECT count(*) FROM rollup_dirty WHERE box = ? AND span = ?"
        rows = f"SELECT count(*) FROM rollup_calls WHERE {_old(CALLS)} AND kind = {ALL}"
        oldest = await fetch(connection, "SELECT min(start) FROM calls WHERE box = ?", (box,))
        return {
            "waiting_quarters": (await fetch(connection, waiting, (box, QUARTERS)))[0][0],
            "waiting_days": (await fetch(connection, waiting, (box, DAYS)))[0][0],
            "quarters": (await fetch(connection, rows, (box, QUARTERS, 0, FAR)))[0][0],
            "days": (await fetch(connection, rows, (box, DAYS, 0, FAR)))[0][0],
            "oldest_call": oldest[0][0],
            "calls_from": state[0][0] * SLOT or None,
            "rollups_from": state[0][1] * SLOT or None,
        }

    return await writer.run("reading the state of the rollups", work)
