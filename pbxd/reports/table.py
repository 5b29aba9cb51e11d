"""A report for programs: JSON, which can be read back, and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, get_args

from pbxd.calls.record import iso
from pbxd.errors import ReportError
from pbxd.stats.report import Chart, Column, Kind, Report

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CHARTS = ("bar", "stacked", "line", "heatmap")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes what begins so for a formula, and runs it


def as_json(report: Report) -> dict[str, Any]:
    """The report as one object: its head, and its rows as objects by column name. Times in ISO 8601 UTC, lengths in seconds."""
    return {
        "name": report.name,
        "title": report.title,
        "site": report.site,
        "zone": report.zone,
        "start": iso(report.start),
        "end": iso(report.end),
        "by": report.by,
        "columns": [{"name": column.name, "title": column.title, "kind": column.kind} for column in report.columns],
        "rows": [_by_name(report, values) for values in report.rows],
        "total": None if report.total is None else _by_name(report, report.total),
        "charts": [
            {"kind": chart.kind, "title": chart.title, "x": chart.x, "y": list(chart.y), "value": chart.value}
            for chart in report.charts
        ],
        "notes": list(report.notes),
    }


def _by_name(report: Report, values: tuple[Any, ...]) -> dict[str, Any]:
    return {column.name: value for column, value in zip(report.columns, values, strict=True)}


def draw_json(report: Report) -> str:
    """`as_json`, as text."""
    return json.dumps(as_json(report), ensure_ascii=False, indent=1) + "\n"


def read_report(found: Any) -> Report:  # noqa: ANN401 - JSON
    """The report that `as_json` wrote. ReportError if it is none."""
    try:
        columns = tuple(Column(_text(c["name"]), _text(c["title"]), _kind(c["kind"])) for c in found["columns"])
        return Report(
            name=_text(found["name"]),
            title=_text(found["title"]),
            site=_text(found["site"]),
            zone=_text(found["zone"]),
            start=_moment(found["start"]),
            end=_moment(found["end"]),
            by=_text(found["by"]),
            columns=columns,
            rows=tuple(_values(columns, values) for values in found["rows"]),
            total=None if found["total"] is None else _values(columns, found["total"]),
            charts=tuple(_chart(chart, columns) for chart in found["charts"]),
            notes=tuple(_text(note) for note in found["notes"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ReportError(f"this is no report as pbxd makes it: {type(error).__name__}: {error}") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _kind(value: object) -> Kind:
    if value not in get_args(Kind):
        raise ValueError(f"{value!r} is no kind of column")
    return value  # type: ignore[return-value]  # it is one of them


def _moment(text: object) -> int:
    at = datetime.fromisoformat(_text(text))
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no zone")
    return (at - EPOCH) // timedelta(microseconds=1)


def _values(columns: tuple[Column, ...], found: Mapping[str, Any]) -> tuple[Any, ...]:
    values = tuple(found[column.name] for column in columns)
    if not all(value is None or isinstance(value, str | int | float) for value in values):
        raise TypeError("a value is a text, a number or null")
    if any(isinstance(value, float) and not isfinite(value) for value in values):
        raise ValueError("a number is finite")
    return values


def _chart(found: Mapping[str, Any], columns: tuple[Column, ...]) -> Chart:
    known = {column.name for column in columns}
    chart = Chart(found["kind"], _text(found["title"]), _text(found["x"]), tuple(found["y"]), _text(found["value"]))
    named = {chart.x, *chart.y} | ({chart.value} if chart.kind == "heatmap" else set())
    if chart.kind not in CHARTS or not chart.y or not named <= known:
        raise ValueError(f"the chart {chart.title!r} shows columns that are not there")
    return chart


def draw_csv(report: Report) -> str:
    """RFC 4180: a line of column names, then the rows; without the total, so that a sum over a column is right.

    Values are plain: seconds, shares from 0 to 1, nothing for what is not known. Text that a spreadsheet would take for a formula
    (a caller may choose his name) gets an apostrophe before it.
    """
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow([column.name for column in report.columns])
    for values in report.rows:
        writer.writerow([_plain(value) for value in values])
    return written.getvalue()


def _plain(value: Any) -> Any:  # noqa: ANN401 - of any kind
    return "'" + value if isinstance(value, str) and value.startswith(FORMULA) else value
