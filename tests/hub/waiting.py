"""Waits for a condition without holding the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PATIENCE = 120.0  # s after which a test gives up


async def until(condition: Callable[[], object], what: str) -> None:
    """Return when `condition` holds; an AssertionError that names `what` if it never does."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(0.01)
    except TimeoutError as error:
        raise AssertionError(f"waited in vain for {what}") from error
