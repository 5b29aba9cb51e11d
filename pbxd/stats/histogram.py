"""Histograms of lengths, small enough to keep one a quarter of an hour, and merged by one addition.

Classes: whole seconds up to two minutes, then classes of at most 3 % width up to a day; the last one takes the rest. A histogram is
stored as the counts of its classes, little-endian 32-bit numbers from class 0 on, without the zeros at the end. As one big
integer each, two histograms are merged by adding them: no class of a store comes near 2**32.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

LANE = 4  # bytes of one count
EXACT = 120  # s up to which a class is one second wide
WIDEST = 0.03  # of its lower bound, the width of the classes above
LONGEST = 86_400  # s; what is longer is in the last class


def _bounds() -> tuple[int, ...]:
    bounds = list(range(EXACT + 1))
    while bounds[-1] < LONGEST:
        bounds.append(min(LONGEST, bounds[-1] + int(bounds[-1] * WIDEST)))
    return tuple(bounds)


BOUNDS = _bounds()  # lower bounds of the classes, in seconds
MICROS = tuple(bound * 1_000_000 for bound in BOUNDS)


def class_of(length: int) -> int:
    """The class of a length in microseconds: the last one whose lower bound it reaches."""
    return max(0, bisect_right(MICROS, length) - 1)


def pack(counts: Mapping[int, int]) -> bytes:
    """The stored form of counts by class."""
    if not counts:
        return b""
    lanes = [0] * (max(counts) + 1)
    for number, count in counts.items():
        lanes[number] = count
    return struct.pack(f"<{len(lanes)}I", *lanes)


def merge(stored: Iterable[bytes]) -> bytes:
    """The histogram of everything that is in any of these."""
    total = sum(int.from_bytes(one, "little") for one in stored)
    lanes = -(-total.bit_length() // (8 * LANE))
    return total.to_bytes(lanes * LANE, "little")


def counts_of(stored: bytes) -> tuple[int, ...]:
    """The counts, from class 0 on."""
    return struct.unpack(f"<{len(stored) // LANE}I", stored)


def percentile(counts: Sequence[int], share: float) -> int | None:
    """The nearest-rank percentile (at place ceil(share * n)), as the lower bound of its class in seconds. None of none."""
    total = sum(counts)
    if not total:
        return None
    rank = max(1, -(-total * round(share * 1000) // 1000))
    return BOUNDS[bisect_left(list(accumulate(counts)), rank)]


def below(counts: Sequence[int], seconds: float) -> int:
    """How many were shorter than `seconds`, which is taken down to a class bound (see `bound_below`)."""
    return sum(counts[: bisect_right(BOUNDS, seconds) - 1])


def bound_below(seconds: float) -> int:
    """The class bound, in seconds, at which `below` really counts."""
    return BOUNDS[max(0, bisect_right(BOUNDS, seconds) - 1)]
