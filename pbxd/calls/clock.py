"""A clock that was set back during a call: its later lines, put onto the clock with which the call began.

CEL has the time of day only. Between the last line before the step and the first after it an unknown time passed; it counts as
a millisecond, so lengths are then the least that they can be, and never negative. A step forward cannot be told from a long call.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pbxd.calls.cel import CelEvent, birth_order
from pbxd.calls.voice import QUALITY

STEP = 1_000_000  # µs; lines of one channel are in order, and threads differ by milliseconds
PASSED = 1_000  # µs between the two lines around a step: who talked then did talk
MOST_STEPS = 8  # in one call: a clock that goes wild is not followed for ever


def steady(events: Sequence[CelEvent]) -> tuple[Sequence[CelEvent], int]:
    """The events with times that never run back by more than STEP, and by how much the clock was set back (µs, 0 if not)."""
    if all(later.at >= earlier.at - STEP for earlier, later in pairwise(events)):
        return events, 0
    total = 0
    for _ in range(MOST_STEPS):
        after, size = _after_step(events)
        if not size:
            break
        total += size
        events = [event._replace(at=event.at + size) if id(event) in after else event for event in events]
    return events, total


def _after_step(events: Sequence[CelEvent]) -> tuple[set[int], int]:
    """The events (by identity) that were written after the first step back, and its size."""
    channels: dict[str, list[CelEvent]] = {}
    for event in events:
        if event.type != QUALITY:  # has pbxd's own clock
            channels.setdefault(event.uniqueid, []).append(event)
    after: set[int] = set()
    size = 0
    oldest_start = 0
    for uniqueid in sorted(channels, key=birth_order):
        lines = channels[uniqueid]
        if (
            lines[0].type == "CHAN_START"
        ):  # the first line of a part of a journal tells nothing of when a channel was made
            if lines[0].at < oldest_start - STEP:  # it was made after an older one, but at an earlier time of day
                size = max(size, oldest_start - lines[0].at)
                after.update(map(id, lines))
                continue
            oldest_start = max(oldest_start, lines[0].at)
        for place, (earlier, later) in enumerate(pairwise(lines), 1):
            if later.at < earlier.at - STEP:
                size = max(size, earlier.at - later.at)
                after.update(map(id, lines[place:]))
                break
    return after, size + PASSED if size else 0
