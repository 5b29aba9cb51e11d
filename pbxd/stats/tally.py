"""The figures of quarters of an hour, from the rows of the calls, visits and agents that have a say in them. No I/O.

A call counts in the quarter in which it began, a visit in that in which the caller joined, an event in its own; concurrency
changes when calls and legs begin and end. docs/statistics.md has every definition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pbxd.stats import histogram
from pbxd.stats.layout import (
    AGENTS,
    ALL,
    CALLS,
    DIRECTION,
    DISPOSITION,
    EACH,
    EXTENSION,
    PAUSES,
    QUALITY,
    QUEUES,
    SLOT,
    TOGETHER,
    TRUNK,
    Layout,
    Row,
    rise,
)
from pbxd.stats.soundness import SoundRow, tally_quality

Classes = dict[int, int]
SUMS = {layout.table: {name: n for n, name in enumerate(layout.sums)} for layout in (CALLS, QUEUES, AGENTS)}
C, Q, A = SUMS["rollup_calls"], SUMS["rollup_queues"], SUMS["rollup_agents"]
CALL, PLACED, RECEIVED, ANSWERED, MISSED = (C[name] for name in ("calls", "placed", "received", "answered", "missed"))
TRANSFERS, RING, QUEUE, TALK, DURATION = (C[name] for name in ("transfers", "ring", "queue", "talk", "duration"))
EVENTS = {  # events of queue_log that are counted, and as what: of the queue, of the agent
    "CONNECT": ("", "answered"),
    "RINGNOANSWER": ("", "no_answer"),
    "RINGCANCELED": ("", "cancelled"),
    "BLINDTRANSFER": ("transfers", "transfers"),
    "ATTENDEDTRANSFER": ("transfers", "transfers"),
    "EXITWITHTIMEOUT": ("timeouts", ""),
    "EXITWITHKEY": ("keys", ""),
    "EXITEMPTY": ("empties", ""),
}


ANYWHERE = (
    "login",
    "pause",
)  # kinds of time that agents have in a queue, and once more in any: two queues at once are one


class CallRow(NamedTuple):
    """What is needed of a call."""

    id: int
    start: int
    end: int
    direction: str
    disposition: str
    ring: int
    queue: int
    talk: int


class LegRow(NamedTuple):
    """What is needed of a leg."""

    call: int
    role: str
    number: str
    endpoint: str
    trunk: bool
    start: int
    answer: int | None
    end: int
    talked: str


class VisitRow(NamedTuple):
    """What is needed of a stay in a queue; `followed`: the same caller joined the same queue again soon."""

    call: int
    queue: str
    joined: int
    answer: int | None
    left: int
    outcome: str
    caller: str
    followed: bool


class EventRow(NamedTuple):
    """What is needed of a line of queue_log."""

    at: int
    queue: str
    agent: str
    event: str


class TimeRow(NamedTuple):
    """Time of an agent within one quarter."""

    slot: int
    agent: str
    queue: str
    kind: str
    reason: str
    start: int
    end: int


@dataclass(slots=True)
class Source:
    """The rows that have a say in the slots [first, end)."""

    first: int
    end: int
    calls: Sequence[CallRow] = ()
    legs: Sequence[LegRow] = ()
    transfers: Sequence[tuple[int, int]] = ()  # (call, how many)
    visits: Sequence[VisitRow] = ()
    events: Sequence[EventRow] = ()
    times: Sequence[TimeRow] = ()
    sounds: Sequence[SoundRow] = ()


@dataclass(slots=True)
class _Figures:
    """What is counted for one key of rollup_calls."""

    sums: list[int] = field(default_factory=lambda: [0] * len(CALLS.sums))
    talks: Classes = field(default_factory=dict)
    steps: list[tuple[int, int]] = field(
        default_factory=list
    )  # (when, +1 or -1); at one moment ends come before beginnings

    def talked(self, length: int) -> None:
        if length:
            number = histogram.class_of(length)
            self.talks[number] = self.talks.get(number, 0) + 1

    def values(self) -> Row:
        self.steps.sort()
        change, peak = rise((step, max(step, 0)) for _, step in self.steps)
        return (*self.sums, change, peak, histogram.pack(self.talks))


def tally(source: Source) -> dict[Layout, list[Row]]:
    """The rows of every rollup table for the slots of `source`."""
    return {
        CALLS: _Calls(source).rows(),
        QUEUES: _queues(source),
        AGENTS: _agents(source),
        PAUSES: _pauses(source),
        QUALITY: tally_quality(source.sounds),
    }


class _Calls:
    """Makes the rows of rollup_calls."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.begin, self.end = source.first * SLOT, source.end * SLOT
        self.whole: dict[tuple[int, str, str], _Figures] = defaultdict(_Figures)  # by slot, direction and disposition
        self.keyed: dict[tuple[int, int, str], _Figures] = defaultdict(_Figures)  # by slot, kind and key
        self.steps: dict[int, list[tuple[int, int]]] = defaultdict(list)  # by slot, of all calls

    def rows(self) -> list[Row]:
        legs: dict[int, list[LegRow]] = defaultdict(list)
        for leg in self.source.legs:
            legs[leg.call].append(leg)
        transfers = dict(self.source.transfers)
        for call in self.source.calls:
            self._steps(self.steps, call.start, call.end)
            mine = legs.get(call.id, [])
            if any(leg.trunk for leg in mine):
                self._trunk_steps(mine)
            if self.begin <= call.start < self.end:
                self._count(call, mine, transfers.get(call.id, 0))
        return self._all()

    def _steps(self, into: dict[int, list[tuple[int, int]]], start: int, end: int) -> None:
        if start == end:
            return
        if self.begin <= start < self.end:
            into[start // SLOT].append((start, 1))
        if self.begin <= end < self.end:
            into[end // SLOT].append((end, -1))

    def _trunk_steps(self, legs: Iterable[LegRow]) -> None:
        for leg in legs:
            if leg.trunk:
                steps: dict[int, list[tuple[int, int]]] = defaultdict(list)
                self._steps(steps, leg.start, leg.end)
                for slot, found in steps.items():
                    self.keyed[slot, TRUNK, leg.endpoint].steps += found

    def _count(self, call: CallRow, legs: Sequence[LegRow], transfers: int) -> None:
        slot = call.start // SLOT
        called = [leg for leg in legs if leg.role == "called"]
        anybody = any(leg.answer is not None for leg in called)
        received = any(not leg.trunk for leg in called)
        figures = self.whole[slot, call.direction, call.disposition]
        sums = figures.sums
        sums[CALL] += 1
        sums[C[call.disposition]] += 1
        sums[PLACED] += any(leg.role == "caller" and not leg.trunk for leg in legs)
        sums[RECEIVED] += received
        sums[MISSED] += received and not anybody
        sums[TRANSFERS] += transfers
        sums[RING] += call.ring
        sums[QUEUE] += call.queue
        sums[TALK] += call.talk
        sums[DURATION] += call.end - call.start
        figures.talked(call.talk)
        parties: dict[tuple[int, str], list[LegRow]] = {}
        for leg in legs:
            name = (TRUNK, leg.endpoint) if leg.trunk else (EXTENSION, leg.number)
            if name[1]:
                parties.setdefault(name, []).append(leg)
        for (kind, key), own in parties.items():
            self._party(self.keyed[slot, kind, key], kind, call, own, anybody=anybody)

    @staticmethod
    def _party(figures: _Figures, kind: int, call: CallRow, legs: Sequence[LegRow], *, anybody: bool) -> None:
        """Count a call for one of its extensions or trunks."""
        sums = figures.sums
        # A leg that a trunk brought is received by the site, one that the site sent over it is placed.
        inward = "caller" if kind == TRUNK else "called"
        into = [leg for leg in legs if leg.role == inward]
        answered = any(leg.answer is not None for leg in (legs if kind == TRUNK else into))
        sums[CALL] += 1
        if call.disposition != "answered":
            sums[C[call.disposition]] += 1
        sums[PLACED] += len(into) < len(legs)
        sums[RECEIVED] += bool(into)
        sums[ANSWERED] += answered
        sums[MISSED] += bool(into) and not anybody and kind == EXTENSION
        talk = 0
        for leg in legs:
            sums[DURATION] += leg.end - leg.start
            if leg.role == "called":
                sums[RING] += (leg.end if leg.answer is None else leg.answer) - leg.start
            if leg.talked:
                talk += talk_time(leg.talked)
        sums[TALK] += talk
        if kind == TRUNK:
            figures.talked(talk)

    def _all(self) -> list[Row]:
        total: dict[tuple[int, int, str], list[_Figures]] = defaultdict(list)
        for (slot, direction, disposition), figures in self.whole.items():
            for name in ((slot, ALL, ""), (slot, DIRECTION, direction), (slot, DISPOSITION, disposition)):
                total[name].append(figures)
        for name, parts in total.items():
            self.keyed[name] = _summed(parts)
        for slot, steps in self.steps.items():
            self.keyed[slot, ALL, ""].steps = steps
        return [(slot, kind, key, *figures.values()) for (slot, kind, key), figures in self.keyed.items()]


def _summed(parts: Sequence[_Figures]) -> _Figures:
    classes: Classes = defaultdict(int)
    for part in parts:
        for number, count in part.talks.items():
            classes[number] += count
    return _Figures([sum(column) for column in zip(*(part.sums for part in parts), strict=True)], dict(classes))


def talk_time(talked: str) -> int:
    """Microseconds in `from-to from-to`."""
    total = 0
    for part in talked.split():
        start, _, end = part.partition("-")
        total += int(end) - int(start)
    return total


class _Queue:
    """What is counted for one queue, or for all of them, in one slot."""

    def __init__(self) -> None:
        self.sums = [0] * len(QUEUES.sums)
        self.longest = 0
        self.classes: tuple[Classes, Classes, Classes] = ({}, {}, {})  # answered waits, abandoned waits, talks

    def count(self, visit: VisitRow) -> None:
        own = self.sums
        wait = (visit.left if visit.answer is None else visit.answer) - visit.joined
        self.longest = max(self.longest, wait)
        own[Q["offered"]] += 1
        outcome = visit.outcome if visit.outcome in ("answered", "abandoned") else "exited"
        own[Q[outcome]] += 1
        own[Q[f"wait_{outcome}"]] += wait
        if visit.answer is not None:
            talk = visit.left - visit.answer
            own[Q["talk"]] += talk
            own[Q["identified"]] += bool(visit.caller)
            own[Q["resolved"]] += bool(visit.caller) and not visit.followed
            _add(self.classes[2], talk)
        if outcome != "exited":
            _add(self.classes[outcome == "abandoned"], wait)

    def values(self) -> Row:
        return (*self.sums, self.longest, *map(histogram.pack, self.classes))


def _queues(source: Source) -> list[Row]:
    """Rows of rollup_queues: of each queue, and of all of them under the name ""."""
    found: dict[tuple[int, str], _Queue] = defaultdict(_Queue)
    for visit in source.visits:
        slot = visit.joined // SLOT
        if source.first <= slot < source.end:
            found[slot, visit.queue].count(visit)
            found[slot, ""].count(visit)
    for event in source.events:
        counted = EVENTS[event.event][0]
        if counted:
            for name in (event.queue, ""):
                found[event.at // SLOT, name].sums[Q[counted]] += 1
    return [(slot, EACH if name else TOGETHER, name, *queue.values()) for (slot, name), queue in found.items()]


def _add(classes: Classes, length: int) -> None:
    number = histogram.class_of(length)
    classes[number] = classes.get(number, 0) + 1


def _agents(source: Source) -> list[Row]:
    sums: dict[tuple[int, int, str, str], list[int]] = defaultdict(lambda: [0] * len(AGENTS.sums))
    for event in source.events:
        counted = EVENTS[event.event][1]
        if counted and event.agent != "NONE":
            slot = event.at // SLOT
            sums[slot, EACH, event.agent, event.queue][A[counted]] += 1
            sums[slot, TOGETHER, event.agent, ""][A[counted]] += 1
    for time in source.times:
        if time.queue:
            sums[time.slot, EACH, time.agent, time.queue][A[time.kind]] += time.end - time.start
        if not time.queue or time.kind not in ANYWHERE:
            sums[time.slot, TOGETHER, time.agent, ""][A[time.kind]] += time.end - time.start
    return [(*name, *own) for name, own in sums.items()]


def _pauses(source: Source) -> list[Row]:
    sums: dict[tuple[int, str, str], int] = defaultdict(int)
    for time in source.times:
        if time.kind == "pause" and not time.queue:
            sums[time.slot, time.agent, time.reason] += time.end - time.start
    return [(*name, total) for name, total in sums.items()]
