"""The E-model against the values that ITU-T publishes, and against what must hold for all values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxd.calls.emodel import CODECS, G711, Codec, delay_impairment, loss_impairment, mean_opinion, mos, rating

LOSS = st.floats(0, 1)
DELAY = st.floats(0, 60_000)
CODEC = st.sampled_from(sorted(CODECS))


@pytest.mark.parametrize(
    ("r", "expected"), [(93.2, 4.41), (90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58), (100, 4.5), (0, 1), (-9, 1)]
)  # fmt: skip
def test_mos_of_r_is_that_of_g107_annex_b(r: float, expected: float) -> None:
    assert mean_opinion(r) == pytest.approx(expected, abs=0.01)


def test_the_polynomials_dip_is_cut_off() -> None:
    assert mean_opinion(3) == 1
    assert mean_opinion(6.5) == pytest.approx(1, abs=0.001)


def test_a_perfect_connection() -> None:
    assert rating(0, 0) == 93.2
    assert mos(0, 100) == pytest.approx(4.41, abs=0.005)


@pytest.mark.parametrize(
    ("codec", "loss", "expected"),
    [
        (G711, 0.0, 0.0),
        (G711, 0.01, 95 * 1 / 26.1),
        (Codec(0, 4.3), 0.01, 95 * 1 / 5.3),  # G.711 without concealment
        (CODECS["g729"], 0.0, 11.0),
        (CODECS["g729"], 0.02, 11 + 84 * 2 / 21),
        (CODECS["g723"], 0.05, 15 + 80 * 5 / 21.1),
    ],
)
def test_effective_equipment_impairment(codec: Codec, loss: float, expected: float) -> None:
    assert loss_impairment(loss, codec) == pytest.approx(expected)


def test_loss_in_bursts_is_worse() -> None:
    assert loss_impairment(0.03, G711, burst=2) > loss_impairment(0.03, G711)


@pytest.mark.parametrize(("delay", "expected"), [(0, 0), (100, 0), (150, 0.2), (200, 3.0), (300, 14.0), (400, 24.0)])
def test_delay_impairment(delay: float, expected: float) -> None:
    """G.107's curve: flat up to 100 ms, hardly felt at 150, steep past 200."""
    assert delay_impairment(delay) == pytest.approx(expected, abs=0.8)


@given(LOSS, LOSS, DELAY, CODEC)
def test_more_loss_is_never_better(one: float, two: float, delay: float, codec: str) -> None:
    low, high = sorted((one, two))
    assert mos(high, delay, CODECS[codec]) <= mos(low, delay, CODECS[codec])


@given(LOSS, DELAY, DELAY, CODEC)
def test_more_delay_is_never_better(loss: float, one: float, two: float, codec: str) -> None:
    low, high = sorted((one, two))
    assert mos(loss, high, CODECS[codec]) <= mos(loss, low, CODECS[codec]) + 1e-12


@given(LOSS, DELAY, CODEC, st.floats(1, 10))
def test_the_scale(loss: float, delay: float, codec: str, burst: float) -> None:
    assert 1 <= mos(loss, delay, CODECS[codec], burst) <= 4.5
