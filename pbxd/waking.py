"""Waiting for something to do, or for the time of the next look."""

from __future__ import annotations

import asyncio


async def woken(event: asyncio.Event, seconds: float) -> bool:
    """Wait until `event` is set, for so many seconds at most; whether it was.

    Not by `asyncio.wait_for`: that of Python 3.11 loses a cancellation that comes just as what it waits for ends, and the part that
    was told to stop runs on for ever.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
