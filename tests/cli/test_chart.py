"""The sequence chart of a call, as people see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pbxd.calls.interpreter import records
from pbxd.calls.record import as_json
from pbxd.calls.site import Site
from pbxd.cli.chart import LEGEND, chart

JOURNALS = Path(__file__).parent.parent / "calls" / "journals"


def record(name: str) -> dict[str, Any]:
    (found,) = records((JOURNALS / f"{name}.csv").read_bytes().splitlines(), Site(["PJSIP/trunk-*"], ["1XX"]))
    return as_json(found)


def rows(name: str, width: int = 120) -> list[str]:
    return [line[14:] for line in chart(record(name), width)][1:-2]


def test_a_held_call() -> None:
    assert [" ".join(row.split()) for row in rows("held")] == [
        "● 129 calls 130",
        "┆───────▶┆ 130 rings",
        "┆ ○ 130 answers",
        "○ │ 129 answers",
        "╎ │ 129 is put on hold",
        "┃ ┃ 129 is taken back",
        "│ ✕ 130 is gone",
        "✕ 129 is gone",
    ]


def test_who_rings_whom_after_a_consultation() -> None:
    """The third phone is rung by the transferor's second line, not by the caller."""
    row = next(row for row in rows("attended-then-blind") if row.endswith("131 rings"))
    assert row.index("─") > row.index("│")


@pytest.mark.parametrize("name", sorted(path.stem for path in JOURNALS.glob("*.csv")))
@pytest.mark.parametrize("width", [40, 80, 200])
def test_every_scenario_can_be_drawn(name: str, width: int) -> None:
    lines = chart(record(name), width)
    assert lines[-1] == LEGEND
    assert len(lines) > 4


def test_legs_that_only_rang_are_left_out_where_they_do_not_fit() -> None:
    lines = chart(record("group-without-answer"), 60)
    assert any("more legs that only rang" in line for line in lines)
