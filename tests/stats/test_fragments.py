"""Reading any part of a journal once more changes nothing in the store."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.calls.interpreter import Interpreter
from pbxd.calls.record import CallRecord
from pbxd.calls.site import Site
from pbxd.stats.engine import fetch
from pbxd.stats.queries import CallFilter, Queries
from pbxd.stats.writer import Batch, Writer

JOURNALS = Path(__file__).parent.parent / "calls" / "journals"
SITE = Site(["PJSIP/trunk-*"], ["1XX"])
NAMES = sorted(path.stem for path in JOURNALS.glob("*.csv"))
PARTS = 20  # of each call


def made_of(lines: list[bytes]) -> list[CallRecord]:
    interpreter = Interpreter(SITE)
    return [record for line in lines for record in interpreter.feed(line)] + interpreter.provisional()


async def stored(url: str) -> list[CallRecord]:
    queries = Queries(url)
    try:
        return [record async for record in queries.calls(CallFilter(limit=1000))]
    finally:
        await queries.close()


def lines_of(name: str) -> list[bytes]:
    return (JOURNALS / f"{name}.csv").read_bytes().splitlines()


async def test_any_part_twice_changes_nothing(tmp_path: Path) -> None:
    """All calls are in one store; any part of any of them is read once more."""
    url = f"sqlite+aiosqlite:///{tmp_path}/stats.db"
    writer = await Writer.open(url)
    for name in NAMES:
        await writer.commit(Batch(records=made_of(lines_of(name))))
    before = await stored(url)
    assert len(before) == len(NAMES)
    ends = {call.id: call.end for call in before}
    chance = random.Random(7)
    for name in NAMES:
        lines = lines_of(name)
        for _ in range(PARTS):
            first = chance.randrange(len(lines))
            part = lines[first : first + chance.randint(1, len(lines))]
            await writer.commit(Batch(records=made_of(part)))
            assert await writer.run("counting", _ends) == ends, (name, first)
        assert await stored(url) == before, name
    assert writer.calls == len(before)
    await writer.close()


async def _ends(connection: AsyncConnection, _box: int) -> dict[str, int]:
    return dict(await fetch(connection, 'SELECT call_id, "end" FROM calls', ()))


@pytest.mark.parametrize("cut", [5, 9, 14])
async def test_what_goes_on_replaces_what_was_cut(tmp_path: Path, cut: int) -> None:
    lines = (JOURNALS / "blind-of-blind.csv").read_bytes().splitlines()
    url = f"sqlite+aiosqlite:///{tmp_path}/stats.db"
    writer = await Writer.open(url)
    await writer.commit(Batch(records=made_of(lines[:cut])))
    await writer.commit(Batch(records=made_of(lines)))
    assert await stored(url) == made_of(lines)
    await writer.close()
