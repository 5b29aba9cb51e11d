"""Waiting for something to do: whether there was something, and that a stop is not lost."""

from __future__ import annotations

import asyncio

import pytest

from pbxd.waking import woken


async def test_whether_it_was_woken() -> None:
    event = asyncio.Event()
    assert not await woken(event, 0)
    event.set()
    assert await woken(event, 60)


@pytest.mark.parametrize("turns", range(5))
async def test_a_stop_that_comes_together_with_something_to_do_stops(turns: int) -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(woken(event, 60))
    await asyncio.sleep(0)
    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    over = waiting.done()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled() is not over
