"""Opening hours: whether a line is open at a moment of the site's own clock. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from pbxd.config.agi import DAYS, Hours


@dataclass(frozen=True, slots=True)
class Opening:
    """`state` is open, closed or holiday; `name` is the holiday's."""

    state: str
    name: str = ""


def opening(hours: Hours, moment: datetime) -> Opening:
    """How it stands at `moment`, local time. A day of `special` comes before a holiday, and both before the week.

    A date with its year comes before the same day of each year. A span's end is not part of it.
    """
    day, clock = moment.date(), f"{moment:%H:%M}"
    for form in (day.isoformat(), f"{day:%m-%d}"):
        if form in hours.special:
            return Opening("open" if within(hours.special[form], clock) else "closed")
        if form in hours.holidays:
            return Opening("holiday", hours.holidays[form])
    spans = [span for days, spans in hours.open.items() if on(days, day) for span in spans]
    return Opening("open" if within(spans, clock) else "closed")


def on(days: str, day: date) -> bool:
    """Whether `mon-fri` has that day; `fri-mon` goes over the weekend."""
    first, _, last = days.partition("-")
    start, end = DAYS.index(first), DAYS.index(last or first)
    return (day.weekday() - start) % 7 <= (end - start) % 7


def within(spans: tuple[str, ...] | list[str], clock: str) -> bool:
    """Whether a time of day is in one of the spans; `09:00-12:00` has 09:00 and not 12:00."""
    return any(start <= clock < end for start, _, end in (span.partition("-") for span in spans))
