"""Who was connected with whom, and when: from the times at which channels were in bridges.

Two parties are connected while they are in one bridge, or in bridges that Local pairs join. A channel alone in a bridge, or
with plumbing only, talks to nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

Interval = tuple[int, int]
SWAP = 20_000  # µs for which a channel is in no bridge while Asterisk moves it to another: nobody hears it


@dataclass(frozen=True, slots=True)
class Stay:
    """A channel in a bridge, from when to when (microseconds)."""

    channel: str  # uniqueid
    bridge: str
    start: int
    end: int


def connected(stays: Iterable[Stay], pairs: Mapping[str, str], parties: frozenset[str]) -> dict[str, list[Interval]]:
    """For each of `parties` (uniqueids of real channels) the intervals in which it was connected with another of them.

    `pairs` maps each half of a Local channel to the other half.
    """
    stays = list(stays)
    if not pairs and len(stays) == 2:
        return _two(stays, parties)
    edges = sorted({stay.start for stay in stays} | {stay.end for stay in stays})
    talked: dict[str, list[Interval]] = {}
    for start, end in pairwise(edges):
        present = [stay for stay in stays if stay.start <= start and stay.end >= end]
        for channel in _not_alone(present, pairs, parties):
            intervals = talked.setdefault(channel, [])
            if intervals and start - intervals[-1][1] <= (SWAP if pairs else 0):
                intervals[-1] = (intervals[-1][0], end)
            else:
                intervals.append((start, end))
    return talked


def held(stays: Iterable[Stay], music: Mapping[str, list[Interval]]) -> dict[str, list[Interval]]:
    """For each channel the intervals in which it was on hold: in a bridge with another, and hearing `music` instead of it."""
    stays = list(stays)
    found = {}
    for channel, played in music.items():
        mine = [stay for stay in stays if stay.channel == channel]
        shared = union(
            (max(stay.start, other.start), min(stay.end, other.end))
            for stay in mine
            for other in stays
            if other.bridge == stay.bridge
            and other.channel != channel
            and other.start < stay.end
            and stay.start < other.end
        )
        intervals = minus(shared, minus(shared, union(played)))
        if intervals:
            found[channel] = _joined(intervals)
    return found


def _joined(intervals: list[Interval]) -> list[Interval]:
    """The intervals, those with less than SWAP between them as one: who is moved to another bridge stays on hold."""
    joined = intervals[:1]
    for start, end in intervals[1:]:
        if start - joined[-1][1] <= SWAP:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def without_held(stays: Iterable[Stay], on_hold: Mapping[str, list[Interval]]) -> list[Stay]:
    """The stays less the time on hold: who hears music talks to nobody."""
    return [
        Stay(stay.channel, stay.bridge, start, end)
        for stay in stays
        for start, end in minus([(stay.start, stay.end)], on_hold.get(stay.channel, []))
    ]


def _two(stays: list[Stay], parties: frozenset[str]) -> dict[str, list[Interval]]:
    """The ordinary call: two channels, one bridge."""
    one, two = stays
    start, end = max(one.start, two.start), min(one.end, two.end)
    if one.bridge != two.bridge or one.channel == two.channel or start >= end:
        return {}
    return {stay.channel: [(start, end)] for stay in stays if {one.channel, two.channel} <= parties}


def _not_alone(present: list[Stay], pairs: Mapping[str, str], parties: frozenset[str]) -> list[str]:
    """Parties that are connected with another party, with `present` the stays of one moment."""
    room = {stay.bridge: stay.bridge for stay in present}

    def top(bridge: str) -> str:
        while room[bridge] != bridge:
            bridge = room[bridge]
        return bridge

    where = {stay.channel: stay.bridge for stay in present}
    for channel, bridge in where.items():
        other = where.get(pairs.get(channel, ""))
        if other is not None:
            room[top(bridge)] = top(other)
    together: dict[str, list[str]] = {}
    for channel, bridge in where.items():
        if channel in parties:
            together.setdefault(top(bridge), []).append(channel)
    return [channel for members in together.values() if len(members) > 1 for channel in members]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same time, without overlaps, in order."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif end > start:
            merged.append((start, end))
    return merged


def minus(intervals: list[Interval], without: list[Interval]) -> list[Interval]:
    """`intervals` less the time in `without`; both as `union` gives them."""
    left = []
    for start, end in intervals:
        for out_start, out_end in without:
            if out_end <= start or out_start >= end:
                continue
            if out_start > start:
                left.append((start, out_start))
            start = max(start, out_end)  # noqa: PLW2901 - what remains of this interval goes on from here
        if start < end:
            left.append((start, end))
    return left


def length(intervals: Iterable[Interval]) -> int:
    """Total time, in microseconds."""
    return sum(end - start for start, end in intervals)
