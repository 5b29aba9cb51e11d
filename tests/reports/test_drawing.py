"""Every way to draw a report: what stands in it, that it harms nobody, and that it is the same each time."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from pbxd.errors import ReportError
from pbxd.reports import charts, page, pdf, table, text
from pbxd.stats.report import Chart, Column, Report
from tests.reports.conftest import DAY, MONDAY, agents, days, heatmap, nothing

PROJECT = Path(__file__).parent.parent.parent


class TestText:
    """The table of the terminal."""

    def test_columns_are_aligned(self) -> None:
        lines = text.draw(agents()).splitlines()
        assert lines[:2] == ["Agents", "Praxis Łódź · 24 – 30 November 2025 · Europe/Berlin · by agent"]  # noqa: RUF001
        rows = lines[3:4] + lines[5:10] + lines[11:12]
        assert len({cell_len(line) for line in rows}) == 1  # all numbers end in the same column
        assert "1,204   12:04:42     12.3 %  4.21" in lines[5]
        assert lines[-1] == "* Values of < 5 calls are not shown."

    def test_wide_letters_keep_their_column(self) -> None:
        columns = (Column("queue", "Queue", "text"), Column("calls", "Calls", "count"))
        made = Report("queues", "Queues", "pbx", "UTC", 0, DAY, "queue", columns, (("東京", 1), ("Bonn!", 2)))
        assert text.draw(made).splitlines()[-2:] == ["東京       1", "Bonn!      2"]

    def test_nothing_moves_the_cursor(self) -> None:
        assert not set(text.draw(agents())) & set("\x1b\x00\r\u202e")

    def test_no_rows(self) -> None:
        assert "nothing in this period" in text.draw(nothing())


class TestJson:
    """Written and read back."""

    def test_round_trip(self, report: Report) -> None:
        assert table.read_report(json.loads(table.draw_json(report))) == report

    def test_rows_are_objects(self) -> None:
        found = table.as_json(agents())
        assert (found["start"], found["end"]) == ("2025-11-23T23:00:00.000000Z", "2025-11-30T23:00:00.000000Z")
        assert found["rows"][0] == {
            "agent": "Zoë",
            "calls": 1204,
            "talk_time": 43_482.4,
            "occupancy": 0.1234,
            "mos": 4.209,
        }
        assert found["total"]["agent"] == "All"

    @pytest.mark.parametrize(
        "change",
        [
            {"start": "2025-11-23"},
            {"start": 1},
            {"columns": [{"name": "a", "title": "A", "kind": "colour"}]},
            {"rows": [{"agent": "x"}]},
            {"rows": 1},
            {"charts": [{"kind": "bar", "title": "", "x": "agent", "y": ["none"], "value": ""}]},
            {"charts": [{"kind": "pie", "title": "", "x": "agent", "y": ["calls"], "value": ""}]},
            {"notes": [1]},
            {"rows": [{"agent": "x", "calls": float("nan"), "talk_time": 1, "occupancy": 1, "mos": 1}]},
            {"rows": [{"agent": [], "calls": 1, "talk_time": 1, "occupancy": 1, "mos": 1}]},
        ],
    )
    def test_what_is_no_report_is_refused(self, change: dict[str, Any]) -> None:
        with pytest.raises(ReportError, match="no report"):
            table.read_report(table.as_json(agents()) | change)

    @given(
        st.recursive(
            st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
        )
    )
    def test_any_json_raises_nothing_but_report_error(self, found: Any) -> None:
        with pytest.raises(ReportError):
            table.read_report(found)


class TestCsv:
    """RFC 4180, and no formula."""

    def test_it_is_rfc_4180(self) -> None:
        drawn = table.draw_csv(agents())
        assert drawn.endswith("\r\n")
        rows = list(csv.reader(io.StringIO(drawn)))
        assert rows[0] == ["agent", "calls", "talk_time", "occupancy", "mos"]
        assert rows[1] == ["Zoë", "1204", "43482.4", "0.1234", "4.209"]
        assert rows[2][3:] == ["", ""]
        assert len(rows) == 6  # without the total

    @pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
    def test_text_is_never_a_formula(self, start: str) -> None:
        made = Report(
            "a",
            "A",
            "s",
            "UTC",
            0,
            1,
            "a",
            (Column("a", "A", "text"), Column("n", "N", "number")),
            ((start + "1", -1),),
        )
        assert list(csv.reader(io.StringIO(table.draw_csv(made), newline="")))[1] == [f"'{start}1", "-1"]


class Reader(HTMLParser):
    """Collects tags, attributes and text; and that every element is closed."""

    def __init__(self, drawn: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.said: list[str] = []
        self.feed(drawn)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said.append(data)


class TestPage:
    """One file, for every eye."""

    def test_it_is_whole(self, report: Report) -> None:
        read = Reader(page.draw(report))
        assert not read.open
        ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
        assert len(ids) == len(set(ids))

    def test_it_fetches_nothing_and_runs_nothing(self, report: Report) -> None:
        drawn = page.draw(report)
        for tag, attributes in Reader(drawn).tags:
            assert tag not in ("script", "img", "link", "iframe", "object")
            links = [value or "" for name, value in attributes.items() if name.endswith(("href", "src"))]
            assert all(link.startswith("#") for link in links)
            assert not any(name.startswith("on") for name in attributes)
        assert not re.search(r"url\((?!#)|@import", drawn)

    def test_text_is_escaped(self) -> None:
        drawn = page.draw(agents())
        assert "<script" not in drawn
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in drawn

    def test_charts_follow_the_readers_colours(self) -> None:
        drawn = page.draw(agents())
        assert "var(--series-0)" in drawn
        assert "#0a0b" not in drawn
        assert "prefers-color-scheme:dark" in drawn

    def test_the_table_has_headers(self) -> None:
        tags = Reader(page.draw(agents())).tags
        assert sum(attributes.get("scope") == "col" for _, attributes in tags) == 5
        assert sum(attributes.get("scope") == "row" for _, attributes in tags) == 6
        assert [a["aria-label"] for tag, a in tags if tag == "svg"] == ["Calls by agent", "Time"]

    def test_no_rows(self) -> None:
        drawn = page.draw(nothing())
        assert "Nothing in this period." in drawn
        assert "<svg" not in drawn


class TestCharts:
    """What is in them; how they look was looked at."""

    def test_names_of_days_and_queues(self) -> None:
        drawn = charts.svg(days(), days().charts[0], themed=True)
        assert "1 Nov" in drawn
        assert "$x_1$ &amp; " in charts.svg(agents(), agents().charts[0], themed=True)

    def test_more_bars_than_have_room(self) -> None:
        columns = (Column("queue", "Queue", "text"), Column("calls", "Calls", "count"))
        rows = tuple((f"q{n}", n) for n in range(charts.LANES + 9))
        made = Report(
            "queues",
            "Queues",
            "pbx",
            "UTC",
            0,
            DAY,
            "queue",
            columns,
            rows,
            charts=(Chart("bar", "Q", "queue", ("calls",)),),
        )
        assert "9 more are in the table." in page.draw(made)
        assert pdf.draw(made).startswith(b"%PDF")

    @pytest.mark.parametrize("high", [0.4, 1, 59, 600, 9000, 90_000, 10**6, 10**9, 10**15])
    def test_lengths_have_few_ticks(self, high: float) -> None:
        assert 1 <= high / charts._seconds_step(high) <= 6 or high < 1

    @pytest.mark.parametrize("kind", ["bar", "stacked", "line"])
    @pytest.mark.parametrize("value", [None, 0, 10**9, 0.001, float("nan"), float("inf")])
    def test_any_values_are_drawn(self, kind: Any, value: float | None) -> None:
        for column in ("count", "seconds", "share", "number"):
            columns = (Column("day", "Day", "text"), Column("v", "V", column), Column("w", "W", column))
            rows = tuple((f"2025-01-{n:02}", value, value) for n in range(1, 4))
            made = Report("x", "X", "pbx", "UTC", 0, DAY, "day", columns, rows)
            text.draw(made)
            assert charts.svg(made, Chart(kind, "X", "day", ("v", "w"))).startswith("<svg")

    def test_an_image_for_mail(self) -> None:
        assert charts.png(heatmap(), heatmap().charts[0]).startswith(b"\x89PNG")

    @given(name=st.text(max_size=40))
    @settings(max_examples=8, deadline=None)
    def test_any_name_is_drawn(self, name: str) -> None:
        columns = (Column("queue", name, "text"), Column("calls", "Calls", "count"))
        made = Report(
            "queues", name, name, "UTC", MONDAY, MONDAY + DAY, "queue", columns, ((name, 1),),
            charts=(Chart("bar", name, "queue", ("calls",)),), notes=(name,),
        )  # fmt: skip
        Reader(page.draw(made))
        assert pdf.draw(made).startswith(b"%PDF")
        text.draw(made)
        table.draw_csv(made)


def streams(drawn: bytes) -> list[bytes]:
    return re.findall(rb"stream\r?\n(.*?)\r?\nendstream", drawn, re.DOTALL)


def inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return stream


class TestPdf:
    """The same as the page, on paper."""

    def test_names_can_be_copied_from_it(self) -> None:
        """Each letter of `Łódź` has its code point in the embedded font's table."""
        drawn = pdf.draw(agents())
        tables = re.findall(rb"beginbfchar\n(.*?)endbfchar", b"".join(map(inflated, streams(drawn))), re.DOTALL)
        letters = {chr(int(code, 16)) for table in tables for code in re.findall(rb"> <([0-9A-F]{4})>", table)}
        assert set("ŁódźZoëjciW") <= letters
        assert drawn.count(b"/FontFile2") == 2

    def test_every_page_has_its_number(self) -> None:
        columns = (Column("queue", "Queue", "text"), Column("calls", "Calls", "count"))
        rows = tuple((f"q{n}", n) for n in range(150))
        drawn = pdf.draw(Report("queues", "Queues", "pbx", "UTC", 0, DAY, "queue", columns, rows))
        assert len(re.findall(rb"/Type /Page\n", drawn)) == 4

    def test_it_is_drawn_whatever_it_holds(self, report: Report) -> None:
        assert pdf.draw(report).startswith(b"%PDF")


DRAW = """
import hashlib, sys
from tests.reports.conftest import agents, days, heatmap
from pbxd.reports import charts, page, pdf
for report in (agents(), days(), heatmap()):
    print(hashlib.sha256(page.draw(report).encode()).hexdigest(), hashlib.sha256(pdf.draw(report)).hexdigest(),
          hashlib.sha256(charts.png(report, report.charts[0])).hexdigest())
"""


def test_the_same_report_is_the_same_bytes_in_every_process() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", DRAW], cwd=PROJECT, env=os.environ | {"PYTHONHASHSEED": seed, "TZ": zone},
            check=True, capture_output=True, text=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }  # fmt: skip
    (first,) = found
    assert hashlib.sha256(page.draw(agents()).encode()).hexdigest() in first


def test_the_daemon_never_loads_what_draws() -> None:
    names = "'matplotlib', 'numpy', 'fpdf', 'aiosmtplib'"
    code = f"import sys, pbxd.daemon, pbxd.reports.scheduler, pbxd.cli.main; print([n for n in ({names}) if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
