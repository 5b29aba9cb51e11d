"""The columns of reports: what each is called, and how it is made of a group's figures. docs/statistics.md defines them all.

A value that cannot be known (the average of nothing) is None, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pbxd.stats import histogram
from pbxd.stats.report import Column, Kind
from pbxd.stats.rolled import Figures

SECOND = 1_000_000  # microseconds


@dataclass(frozen=True, slots=True)
class Figure:
    """A column, and the function that makes its value."""

    column: Column
    value: Callable[[Figures], Any]


def share(part: float, whole: float) -> float | None:
    """`part` of `whole`; None of nothing."""
    return part / whole if whole else None


def average(total: float, count: float) -> float | None:
    """Seconds, from microseconds; None of nothing."""
    return total / count / SECOND if count else None


def count(name: str, title: str, source: str = "") -> Figure:
    """A sum that is a number of calls."""
    return Figure(Column(name, title, "count"), lambda of: of[source or name])


def length(name: str, title: str, value: Callable[[Figures], Any]) -> Figure:
    """A length in seconds."""
    return Figure(Column(name, title, "seconds"), value)


def made(name: str, title: str, kind: Kind, value: Callable[[Figures], Any]) -> Figure:
    """Anything else."""
    return Figure(Column(name, title, kind), value)


def percentiles(prefix: str, title: str, histogram_name: str) -> tuple[Figure, ...]:
    """Median, 90th and 95th percentile of a histogram."""

    def one(wanted: float) -> Callable[[Figures], Any]:
        return lambda of: histogram.percentile(of.counts(histogram_name), wanted)

    return tuple(length(f"{prefix}_p{number}", f"{title} {number} %", one(number / 100)) for number in (50, 90, 95))


PEAK = made("peak", "Most at once", "count", lambda of: of.peak)

CALLS = (
    count("calls", "Calls"),
    count("answered", "Answered"),
    made("answer_rate", "Answer rate", "share", lambda of: share(of["answered"], of["calls"])),
    count("missed", "Missed"),
    count("no_answer", "No answer"),
    count("busy", "Busy"),
    count("failed", "Failed"),
    count("voicemail", "Voicemail"),
    count("abandoned", "Abandoned"),
    count("cut", "Cut off"),
    count("transfers", "Transfers"),
    length("talk", "Talk time", lambda of: of["talk"] / SECOND),
    length("average_talk", "Average talk", lambda of: average(of["talk"], of["answered"])),
    *percentiles("talk", "Talk", "talks"),
    length("average_ring", "Average ring", lambda of: average(of["ring"], of["calls"])),
)
EXTENSION_SUMS = ("calls", "placed", "received", "answered", "missed", "talk", "ring")  # what these are made of
EXTENSIONS = (
    count("calls", "Calls"),
    count("placed", "Placed"),
    count("received", "Received"),
    count("answered", "Answered"),
    made("answer_rate", "Answer rate", "share", lambda of: share(of["answered"], of["received"])),
    count("missed", "Missed"),
    length("talk", "Talk time", lambda of: of["talk"] / SECOND),
    length("average_talk", "Average talk", lambda of: average(of["talk"], of["calls"])),
    length("average_ring", "Average ring", lambda of: average(of["ring"], of["received"])),
)


def trunks(seconds: float) -> tuple[Figure, ...]:
    """Columns of trunks, over a range of so many seconds."""
    return (
        count("calls", "Calls"),
        count("inbound", "Inbound", "received"),
        count("outbound", "Outbound", "placed"),
        count("answered", "Answered"),
        made("answer_seizure_ratio", "ASR", "share", lambda of: share(of["answered"], of["calls"])),
        length("talk", "Talk time", lambda of: of["talk"] / SECOND),
        length("average_talk", "Average talk (ACD)", lambda of: average(of["talk"], of["answered"])),
        *percentiles("talk", "Talk", "talks"),
        made("erlangs", "Erlangs", "number", lambda of: of["duration"] / SECOND / seconds),
        PEAK,
    )


def queues(within: Callable[[Figures], int], short: Callable[[Figures], int]) -> tuple[Figure, ...]:
    """Columns of queues: `within` counts the calls answered in time, `short` those that hung up too soon to count."""
    return (
        count("offered", "Offered"),
        count("answered", "Answered"),
        count("abandoned", "Abandoned"),
        made("abandonment_rate", "Abandonment", "share", lambda of: share(of["abandoned"], of["offered"])),
        count("exited", "Left"),
        count("timeouts", "Left by time-out"),
        count("keys", "Left by key"),
        count("empties", "Left empty"),
        made("service_level", "Service level", "share", lambda of: share(within(of), of["offered"] - short(of))),
        length("average_speed_of_answer", "ASA", lambda of: average(of["wait_answered"], of["answered"])),
        length("average_wait", "Average wait", lambda of: average(_waited(of), of["offered"])),
        *percentiles("wait", "Wait", "answered_waits"),
        length("longest_wait", "Longest wait", lambda of: of["longest_wait"] / SECOND if of["offered"] else None),
        length("average_abandon", "Average abandon", lambda of: average(of["wait_abandoned"], of["abandoned"])),
        length("average_talk", "Average talk", lambda of: average(of["talk"], of["answered"])),
        *percentiles("talk", "Talk", "talks"),
        count("transfers", "Transfers"),
        made("first_call_resolution", "FCR", "share", lambda of: share(of["resolved"], of["identified"])),
    )


def _waited(of: Figures) -> int:
    return of["wait_answered"] + of["wait_abandoned"] + of["wait_exited"]


def occupancy(of: Figures) -> float | None:
    """Share of the time at work, logged in and not paused, that was talk or wrap-up; None if the log does not say enough."""
    work, busy = of["login"] - of["pause"], of["talk"] + of["wrapup"]
    return busy / work if work > 0 and busy <= work else None


AGENTS = (
    made("offered", "Offered", "count", lambda of: of["answered"] + of["no_answer"]),
    count("answered", "Answered"),
    count("no_answer", "Rang, no answer"),
    count("cancelled", "Answered elsewhere"),
    count("transfers", "Transfers"),
    length("talk", "Talk time", lambda of: of["talk"] / SECOND),
    length("average_handling", "AHT", lambda of: average(of["talk"] + of["wrapup"], of["answered"])),
    length("wrapup", "Wrap-up", lambda of: of["wrapup"] / SECOND),
    length("average_ring", "Average ring", lambda of: average(of["ring"], of["answered"] + of["no_answer"])),
    length("login", "Logged in", lambda of: of["login"] / SECOND or None),
    length("pause", "Paused", lambda of: of["pause"] / SECOND),
    made("occupancy", "Occupancy", "share", occupancy),
)


def columns(figures: Sequence[Figure]) -> tuple[Column, ...]:
    """Their columns."""
    return tuple(figure.column for figure in figures)


def values(figures: Sequence[Figure], of: Figures) -> tuple[Any, ...]:
    """Their values for one group."""
    return tuple(figure.value(of) for figure in figures)
