"""Keeps the figures in order while pbxd runs: rollups near the calls, and what is too old deleted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import structlog

from pbxd.errors import StoreError
from pbxd.stats import retention
from pbxd.stats.retention import Keep, purge
from pbxd.stats.rollup import rebuild, roll_up
from pbxd.stats.writer import Writer

ROLL_UP = 5.0  # s between looks for quarters of an hour that have to be rolled up
ROLL_UP_DAYS = 3600.0  # s between making hours and days; a report that needs them makes them at once
PURGE = 86_400.0  # s between looks for what is too old
log = structlog.get_logger("pbxd.figures")


class Figures:
    """Acts through the one writer. `keep` is asked for each time: a reload changes it."""

    def __init__(self, writer: Writer, keep: Callable[[], Keep], importing: Callable[[], bool]) -> None:
        self._writer = writer
        self._keep = keep
        self._importing = importing

    async def run(self) -> None:
        """Keep the rollups near the calls: quarters of an hour soon, days now and then; once a day, delete what is old."""
        whole = purged = 0.0
        while True:
            await asyncio.sleep(ROLL_UP)
            if self._importing():
                continue  # it makes each quarter once, when no more of its calls can be in it; a report does not wait for that
            now = time.monotonic()
            days = now - whole >= ROLL_UP_DAYS
            try:
                await roll_up(self._writer, days=days)
                whole = now if days else whole
                if now - purged >= PURGE or not purged:
                    await self.purge()
                    purged = now
            except StoreError as error:
                log.error("rollups wait for the store", error=str(error))

    async def status(self) -> dict[str, Any]:
        """Where the rollups stand."""
        return await retention.status(self._writer)

    async def rebuild(self) -> dict[str, Any]:
        """Make all rollups again."""
        return {"quarters": await rebuild(self._writer)}

    async def purge(self, *, dry_run: bool = False) -> dict[str, Any]:
        """Delete what is older than it is to be kept, or say what would go."""
        return await purge(self._writer, self._keep(), int(time.time() * 1_000_000), dry_run=dry_run)
