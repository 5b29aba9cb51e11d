"""Waiting times between tries."""

from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from pbxd.backoff import backoff


def upper(_low: float, high: float) -> float:
    return high


def test_it_doubles_up_to_the_longest() -> None:
    assert list(islice(backoff(0.5, 5, uniform=upper), 6)) == [0.5, 1, 2, 4, 5, 5]


def test_the_whole_range_is_drawn_from() -> None:
    drawn: list[tuple[float, float]] = []

    def note(low: float, high: float) -> float:
        drawn.append((low, high))
        return low

    assert list(islice(backoff(1, 8, 2, note), 3)) == [0, 0, 0]
    assert drawn == [(0, 1), (0, 2), (0, 4)]


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.integers(1, 50))
def test_no_wait_is_longer_than_the_longest(first: float, longest: float, count: int) -> None:
    assert all(0 <= wait <= longest for wait in islice(backoff(first, longest), count))
