"""When a report is due, and what it covers. No I/O, no clock: a time comes in, and what was due then comes out.

Days, weeks (from Monday) and months are those of the site's zone: a day may have 23 or 25 hours, and has one delivery all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Period = Literal["day", "week", "month"]


@dataclass(frozen=True, slots=True)
class Due:
    """One delivery: when, and over which whole period. Microseconds UTC."""

    at: int
    start: int
    end: int  # exclusive


def micros(day: date, at: time, zone: ZoneInfo) -> int:
    """A local time as microseconds UTC. One that comes twice is its first; one that clocks skip is as far past the skip."""
    return (datetime.combine(day, at, zone).astimezone(UTC) - EPOCH) // timedelta(microseconds=1)


def due_on(day: date, period: Period, at: time, zone: ZoneInfo) -> Due:
    """The delivery of the period that begins with `day` (a Monday, a first of the month); it is due on the day after its end."""
    end = following(day, period)
    return Due(micros(end, at, zone), micros(day, time(), zone), micros(end, time(), zone))


def beginning(day: date, period: Period) -> date:
    """The first day of the period that `day` is in."""
    if period == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period == "month" else day


def following(first: date, period: Period) -> date:
    """The first day of the next period."""
    if period == "month":
        return (first + timedelta(days=31)).replace(day=1)
    return first + timedelta(days=7 if period == "week" else 1)


def latest(moment: int, period: Period, at: time, zone: ZoneInfo) -> Due:
    """The last delivery that was due at `moment` (microseconds UTC) or before."""
    today = (EPOCH + timedelta(microseconds=moment)).astimezone(zone).date()
    first = beginning(today, period)
    while (found := due_on(first, period, at, zone)).at > moment:
        first = beginning(first - timedelta(days=1), period)
    return found


def upcoming(moment: int, period: Period, at: time, zone: ZoneInfo) -> Due:
    """The next delivery that is due after `moment`."""
    today = (EPOCH + timedelta(microseconds=moment)).astimezone(zone).date()
    first = beginning(beginning(today, period) - timedelta(days=1), period)
    while (found := due_on(first, period, at, zone)).at <= moment:
        first = following(first, period)
    return found
