"""Keeps an optional part running: one that fails is started again, and takes nothing else with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from pbxd.backoff import backoff

FIRST, LONGEST = 1.0, 60.0  # s between a failure and the next start

log = structlog.get_logger("pbxd.supervise")


async def supervise(name: str, run: Callable[[], Awaitable[None]], first: float = FIRST) -> None:
    """Run `run` until it returns or is cancelled; each failure is logged whole, for it is a mistake of ours.

    `first` is the wait after the first failure, in seconds.
    """
    for delay in backoff(first, LONGEST):
        try:
            await run()
        except Exception:
            log.exception("a part failed and is started again", part=name)
            await asyncio.sleep(delay)
        else:
            return
