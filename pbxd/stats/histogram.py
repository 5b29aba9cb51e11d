"""Histograms of lengths, small enough to keep one a quarter of an hour, and merged by one addition.

Classes: whole seconds up to two minutes, then classes of at most 3 % width up to a day; the last one takes the rest. A histogram is
stored as the number of its first class that is not empty (16 bits), and the counts from that one to the last that is not (32 bits
each), little-endian. As one big integer each, two histograms are merged by adding them: no class of a store comes near 2**32.
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
    first, last = min(counts), max(counts)
    return struct.pack(f"<H{last - first + 1}I", first, *(counts.get(number, 0) for number in range(first, last + 1)))


def number_of(stored: bytes) -> int:
    """A stored histogram as one big integer, 32 bits a class from class 0 on: the sum of two is that of both."""
    return int.from_bytes(stored[2:], "little") << (8 * LANE * int.from_bytes(stored[:2], "little"))


def merge(stored: Iterable[bytes]) -> bytes:
    """The histogram of everything that is in any of these."""
    total = sum(map(number_of, stored))
    if not total:
        return b""
    first = ((total & -total).bit_length() - 1) // (8 * LANE)
    lanes = -(-total.bit_length() // (8 * LANE))
    return first.to_bytes(2, "little") + (total >> (8 * LANE * first)).to_bytes((lanes - first) * LANE, "little")


def counts_of(number: int) -> tuple[int, ...]:
    """The counts of `number_of`, from class 0 on."""
    lanes = -(-number.bit_length() // (8 * LANE))
    return struct.unpack(f"<{lanes}I", number.to_bytes(lanes * LANE, "little"))


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
