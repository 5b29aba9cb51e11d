"""The rule for what begins late, and what counts as wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.soak.verdict import Made, Talk, due, judged

TONES = {"111": 500, "112": 600}
TALK = Talk("111", "112", 100.0, 110.0)
GOOD = Made("1.1", 100.1, 110.1, frozenset({"111"}), frozenset({"111", "112"}), 10.0, ((0, 0), *((500, 600),) * 49), ())


@pytest.mark.parametrize(
    ("downs", "latest"),
    [
        ([], 102),
        ([(50, 60), (120, 130)], 102),
        ([(95, 103)], 105),
        ([(101, 103)], 105),  # it was up for too short a time
        ([(102.5, 104)], 102),  # it was up for long enough before
        ([(95, 103), (104, 106)], 108),
        ([(95, 109)], None),
    ],
)
def test_when_it_must_have_begun(downs: list[tuple[float, float]], latest: float | None) -> None:
    assert due(TALK, downs) == latest


def test_what_is_right() -> None:
    assert judged([TALK], [GOOD], [], TONES) == []
    assert judged([TALK], [], [(99, 109)], TONES) == []


@pytest.mark.parametrize(
    ("made", "what"),
    [
        ([], "it has no recording"),
        ([GOOD, replace(GOOD, id="1.2")], "it has 2 recordings"),
        ([GOOD, replace(GOOD, start=300, end=310)], "of no talk"),
        ([replace(GOOD, start=103.0)], "too late"),
        ([replace(GOOD, start=98.0)], "before the talk"),
        ([replace(GOOD, end=112.0)], "from the talk's end"),
        ([replace(GOOD, seconds=9.0)], "9.00 s of sound"),
        ([replace(GOOD, left=frozenset({"112"}))], "are not 600 and 500 Hz"),
        ([replace(GOOD, heard=(*GOOD.heard[:20], (700, 600), *GOOD.heard[21:]))], "1 of 44 moments"),
        ([replace(GOOD, heard=(*GOOD.heard[:20], *((0, 600),) * 11, *GOOD.heard[31:]))], "silent for 2.2 s"),
        ([replace(GOOD, pieces=2)], "2 pieces"),
        ([replace(GOOD, faults=("torn",))], "torn"),
    ],
)
def test_what_is_wrong(made: list[Made], what: str) -> None:
    assert any(what in one for one in judged([TALK], made, [], TONES))
