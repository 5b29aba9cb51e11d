"""Reading any part of a journal once more changes nothing in the store."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbxd.calls.interpreter import Interpreter
from pbxd.calls.record import CallRecord
from pbxd.calls.site import Site
from pbxd.stats.queries import CallFilter, Queries
from pbxd.stats.writer import Batch, Writer

JOURNALS = Path(__file__).parent.parent / "calls" / "journals"
SITE = Site(["PJSIP/trunk-*"], ["1XX"])
NAMES = ("answered", "attended", "attended-then-blind", "blind-of-blind", "park-after-transfer", "queue-there-and-back",
         "local-optimised", "conference", "attended-to-queue", "two-callers-joined", "attended-by-code",
         "attended-link")  # fmt: skip


def made_of(lines: list[bytes]) -> list[CallRecord]:
    interpreter = Interpreter(SITE)
    return [record for line in lines for record in interpreter.feed(line)] + interpreter.provisional()


async def stored(url: str) -> list[CallRecord]:
    queries = Queries(url)
    try:
        return [record async for record in queries.calls(CallFilter(limit=1000))]
    finally:
        await queries.close()


async def read_twice(name: str, first: int, length: int) -> None:
    lines = (JOURNALS / f"{name}.csv").read_bytes().splitlines()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{folder}/stats.db"
        writer = await Writer.open(url)
        try:
            await writer.commit(Batch(records=made_of(lines)))
            before = await stored(url)
            assert len(before) == 1
            await writer.commit(Batch(records=made_of(lines[first : first + length])))
            assert await stored(url) == before
        finally:
            await writer.close()


@given(name=st.sampled_from(NAMES), first=st.integers(0, 60), length=st.integers(1, 80))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_part_twice_changes_nothing(name: str, first: int, length: int) -> None:
    asyncio.run(read_twice(name, first, length))


@pytest.mark.parametrize("cut", [5, 9, 14])
async def test_what_goes_on_replaces_what_was_cut(tmp_path: Path, cut: int) -> None:
    lines = (JOURNALS / "blind-of-blind.csv").read_bytes().splitlines()
    url = f"sqlite+aiosqlite:///{tmp_path}/stats.db"
    writer = await Writer.open(url)
    await writer.commit(Batch(records=made_of(lines[:cut])))
    await writer.commit(Batch(records=made_of(lines)))
    assert await stored(url) == made_of(lines)
    await writer.close()
