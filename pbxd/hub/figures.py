"""What entries say, put where it is asked for: statistics become rollups as the box has them, a configuration tells of tickets."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.errors import GateRefused
from pbxd.hub import tickets
from pbxd.hub.database import rows, run
from pbxd.hub.schema import UPLOADED
from pbxd.stats import dirty
from pbxd.stats.layout import ALL, CALLS, DAY, DAYS, QUARTERS, TRUNK, Layout
from pbxd.stats.rolled import Wanted, carried
from pbxd.stats.rollup import replace_rows, roll_up_day
from pbxd.uplink.bodies import check_body

LATEST_SLOT = 2**31 - DAY  # what a column holds, and a day behind it


def read_entry(class_: str, body: bytes) -> Mapping[str, Any]:
    """What a body says. GateRefused if it is not of the form of its class, or says something twice."""
    said = check_body(class_, body)
    if class_ == "stats":
        if said["slot"] > LATEST_SLOT:
            raise GateRefused(f"stats: there is no quarter of an hour {said['slot']}")
        for table, found in said["tables"].items():
            if len({(kind, key) for kind, key, *_ in found}) < len(found):
                raise GateRefused(f"stats: a row of {table} stands there twice")
    elif class_ == "config":
        try:
            ZoneInfo(said["zone"])
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise GateRefused(f"config: there is no time zone {said['zone']}") from error
    return said


async def apply(connection: AsyncConnection, box: int, class_: str, said: Mapping[str, Any]) -> None:
    """Take in an entry's body, in the transaction that stores it."""
    if class_ == "stats":
        await _statistics(connection, box, said)
    elif class_ == "config":
        await tickets.told(connection, box, said["tickets"])


async def _statistics(connection: AsyncConnection, box: int, said: Mapping[str, Any]) -> None:
    slot = int(said["slot"])
    ((newest,),) = await rows(connection, "SELECT slot FROM boxes WHERE number = ?", box)
    if newest is None or slot > newest:
        if newest is None or slot > newest + 1:
            await _level(connection, box, slot, said["levels"])
        await run(connection, "UPDATE boxes SET slot = ? WHERE number = ?", slot, box)
    for layout in UPLOADED:
        made = [(slot, *_row(layout, one)) for one in said["tables"].get(layout.table, [])]
        await replace_rows(connection, layout, (box, QUARTERS), [slot], made)
    await dirty.mark(connection, box, DAYS, {slot // DAY * DAY})


def _row(layout: Layout, stored: list[Any]) -> tuple[Any, ...]:
    """A row without its slot; histograms were text."""
    count = len(stored) - len(layout.histograms)
    return (*stored[:count], *[base64.b64decode(one) if one else b"" for one in stored[count:]])


async def _level(connection: AsyncConnection, box: int, slot: int, levels: list[list[Any]]) -> None:
    """Quarters are missing before this one: nothing happened in them, or the box did not tell. It tells how many calls were up.

    The difference to what is known goes into the quarter before, of which nothing is known.
    """
    while await roll_up_day(connection, box, slot // DAY * DAY, UPLOADED):
        pass  # what is carried is read from whole days
    wanted = {(kind, key): level for kind, key, level in levels}
    for kind in (ALL, TRUNK):
        known = await carried(connection, Wanted(CALLS, box, (("kind", kind),)), slot, "key")
        for key, level in known.items():
            wanted[kind, key] = wanted.get((kind, key), 0) - level
    zeros = (0,) * len(CALLS.sums)
    made = [(slot - 1, kind, key, *zeros, level, 0, b"") for (kind, key), level in wanted.items() if level]
    if made:
        await replace_rows(connection, CALLS, (box, QUARTERS), [slot - 1], made)
        await dirty.mark(connection, box, DAYS, {(slot - 1) // DAY * DAY})
