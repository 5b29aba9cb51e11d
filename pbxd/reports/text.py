"""A report as an aligned table for the terminal and for a mail's plain text."""

from __future__ import annotations

from rich.cells import cell_len

from pbxd.reports.cells import clean, matrix, numeric, row, subtitle
from pbxd.stats.report import Report

GAP = "  "


def draw(report: Report) -> str:
    """The whole report; its widths are counted in terminal cells, so that 東京 stays in its column."""
    report = matrix(report)
    head = [clean(column.title) for column in report.columns]
    body = [row(report.columns, values) for values in report.rows]
    total = [row(report.columns, report.total)] if report.total is not None else []
    widths = [max(map(cell_len, column)) for column in zip(head, *body, *total, strict=True)]
    right = [numeric(column) for column in report.columns]

    def line(cells: list[str]) -> str:
        padded = (
            " " * (width - cell_len(text)) + text if at_right else text + " " * (width - cell_len(text))
            for text, width, at_right in zip(cells, widths, right, strict=True)
        )
        return GAP.join(padded).rstrip()

    rule = "-" * (sum(widths) + len(GAP) * (len(widths) - 1))
    lines = [clean(report.title), subtitle(report), "", line(head), rule, *map(line, body)]
    if not body:
        lines.append("nothing in this period")
    if total:
        lines += [rule, line(total[0])]
    if report.notes:
        lines += ["", *(f"* {clean(note)}" for note in report.notes)]
    return "\n".join(lines) + "\n"
