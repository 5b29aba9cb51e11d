"""A report as a value: a table with a meaning for each column, and which charts show it. Made by `stats`, drawn by `reports`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["text", "count", "seconds", "share", "number"]  # seconds: a length; share: 0 to 1; number: with decimals


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a report. `name` is its key in JSON and CSV and is defined in docs/statistics.md."""

    name: str
    title: str  # what people read above it
    kind: Kind


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of some columns. Bars and lines have `x` below; a heatmap has `x` across, `y[0]` down, and `value` as its colour."""

    kind: Literal["bar", "stacked", "line", "heatmap"]
    title: str
    x: str
    y: tuple[str, ...]
    value: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """One report over [start, end), microseconds UTC. A value that is not known is None, never 0."""

    name: str  # calls | queues | agents | trunks | quality | heatmap
    title: str
    site: str
    zone: str  # IANA name of the time zone in which it was made
    start: int
    end: int
    by: str  # what a row stands for: hour, weekday, day, queue, …
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    total: tuple[Any, ...] | None = None  # the same columns over everything; its first value is a label
    charts: tuple[Chart, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)  # what a reader must know: thresholds, suppressed cells, gaps
