"""How values of a report are written for people. The same everywhere: terminal, page, PDF, mail and charts."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any
from zoneinfo import ZoneInfo

from pbxd.stats.report import Column, Kind, Report

UNKNOWN = "–"  # noqa: RUF001 - the dash that tables use for what is not known
RANGE = " – "  # noqa: RUF001 - likewise, from … to
BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they reorder the text around them


def clean(text: object) -> str:
    """A caller's or an admin's text, safe to draw: no control character that moves a cursor, no mark that reorders the line."""
    return "".join(_visible(char) for char in str(text) if char not in BIDI)


def _visible(char: str) -> str:
    category = unicodedata.category(char)
    if category in ("Zl", "Zp") or char in "\t\n\r":
        return " "
    return "\ufffd" if category in ("Cc", "Cs") else char


def length(seconds: float) -> str:
    """`h:mm:ss`, rounded to the second."""
    whole = round(seconds)
    sign, whole = ("-", -whole) if whole < 0 else ("", whole)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}:{minutes:02}:{rest:02}"


def cell(kind: Kind, value: Any) -> str:  # noqa: ANN401 - of any kind
    """One value as text: `0:03:05`, `12.3 %`, `1,234`, `4.21`; what is not known is a dash."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return UNKNOWN
    if kind == "text" or not isinstance(value, int | float):
        return clean(value)
    if kind == "seconds":
        return length(value)
    if kind == "share":
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if kind == "count" else f"{value:,.2f}"


def row(columns: tuple[Column, ...], values: tuple[Any, ...]) -> list[str]:
    """A row as text. The first value of a total is a label, whatever its column's kind."""
    return [cell(column.kind, value) for column, value in zip(columns, values, strict=True)]


def matrix(report: Report) -> Report:
    """A heatmap's table as its chart has it, a column for each value of x: 7 lines of 24 hours, not 168. Others as they are."""
    heatmap = next((chart for chart in report.charts if chart.kind == "heatmap"), None)
    if heatmap is None or {heatmap.x, heatmap.y[0], heatmap.value} != {column.name for column in report.columns}:
        return report
    at = {column.name: n for n, column in enumerate(report.columns)}
    x, y, value = at[heatmap.x], at[heatmap.y[0]], at[heatmap.value]
    across = list(dict.fromkeys(values[x] for values in report.rows))
    down = list(dict.fromkeys(values[y] for values in report.rows))
    found = {(values[x], values[y]): values[value] for values in report.rows}
    kind = report.columns[value].kind
    columns = tuple(Column(str(n), cell(report.columns[x].kind, name), kind) for n, name in enumerate(across))
    rows = tuple((name, *(found.get((column, name)) for column in across)) for name in down)
    return replace(report, columns=(report.columns[y], *columns), rows=rows, total=None, charts=())


def numeric(column: Column) -> bool:
    """Whether its values are right-aligned."""
    return column.kind != "text"


def local(at: int, zone: str) -> datetime:
    """Microseconds UTC as a time in the report's zone."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)).astimezone(ZoneInfo(zone))


def period(report: Report) -> str:
    """`Monday 23 November 2026`, `16 – 22 November 2026`, or from and to with times."""  # noqa: RUF002
    start, end = local(report.start, report.zone), local(report.end, report.zone)
    if any((at.hour, at.minute, at.second, at.microsecond) != (0, 0, 0, 0) for at in (start, end)) or end <= start:
        return f"{start:%-d %B %Y, %H:%M}{RANGE}{end:%-d %B %Y, %H:%M}"
    last = end.date() - timedelta(days=1)  # the end is exclusive, and people name the last day
    if last == start.date():
        return f"{start:%A %-d %B %Y}"
    if (last.year, last.month) == (start.year, start.month):
        return f"{start:%-d}{RANGE}{last:%-d %B %Y}"
    return (
        f"{start:%-d %B}{RANGE}{last:%-d %B %Y}"
        if last.year == start.year
        else f"{start:%-d %B %Y}{RANGE}{last:%-d %B %Y}"
    )


def subtitle(report: Report) -> str:
    """What stands below the title: the site, the period, its zone and what a row is."""
    return " · ".join((clean(report.site), period(report), report.zone, f"by {clean(report.by)}"))


def file_name(report: Report, suffix: str) -> str:
    """A name for the report as a file: `pbx-queues-2026-11-23.pdf`. Nothing in it needs quoting."""
    plain = unicodedata.normalize("NFKD", report.site).encode("ascii", "ignore").decode()
    site = re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-").lower() or "pbx"
    return f"{site[:40]}-{re.sub(r'[^a-z]+', '', report.name)}-{local(report.start, report.zone):%Y-%m-%d}.{suffix}"
