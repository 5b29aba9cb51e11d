"""Who was connected with whom: tables of stays in bridges."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pbxd.calls.talk import Stay, connected, length, minus, union

PARTIES = frozenset("abc")


def test_alone_in_a_bridge_is_no_talk() -> None:
    assert connected([Stay("a", "x", 0, 9)], {}, PARTIES) == {}


def test_talk_is_when_both_are_there() -> None:
    found = connected([Stay("a", "x", 0, 9), Stay("b", "x", 4, 12)], {}, PARTIES)
    assert found == {"a": [(4, 9)], "b": [(4, 9)]}


def test_two_bridges_that_a_local_pair_joins() -> None:
    stays = [Stay("a", "x", 0, 10), Stay("l1", "x", 0, 10), Stay("l2", "y", 0, 10), Stay("b", "y", 3, 10)]
    assert connected(stays, {"l1": "l2", "l2": "l1"}, PARTIES) == {"a": [(3, 10)], "b": [(3, 10)]}


def test_a_conference() -> None:
    stays = [Stay("a", "x", 0, 10), Stay("b", "x", 2, 8), Stay("c", "x", 5, 12)]
    assert connected(stays, {}, PARTIES) == {"a": [(2, 10)], "b": [(2, 8)], "c": [(5, 10)]}


intervals = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda pair: (min(pair), max(pair))))


@given(intervals, intervals)
def test_minus_and_union_count_each_moment_once(one: list[tuple[int, int]], two: list[tuple[int, int]]) -> None:
    covered = {t for start, end in one for t in range(start, end)}
    without = {t for start, end in two for t in range(start, end)}
    assert length(union(one)) == len(covered)
    assert length(minus(union(one), union(two))) == len(covered - without)
