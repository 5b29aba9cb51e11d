"""What a rollup holds: the columns of each rollup table, and how rows of it are merged into one.

docs/statistics.md defines every figure that is made of them. Counts are of calls, visits or events; lengths are microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pbxd.calls.agents import QUARTER
from pbxd.stats import histogram

SLOT = QUARTER  # microseconds; the quarters of an hour are numbered from the epoch, and these numbers are called slots
HOUR, DAY, WEEK = 4, 96, 672  # slots of a UTC hour, day, and seven days counted from the epoch
QUARTERS, DAYS, HOURS, WEEKS = range(4)  # values of `span`: what a row stands for; its slot is the first one of that

# Values of rollup_calls.kind and rollup_quality.kind
ALL, DIRECTION, DISPOSITION, EXTENSION, TRUNK = range(5)
# and of rollup_queues.kind and rollup_agents.kind
TOGETHER, EACH = range(2)
KINDS = {"all": ALL, "direction": DIRECTION, "disposition": DISPOSITION, "extension": EXTENSION, "trunk": TRUNK}

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """One rollup table. A row is (slot, *keys, *sums, *maxima, *level, *histograms)."""

    table: str
    lead: tuple[str, ...]  # keys that stand before the slot in the primary key
    keys: tuple[str, ...]  # and those behind it
    sums: tuple[str, ...]
    maxima: tuple[str, ...] = ()
    level: tuple[str, ...] = ()  # net change of a level, and its highest value above the beginning
    histograms: tuple[str, ...] = ()

    @property
    def weekly(self) -> bool:
        """Whether there are rows of weeks too: of rollups that are sums alone, which a report reads for many keys at once."""
        return not (self.maxima or self.level or self.histograms)

    @property
    def spans(self) -> tuple[int, ...]:
        """What its rows may stand for."""
        return (QUARTERS, HOURS, DAYS, WEEKS) if self.weekly else (QUARTERS, HOURS, DAYS)

    @property
    def leading(self) -> str:
        """A condition that lets the primary key find slots whatever the keys before it are."""
        return f" AND kind IN ({', '.join(map(str, KINDS.values()))})" if self.lead else ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of a row's columns."""
        return ("slot", *self.lead, *self.keys, *self.values)

    @property
    def values(self) -> tuple[str, ...]:
        """Names of the columns that are no keys."""
        return (*self.sums, *self.maxima, *self.level, *self.histograms)

    def merged(self, slot: int, rows: Iterable[Row]) -> list[Row]:
        """Rows in the order of time, merged into one for each key, as of `slot`."""
        by_key: dict[Row, list[Row]] = {}
        first = 1 + len(self.lead) + len(self.keys)
        for row in rows:
            by_key.setdefault(row[1:first], []).append(row[first:])
        return [(slot, *key, *self.merge(found)) for key, found in by_key.items()]

    def merge(self, rows: list[Row]) -> Row:
        """The values of rows in the order of time, merged."""
        if len(rows) == 1:
            return rows[0]
        columns = list(zip(*rows, strict=True))
        sums, maxima, level = len(self.sums), len(self.maxima), len(self.level)
        merged: list[Any] = [sum(column) for column in columns[:sums]]
        merged += [max(column) for column in columns[sums : sums + maxima]]
        if level:
            merged += rise(zip(*columns[sums + maxima : sums + maxima + level], strict=True))
        merged += [histogram.merge(column) for column in columns[sums + maxima + level :]]
        return tuple(merged)


def rise(parts: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Parts (net change, highest value above the beginning) in the order of time, as one."""
    change = peak = 0
    for step, top in parts:
        peak = max(peak, change + top)
        change += step
    return change, peak


CALLS = Layout(
    "rollup_calls",
    ("kind",),
    ("key",),
    (
        "calls", "placed", "received", "answered", "missed", "no_answer", "busy", "failed", "voicemail", "abandoned", "cut",
        "transfers", "ring", "queue", "talk", "duration",
    ),
    level=("change", "peak"),
    histograms=("talks",),
)  # fmt: skip
QUEUES = Layout(
    "rollup_queues",
    ("kind",),
    ("queue",),  # "" of kind TOGETHER
    (
        "offered", "answered", "abandoned", "exited", "timeouts", "keys", "empties", "transfers", "identified", "resolved",
        "wait_answered", "wait_abandoned", "wait_exited", "talk",
    ),
    maxima=("longest_wait",),
    histograms=("answered_waits", "abandoned_waits", "talks"),
)  # fmt: skip
AGENTS = Layout(
    "rollup_agents",
    ("kind",),
    ("agent", "queue"),  # of kind TOGETHER, queue is "", and login and pause are those in any queue
    ("answered", "no_answer", "cancelled", "transfers", "ring", "login", "pause", "talk", "wrapup"),
)
PAUSES = Layout("rollup_pauses", (), ("agent", "reason"), ("pause",))
QUALITY = Layout(  # of legs; of each direction those that are known, and sums over these
    "rollup_quality",
    ("kind",),
    ("key",),
    (
        "legs", "sent", "sent_loss", "sent_jitter", "sent_rated", "sent_mos", "sent_poor", "received", "received_loss",
        "received_jitter", "received_rated", "received_mos", "received_poor", "timed", "rtt",
    ),
)  # fmt: skip
LAYOUTS = (CALLS, QUEUES, AGENTS, PAUSES, QUALITY)


def slot_of(at: int) -> int:
    """The quarter of an hour in which a moment (microseconds) lies."""
    return at // SLOT
