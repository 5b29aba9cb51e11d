"""Retention: calls go, their figures stay; later the figures go too; what is too old is not taken again; the file shrinks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.calls.agents import AgentTracker
from pbxd.stats.layout import DAY, SLOT
from pbxd.stats.queries import CallFilter, Queries
from pbxd.stats.question import Question, ReportSettings
from pbxd.stats.reports import Reports
from pbxd.stats.retention import Keep, purge, status
from pbxd.stats.rollup import rebuild, roll_up
from pbxd.stats.writer import Batch, Writer
from tests.stats import synthetic
from tests.stats.test_rollup import rollups

SECOND = 1_000_000
FIRST = 20_000 * DAY * SLOT  # midnight, UTC
NOW = FIRST + 10 * DAY * SLOT
FIVE_DAYS = Keep(calls=5 * 86_400.0)


async def filled(writer: Writer) -> None:
    length = 10 * DAY * SLOT
    lines = synthetic.queue_log(3, 500, FIRST, length)
    tracker = AgentTracker()
    await writer.commit(Batch(records=synthetic.calls(3, 300, FIRST, length)))
    await writer.commit(Batch(queue_log=lines, agent_time=[time for line in lines for time in tracker.feed(line)]))


async def stored(queries: Queries) -> int:
    return len([call async for call in queries.calls(CallFilter(limit=10**6))])


async def test_calls_go_and_their_figures_stay(writer: Writer, queries: Queries, url: str) -> None:
    await filled(writer)
    await roll_up(writer)
    before = await rollups(url)
    would = await purge(writer, FIVE_DAYS, NOW, dry_run=True)
    assert await stored(queries) == 300
    done = await purge(writer, FIVE_DAYS, NOW)
    assert done == would
    assert done["calls"]
    assert await stored(queries) == 300 - done["calls"]
    assert await rollups(url) == before
    await rebuild(writer)
    assert await rollups(url) == before
    assert (await purge(writer, FIVE_DAYS, NOW))["calls"] == 0
    assert (await status(writer))["calls_from"] == NOW - 5 * DAY * SLOT


async def test_what_is_too_old_is_not_taken(writer: Writer, queries: Queries, url: str) -> None:
    await filled(writer)
    await roll_up(writer)
    await purge(writer, FIVE_DAYS, NOW)
    left, before = await stored(queries), await rollups(url)
    late = synthetic.calls(4, 50, FIRST, 4 * DAY * SLOT)
    assert await writer.commit(Batch(records=late)) == 50
    await roll_up(writer)
    assert (await stored(queries), await rollups(url)) == (left, before)
    await writer.close()
    again = await Writer.open(url)
    assert await again.commit(Batch(records=late)) == 50
    await again.close()


async def test_figures_go_by_whole_days(writer: Writer, queries: Queries) -> None:
    await filled(writer)
    reports = Reports(queries, writer, ReportSettings())
    rest = Question("calls", NOW - 3 * DAY * SLOT, NOW, "day")
    trunks = Question("trunks", NOW - 3 * DAY * SLOT, NOW)
    before = [await reports.make(rest), await reports.make(trunks)]
    done = await purge(writer, Keep(5 * 86_400.0, 6.5 * 86_400.0), NOW)
    assert done["rollups"]
    assert done["rollups_before"] == NOW - 7 * DAY * SLOT
    assert [await reports.make(rest), await reports.make(trunks)] == before
    whole = await reports.make(Question("calls", FIRST, NOW, "day"))
    assert [row[1] > 0 for row in whole.rows] == [False] * 3 + [True] * 7
    assert "deleted" in whole.notes[0]


async def test_the_file_shrinks(tmp_path: Path) -> None:
    path = tmp_path / "stats.db"

    async def size() -> int:
        await writer.run("moving the log into the file", checkpoint)
        return path.stat().st_size

    async def checkpoint(connection: AsyncConnection, _box: int) -> None:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.executescript("PRAGMA wal_checkpoint(TRUNCATE)")

    writer = await Writer.open(f"sqlite+aiosqlite:///{path}")
    await writer.commit(Batch(records=synthetic.calls(5, 4000, FIRST, 2 * DAY * SLOT)))
    await roll_up(writer)
    before = await size()
    await purge(writer, Keep(1.0), NOW)
    assert await size() < before - 4000 * 300
    await writer.close()


@pytest.mark.parametrize("keep", [Keep(), Keep(rollups=1.0)])
async def test_without_an_age_nothing_goes(writer: Writer, queries: Queries, keep: Keep) -> None:
    await filled(writer)
    await purge(writer, keep, NOW)
    assert await stored(queries) == 300
