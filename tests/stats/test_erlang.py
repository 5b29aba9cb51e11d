"""Erlang C against published figures, and against the textbook formula in exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbxd.stats.erlang import (
    agents_needed,
    average_speed_of_answer,
    erlang_b,
    load,
    occupancy,
    probability_of_waiting,
    service_level,
)


def exact_b(erlangs: Fraction, agents: int) -> Fraction:
    terms = [erlangs**n / math.factorial(n) for n in range(agents + 1)]
    return terms[-1] / sum(terms)


def exact_c(erlangs: Fraction, agents: int) -> Fraction:
    last = erlangs**agents / math.factorial(agents) * agents / (agents - erlangs)
    return last / (sum((erlangs**n / math.factorial(n) for n in range(agents)), Fraction(0)) + last)


@pytest.mark.parametrize(
    ("erlangs", "agents", "blocked"),
    [(0.0101, 1, 0.01), (1.36, 5, 0.01), (4.46, 10, 0.01), (12.0, 20, 0.01), (37.9, 50, 0.01), (84.1, 100, 0.01)],
)
def test_erlang_b_is_that_of_the_published_table(erlangs: float, agents: int, blocked: float) -> None:
    """The traffic table of every textbook: load carried by N trunks at 1 % blocking."""
    assert erlang_b(erlangs, agents) == pytest.approx(blocked, abs=0.0003)


def test_the_call_centre_example() -> None:
    """100 calls in half an hour of 180 s each: 10 erlangs; 14 agents answer 88.8 % within 20 s, 17.4 % wait, 7.8 s on average."""
    erlangs = load(100, 1800, 180)
    assert erlangs == 10
    assert probability_of_waiting(erlangs, 14) == pytest.approx(0.174, abs=0.0005)
    assert service_level(erlangs, 14, 180, 20) == pytest.approx(0.888, abs=0.0005)
    assert average_speed_of_answer(erlangs, 14, 180) == pytest.approx(7.8, abs=0.05)
    assert occupancy(erlangs, 14) == pytest.approx(0.714, abs=0.0005)
    assert agents_needed(100, 1800, 180, 0.80, 20) == 14
    assert agents_needed(100, 1800, 180, 0.80, 20, shrinkage=0.3) == 20


@given(st.fractions(Fraction(1, 100), 60, max_denominator=100), st.integers(1, 90))
@settings(deadline=None)
def test_it_equals_the_textbook_formula(erlangs: Fraction, agents: int) -> None:
    assert erlang_b(float(erlangs), agents) == pytest.approx(float(exact_b(erlangs, agents)), rel=1e-9)
    if agents > erlangs:
        assert probability_of_waiting(float(erlangs), agents) == pytest.approx(
            float(exact_c(erlangs, agents)), rel=1e-9
        )


def test_a_queue_without_enough_agents_grows_without_end() -> None:
    assert probability_of_waiting(10, 10) == 1
    assert service_level(10, 10, 180, 20) == 0
    assert average_speed_of_answer(10, 10, 180) is None
    assert occupancy(10, 5) == 1
    assert occupancy(0, 0) == 1


@given(st.floats(0.1, 3000), st.floats(1, 900), st.floats(0.05, 0.99), st.floats(0, 120))
@settings(deadline=None)
def test_the_answer_is_the_fewest(calls: float, aht: float, share: float, target: float) -> None:
    agents = agents_needed(calls, 1800, aht, share, target)
    erlangs = load(calls, 1800, aht)
    assert service_level(erlangs, agents, aht, target) >= share
    assert service_level(erlangs, agents - 1, aht, target) < share


def test_a_large_load_does_not_overflow() -> None:
    assert 0 < probability_of_waiting(5000, 5050) < 1
    assert agents_needed(50_000, 1800, 180, 0.8, 20) > 5000


def test_no_load_needs_nobody() -> None:
    assert agents_needed(0, 1800, 180, 0.8, 20) == 0
    assert agents_needed(10, 1800, 0, 0.8, 20) == 0
    assert service_level(0, 1, 0, 20) == 1


@pytest.mark.parametrize(
    "asked",
    [(-1, 1800, 180, 0.8, 20), (1, 0, 180, 0.8, 20), (1, 1800, 180, 1.0, 20), (1, 1800, 180, 0.8, -1), (10**9, 1, 600, 0.8, 20)],
)  # fmt: skip
def test_what_has_no_answer_is_refused(asked: tuple[float, float, float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"."):
        agents_needed(*asked)
