"""What can be asked of the reports, and the check of a question before it is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from pbxd.errors import ReportError
from pbxd.stats.layout import SLOT
from pbxd.stats.periods import Segment, segments

TIMES = ("hour", "weekday", "day", "month")
BY = {  # report -> what its rows may stand for; the first is what they do if nothing is said
    "calls": ("day", "hour", "weekday", "month", "direction", "disposition", "extension", "trunk"),
    "queues": ("queue", *TIMES),
    "agents": ("agent", *TIMES, "reason"),
    "trunks": ("trunk", *TIMES),
    "heatmap": ("calls", "abandonment"),
    "quality": ("extension", "trunk", *TIMES),
}
FILTERS = {  # report -> filters; at most one at a time
    "calls": ("direction", "disposition", "extension", "trunk"),
    "queues": ("queue",),
    "agents": ("agent", "queue"),
    "trunks": ("trunk",),
    "heatmap": ("queue", "direction", "extension", "trunk"),
    "quality": ("extension", "trunk"),
}
LONGEST = 96 * 366 * 10  # slots of one report
TITLES = {
    "calls": "Calls",
    "queues": "Queues",
    "agents": "Agents",
    "trunks": "Trunks",
    "heatmap": "Heat map",
    "quality": "Voice quality",
}


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What reports are made with. Lengths in seconds."""

    site: str = "pbx"
    zone: str = "UTC"  # IANA name
    service_level: float = 20.0
    service_levels: Mapping[str, float] = field(default_factory=dict)
    service_target: float = 0.8
    short_abandon: float = 5.0
    wrapup: float = 0.0


@dataclass(frozen=True, slots=True)
class Question:
    """Which report: over [start, end), microseconds UTC, taken out to whole quarters of an hour."""

    name: str
    start: int
    end: int
    by: str = ""
    filters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that was found good."""

    name: str
    by: str
    filter: tuple[str, str] | None
    first: int  # slots
    end: int
    parts: list[Segment]

    @classmethod
    def of(cls, question: Question, settings: ReportSettings) -> Asked:
        """Check a question. ReportError says what is wrong with it."""
        if question.name not in BY:
            raise ReportError(f"there is no report {question.name!r}; there are {', '.join(BY)}")
        by = question.by or BY[question.name][0]
        if by not in BY[question.name]:
            raise ReportError(f"{question.name} cannot be made by {by!r}, but by {', '.join(BY[question.name])}")
        given = {name: value for name, value in question.filters.items() if value}
        wrong = sorted(set(given) - set(FILTERS[question.name]))
        if wrong:
            raise ReportError(
                f"{question.name} has no filter {', '.join(wrong)}, but {', '.join(FILTERS[question.name])}"
            )
        if len(given) > 1:
            raise ReportError(f"one filter at a time: {', '.join(sorted(given))} are kept apart in the rollups")
        chosen = next(iter(given.items()), None)
        allowed = (*TIMES, "calls", "abandonment") if question.name != "agents" else (*TIMES, "agent")
        if chosen is not None and by not in allowed and by != chosen[0]:
            raise ReportError(f"by {by}, only the filter {by} can be used")
        first, end = question.start // SLOT, -(-question.end // SLOT)
        if not 0 <= question.start < question.end or end - first > LONGEST:
            raise ReportError("a report is about a time that begins before it ends, and at most ten years")
        return cls(question.name, by, chosen, first, end, segments(ZoneInfo(settings.zone), first, end))
