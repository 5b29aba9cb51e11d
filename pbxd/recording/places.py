"""Where recordings are made: one spool or two, which of them is used first, and how much is in them. No Asterisk, no state.

Sound that is being recorded is plain until the call is over, so it belongs into memory. Memory is small: /run of a box of 4 GB has
400 MB, an hour of a call takes 115 MB. So a spool on a disk stands beside it, and is used first where memory has too little room.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pbxd.recording.room import Room

RATE = 32_000  # bytes a second of a call: two sides, 8,000 samples of 16 bits each
HOUR = 3600 * RATE


@dataclass(frozen=True, slots=True)
class Place:
    """One spool."""

    folder: Path
    in_asterisk: Path  # the same folder, as Asterisk sees it


@dataclass(frozen=True, slots=True)
class Choice:
    """The spools in the order in which they are used, and why in that order."""

    places: tuple[Place, ...]
    why: str


def hours(room: int) -> float:
    """How many hours of calls fit into `room` bytes."""
    return max(0, room) / HOUR


def chosen(places: Sequence[Place], reserve: int, calls: int) -> Choice:
    """Which spool is used first: the first one if so many calls of an hour fit into it, else the one into which most do.

    With 0 calls the first one, whatever its size: the customer named it. OSError if one cannot be looked at.
    """
    room = {place: hours(_room(place.folder) - reserve) for place in places}
    first = places[0]
    if len(places) == 1:
        why = f"{first.folder} is the only one"
    elif not calls:
        why = f"{first.folder} is used first: it is what recording.spool says"
    elif room[first] >= calls:
        why = f"{first.folder} is used first: it has room for {room[first]:.1f} hours of calls, {calls} are wanted"
    else:
        first, short = max(places, key=lambda place: room[place]), first
        why = (
            f"{first.folder} is used first: {short.folder} has room for {room[short]:.1f} hours of calls, "
            f"{calls} are wanted (recording.spool_calls)"
        )
    return Choice((first, *(place for place in places if place != first)), why)


def _room(folder: Path) -> int:
    """Bytes that are free there, and those that recordings of an earlier run take until they are stored."""
    used = sum(path.lstat().st_size for path in folder.rglob("*"))
    return shutil.disk_usage(folder).free + used


class Rooms:
    """The spools' room, looked at again and again. Recordings are made in the first one that is not short of it."""

    def __init__(self, choice: Choice, reserve: int) -> None:
        self.choice = choice
        self.places = {str(place.folder): place for place in choice.places}
        self._reserve = reserve
        self._rooms = {name: Room(place.folder, reserve) for name, place in self.places.items()}

    def look(self) -> bool:
        """Measure them; whether a ballast was given up by this. Blocks."""
        given_up = [room.look() for room in self._rooms.values()]
        return any(given_up)

    @property
    def full(self) -> frozenset[str]:
        """Spools in which nothing is recorded now, by folder."""
        return frozenset(name for name, room in self._rooms.items() if room.why)

    @property
    def place(self) -> str:
        """The folder of the spool in which recordings begin now; that of the first one if none has room."""
        return next((name for name, room in self._rooms.items() if not room.why), next(iter(self._rooms)))

    @property
    def why(self) -> str:
        """Why nothing at all is recorded; empty while one has room."""
        whys = [room.why for room in self._rooms.values()]
        return "; ".join(whys) if all(whys) else ""

    def status(self) -> list[dict[str, Any]]:
        """Each spool, in the order of use: how much is free, how many hours of calls fit, why it is not used (empty if it is)."""
        return [
            {"folder": name, "free": room.free, "hours": hours(room.free - self._reserve), "why": room.why}
            for name, room in self._rooms.items()
        ]
