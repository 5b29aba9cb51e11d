"""Quarters of an hour as people's hours and days: the site's time zone, its changes of summer time included.

Every zone of today is a multiple of a quarter of an hour off UTC, so a quarter never lies in two hours or days.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from pbxd.stats.layout import DAY, HOUR, SLOT

SECONDS = SLOT // 1_000_000  # of a slot
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
EPOCH = date(1970, 1, 1)


class Segment(NamedTuple):
    """Slots [first, end) in which the zone's offset is the same."""

    first: int
    end: int
    offset: int  # seconds east of UTC


def local_zone() -> str:
    """The machine's own zone: the name that /etc/localtime leads to, or UTC."""
    name = str(Path("/etc/localtime").resolve()).partition("zoneinfo/")[2]
    return name if name in available_timezones() else "UTC"


def offset_of(zone: ZoneInfo, slot: int) -> int:
    """The zone's offset from UTC in a slot, in seconds, down to a quarter of an hour."""
    offset = datetime.fromtimestamp(slot * SECONDS, UTC).astimezone(zone).utcoffset() or timedelta()
    return int(offset.total_seconds()) // SECONDS * SECONDS


def segments(zone: ZoneInfo, first: int, end: int) -> list[Segment]:
    """The slots [first, end), cut where the offset changes."""
    found: list[Segment] = []
    while first < end:
        offset = offset_of(zone, first)
        same = other = first
        while other < end and offset_of(zone, other) == offset:
            same, other = other, other + DAY
        if other >= end:  # a zone changes at most once a day
            if offset_of(zone, end - 1) == offset:
                found.append(Segment(first, end, offset))
                break
            other = end - 1
        while other - same > 1:
            middle = (same + other) // 2
            same, other = (middle, other) if offset_of(zone, middle) == offset else (same, middle)
        found.append(Segment(first, other, offset))
        first = other
    return found


class Period(NamedTuple):
    """A way to put quarters together."""

    sql: str  # group of a row, from its slot; {local} is seconds since the epoch by the site's clock
    of: Callable[[int], int]  # the same, from such seconds
    label: Callable[[int], str]


def _hour(number: int) -> str:
    return f"{number:02}:00"


def _day(number: int) -> str:
    return (EPOCH + timedelta(days=number)).isoformat()


def _cell(number: int) -> str:
    return f"{WEEKDAYS[number // 24]} {_hour(number % 24)}"


PERIODS = {
    "hour": Period("({local}) / 3600 % 24", lambda at: at // 3600 % 24, _hour),
    "weekday": Period("(({local}) / 86400 + 3) % 7", lambda at: (at // 86400 + 3) % 7, lambda number: WEEKDAYS[number]),
    "day": Period("({local}) / 86400", lambda at: at // 86400, _day),
    "cell": Period(
        "(({local}) / 86400 + 3) % 7 * 24 + ({local}) / 3600 % 24",
        lambda at: (at // 86400 + 3) % 7 * 24 + at // 3600 % 24,
        _cell,
    ),
}


def month_of(day: int) -> int:
    """Month of a day (days since the epoch), as year * 12 + month."""
    at = EPOCH + timedelta(days=day)
    return at.year * 12 + at.month - 1


def month_label(month: int) -> str:
    """`2026-11`"""
    return f"{month // 12}-{month % 12 + 1:02}"


def whole_hours(found: list[Segment]) -> bool:
    """Whether hours by the site's clock are hours of UTC, in all of these."""
    return all(part.offset % 3600 == 0 and part.first % HOUR == 0 and part.end % HOUR == 0 for part in found)


def occurrences(period: Period, found: list[Segment]) -> dict[int, int]:
    """How many quarters of an hour each group of a period has in these."""
    count: dict[int, int] = {}
    step = HOUR if whole_hours(found) else 1
    for part in found:
        for slot in range(part.first, part.end, step):
            group = period.of(slot * SECONDS + part.offset)
            count[group] = count.get(group, 0) + step
    return count
