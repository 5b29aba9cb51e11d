"""A ticket's sessions as they are recorded, for who watches, and a recording as it was, for who replays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from pbxd.uplink.support.tickets import Tickets

LOOK = 0.1  # s between looks for more


async def watch(tickets: Tickets, name: str, is_open: Callable[[], bool]) -> AsyncIterator[dict[str, Any]]:
    """Lines of all recordings of a ticket, from their beginnings on: `session` and `line` (asciicast). Ends with the ticket."""
    read: dict[int, tuple[int, bytes]] = {}
    while True:
        more = is_open()
        for number, path in tickets.recordings(name).items():
            place, rest = read.get(number, (0, b""))
            data = await asyncio.to_thread(_from, path, place)
            *whole, rest = (rest + data).split(b"\n")
            read[number] = (place + len(data), rest)
            for line in whole:
                yield {"session": number, "line": json.loads(line)}
        if not more:
            return
        await asyncio.sleep(LOOK)


def _from(path: Path, place: int) -> bytes:
    with path.open("rb") as file:
        file.seek(place)
        return file.read()
