"""How values are written."""

from __future__ import annotations

from typing import Any

import pytest

from pbxd.reports.cells import cell, clean, file_name, length, matrix, period
from pbxd.stats.report import Kind, Report
from tests.reports.conftest import DAY, MONDAY, agents, days, heatmap

HOUR = 3_600_000_000


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("seconds", 0, "0:00:00"),
        ("seconds", 59.6, "0:01:00"),
        ("seconds", 3725, "1:02:05"),
        ("seconds", 360_000, "100:00:00"),
        ("seconds", -5, "-0:00:05"),
        ("share", 0.12345, "12.3 %"),
        ("share", 1, "100.0 %"),
        ("count", 1234567, "1,234,567"),
        ("number", 4.2091, "4.21"),
        ("text", "Zoë", "Zoë"),
        ("count", "Total", "Total"),
        *((kind, None, "–") for kind in ("text", "count", "seconds", "share", "number")),  # noqa: RUF001 - as it is shown
    ],
)
def test_values(kind: Kind, value: Any, expected: str) -> None:
    assert cell(kind, value) == expected


def test_harmful_text_is_made_safe() -> None:
    assert clean("a\x1b[31m\x00b\u202ec\u2028d\te\ud800") == "a\ufffd[31m\ufffdbc d e\ufffd"
    assert clean("Zoë 東京 👩‍🔧") == "Zoë 東京 👩‍🔧"


def test_lengths_round_to_whole_seconds() -> None:
    assert [length(value) for value in (0.4, 0.6, 3599.5)] == ["0:00:00", "0:00:01", "1:00:00"]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (MONDAY, MONDAY + DAY, "Monday 24 November 2025"),
        (MONDAY, MONDAY + 7 * DAY, "24 – 30 November 2025"),  # noqa: RUF001
        (MONDAY, MONDAY + 14 * DAY, "24 November – 7 December 2025"),  # noqa: RUF001
        (MONDAY, MONDAY + 42 * DAY, "24 November 2025 – 4 January 2026"),  # noqa: RUF001
        (MONDAY, MONDAY + 9 * HOUR, "24 November 2025, 00:00 – 24 November 2025, 09:00"),  # noqa: RUF001
    ],
)
def test_periods(start: int, end: int, expected: str) -> None:
    assert period(_over(start, end)) == expected


def test_a_day_of_25_hours_is_one_day() -> None:
    sunday = 1_761_429_600_000_000  # 2025-10-26 00:00 in Berlin, when summer time ends
    assert period(_over(sunday, sunday + 25 * HOUR)) == "Sunday 26 October 2025"


def _over(start: int, end: int) -> Report:
    found = days()
    return Report(found.name, found.title, found.site, found.zone, start, end, found.by, found.columns, ())


def test_file_names_need_no_quotes() -> None:
    assert file_name(agents(), "pdf") == "praxis-odz-agents-2025-11-24.pdf"


def test_a_heatmaps_table_is_its_matrix() -> None:
    made = matrix(heatmap())
    assert [column.title for column in made.columns] == ["Weekday", *(f"{hour:02}" for hour in range(24))]
    assert made.rows[0] == ("Mon", *range(24))
    assert made.rows[1] == ("Tue", *[None] * 24)
    assert matrix(days()) == days()
