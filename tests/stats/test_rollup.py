"""Rollups: whatever way the rows came, they are what a rebuild makes of them."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbxd.calls.agents import AgentTracker
from pbxd.calls.record import CallRecord
from pbxd.stats.engine import fetch, open_engine
from pbxd.stats.layout import DAY, DAYS, HOUR, HOURS, LAYOUTS, QUARTERS, WEEK, WEEKS, Row
from pbxd.stats.rolled import rounded
from pbxd.stats.rollup import rebuild, roll_up
from pbxd.stats.writer import Batch, QueueLogLine, Writer
from tests.stats import synthetic

FIRST = 1_795_000_000_000_000  # microseconds; any moment
SPAN = 30 * 3600 * synthetic.SECOND


async def rollups(url: str) -> dict[str, list[Row]]:
    """Everything that is in the rollup tables."""
    engine = open_engine(url)
    found = {}
    async with engine.connect() as connection:
        for layout in LAYOUTS:
            names = ", ".join(("box", "span", *layout.names))
            rows = await fetch(connection, f"SELECT {names} FROM {layout.table} ORDER BY {names}")
            found[layout.table] = [tuple(row) for row in rows]
        dirty = await fetch(connection, "SELECT * FROM rollup_dirty")
    await engine.dispose()
    assert not dirty
    return found


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, migrated once."""
    path = tmp_path_factory.mktemp("empty") / "stats.db"

    async def make() -> None:
        await (await Writer.open(f"sqlite+aiosqlite:///{path}")).close()

    asyncio.run(make())
    return path


async def made_of(empty: Path, folder: str, name: str, batches: list[Batch | None]) -> str:
    """A store of these batches; where one is None, what there is is rolled up."""
    path = Path(folder) / f"{name}.db"
    shutil.copy(empty, path)
    url = f"sqlite+aiosqlite:///{path}"
    writer = await Writer.open(url)
    for batch in [*batches, None]:
        if batch is None:
            await roll_up(writer)
        else:
            await writer.commit(batch)
    await writer.close()
    return url


def agents_of(lines: list[QueueLogLine]) -> Batch:
    tracker = AgentTracker(30 * synthetic.SECOND)
    return Batch(queue_log=lines, agent_time=[time for line in lines for time in tracker.feed(line)])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 40), pieces=st.integers(1, 12))
def test_any_order_is_a_rebuild(empty: Path, seed: int, count: int, pieces: int) -> None:
    """Calls come in any order, some twice, some changed or merged into others, with roll-ups in between."""
    chance = random.Random(seed)
    found = synthetic.calls(seed, count, FIRST, SPAN)
    final = {record.id: record for record in found}
    batches: list[Batch | None] = []
    for _ in range(pieces):
        some = chance.sample(found, chance.randrange(len(found) + 1))
        earlier = [replace(record, end=record.end + chance.randrange(10**10), queues=()) for record in some]
        batches.append(Batch(records=earlier if chance.random() < 0.5 else some))
        if chance.random() < 0.5:
            batches.append(None)
    rest: list[CallRecord] = list(found)
    if len(rest) > 2:
        gone = rest.pop()
        rest[0] = final[rest[0].id] = replace(rest[0], replaces=(gone.id,))
        del final[gone.id]
        batches.append(Batch(records=[gone]))
    chance.shuffle(rest)
    batches += [Batch(records=[record]) for record in rest]
    lines = agents_of(synthetic.queue_log(seed, count * 3, FIRST, SPAN))

    async def check() -> None:
        with tempfile.TemporaryDirectory() as folder:
            by_pieces = await made_of(empty, folder, "pieces", [lines, *batches, lines])
            at_once = await made_of(empty, folder, "once", [Batch(records=list(final.values())), lines])
            made = await rollups(by_pieces)
            assert made == await rollups(at_once)
            writer = await Writer.open(by_pieces)
            await rebuild(writer)
            await writer.close()
            assert made == await rollups(by_pieces)

    asyncio.run(check())


async def test_both_databases_make_the_same(url: str, writer: Writer, tmp_path: Path, empty: Path) -> None:
    found = synthetic.calls(1, 300, FIRST, SPAN)
    lines = agents_of(synthetic.queue_log(1, 400, FIRST, SPAN))
    await writer.commit(Batch(records=found))
    await writer.commit(lines)
    await roll_up(writer)
    other = await made_of(empty, str(tmp_path), "other", [lines, Batch(records=found)])
    assert await rollups(url) == await rollups(other)


async def test_another_resolution_makes_all_again(writer: Writer, url: str) -> None:
    await writer.commit(Batch(records=synthetic.calls(2, 200, FIRST, SPAN)))
    await roll_up(writer)
    before = await rollups(url)
    await writer.close()
    again = await Writer.open(url, resolution=60 * synthetic.SECOND)
    assert await roll_up(again) > 100
    await again.close()
    after = await rollups(url)
    assert before["rollup_calls"] == after["rollup_calls"]
    assert before["rollup_queues"] != after["rollup_queues"]


@given(first=st.integers(0, 400), length=st.integers(1, 3000))
def test_rounded_pieces_are_the_same_slots(first: int, length: int) -> None:
    """Each slot that is wanted counts once, every other not at all."""
    counts = [0] * 4000
    for sign, (_, begin, until) in rounded(first, first + length, weeks=True):
        for slot in range(begin, until):
            counts[slot] += sign
    assert counts == [int(first <= slot < first + length) for slot in range(4000)]


@given(first=st.integers(0, 400), length=st.integers(1, 3000))
def test_pieces_are_whole_spans(first: int, length: int) -> None:
    for span, begin, until in [piece for _, piece in rounded(first, first + length, weeks=True)]:
        size = {QUARTERS: 1, HOURS: HOUR, DAYS: DAY, WEEKS: WEEK}[span]
        assert begin % size == until % size == 0
        assert begin < until
