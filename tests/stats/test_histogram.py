"""Histograms: what is merged is what was counted; percentiles are nearest ranks of class bounds."""

from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pbxd.stats.histogram import (
    BOUNDS,
    EXACT,
    WIDEST,
    below,
    bound_below,
    class_of,
    counts_of,
    merge,
    number_of,
    pack,
    percentile,
)

LENGTHS = st.lists(st.integers(0, 200_000_000_000), max_size=50)


def test_the_classes() -> None:
    assert BOUNDS[: EXACT + 1] == tuple(range(EXACT + 1))
    assert all(b - a <= max(1, a * WIDEST) for a, b in itertools.pairwise(BOUNDS))
    assert BOUNDS[-1] == 86_400
    assert [class_of(at) for at in (0, 999_999, 1_000_000, 10**15)] == [0, 0, 1, len(BOUNDS) - 1]


@given(LENGTHS, LENGTHS)
def test_merged_is_counted_together(one: list[int], other: list[int]) -> None:
    parts = [pack(Counter(map(class_of, lengths))) for lengths in (one, other)]
    assert merge(parts) == pack(Counter(map(class_of, one + other)))


@given(LENGTHS, st.sampled_from([0.5, 0.9, 0.95]), st.integers(0, 4000))
def test_percentile_and_below(lengths: list[int], share: float, limit: int) -> None:
    counts = counts_of(number_of(pack(Counter(map(class_of, lengths)))))
    bounds = sorted(BOUNDS[class_of(length)] for length in lengths)
    rank = -(-len(bounds) * round(share * 100) // 100)
    assert percentile(counts, share) == (bounds[rank - 1] if bounds else None)
    assert below(counts, limit) == sum(length < bound_below(limit) * 1_000_000 for length in lengths)
