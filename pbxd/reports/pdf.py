"""A report as PDF, by fpdf2: the tables and charts of the page, page numbers, and the letters of all of Europe.

The font, DejaVu Sans, is the one that matplotlib brings; only the letters that are used go into the file. Same report, same bytes.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pbxd.reports.cells import clean, matrix, numeric, row, subtitle
from pbxd.reports.charts import left_out, svg
from pbxd.reports.page import totals
from pbxd.stats.report import Chart, Report

if TYPE_CHECKING:
    from fpdf import FPDF

FONT = "DejaVu"
MARGIN = 15.0  # mm
POINTS = 72.0  # in an inch
MM = 25.4  # in an inch
UPRIGHT_COLUMNS = 7  # a table of more lies on its side
LINE = 5.4  # mm of a table's line
SMALL, BODY, HEAD, TITLE = 7.5, 8.5, 11.0, 17.0  # points
STRONG, INK, SOFT, GRID, BAND = (20, 32, 43), (61, 68, 77), (102, 112, 124), (227, 230, 234), (246, 248, 250)
NAME_WIDTH = 70.0  # mm that one column of names may take at most


def draw(report: Report) -> bytes:
    """The whole document."""
    document = _document(report)
    document.add_page()
    _head(document, report)
    _key_figures(document, report)
    if report.rows:
        for number, chart in enumerate(report.charts):
            _figure(document, report, chart, number)
    _table(document, matrix(report))
    _notes(document, report)
    return bytes(document.output())


def _document(report: Report) -> FPDF:
    import matplotlib as mpl  # noqa: PLC0415 - heavy: only its font's place is asked for
    from fpdf import FPDF  # noqa: PLC0415 - heavy

    class Document(FPDF):
        """A4 with a page number and the report's name at the foot."""

        def footer(self) -> None:
            """Called by fpdf2 at the end of each page."""
            self.set_y(-12)
            self.set_font(FONT, size=SMALL)
            self.set_text_color(*SOFT)
            half = self.epw / 2
            self.cell(half, 5, f"{clean(report.title)} · {clean(report.site)}")
            self.cell(half, 5, f"{self.page_no()} / {{nb}}", align="R")

    document = Document("landscape" if len(matrix(report).columns) > UPRIGHT_COLUMNS else "portrait", "mm", "A4")
    fonts = f"{mpl.get_data_path()}/fonts/ttf"
    document.add_font(FONT, "", f"{fonts}/DejaVuSans.ttf")
    document.add_font(FONT, "B", f"{fonts}/DejaVuSans-Bold.ttf")
    document.set_margin(MARGIN)
    document.set_auto_page_break(auto=True, margin=MARGIN + 3)
    document.set_title(f"{clean(report.title)}, {subtitle(report)}")
    document.set_lang("en")
    document.set_creator("pbxd")
    # Not the clock: the same report drawn twice is the same file.
    document.set_creation_date(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=report.end))
    return document


def _say(document: FPDF, size: float, colour: tuple[int, int, int], *, bold: bool = False) -> None:
    document.set_font(FONT, "B" if bold else "", size)
    document.set_text_color(*colour)


def _head(document: FPDF, report: Report) -> None:
    _say(document, TITLE, STRONG, bold=True)
    document.multi_cell(0, 8, clean(report.title), align="L", new_x="LMARGIN", new_y="NEXT")
    _say(document, BODY, SOFT)
    document.multi_cell(0, 5, subtitle(report), align="L", new_x="LMARGIN", new_y="NEXT")
    document.ln(3)


def _key_figures(document: FPDF, report: Report) -> None:
    found = totals(report)
    if not found:
        return
    width, top, height = document.epw / len(found), document.get_y(), 13.0
    document.set_draw_color(*GRID)
    document.rect(document.l_margin, top, document.epw, height, round_corners=True, corner_radius=1.5)
    for n, (title, text) in enumerate(found):
        left = document.l_margin + n * width
        if n:
            document.line(left, top, left, top + height)
        _say(document, SMALL, SOFT)
        document.set_xy(left + 1.5, top + 1.5)
        document.cell(width - 3, 4, _fitting(document, title, width - 4))
        _say(document, HEAD + 1, STRONG, bold=True)
        document.set_xy(left + 1.5, top + 6)
        document.cell(width - 3, 5.5, _fitting(document, text, width - 4))
    document.set_xy(document.l_margin, top + height + 4)


def _figure(document: FPDF, report: Report, chart: Chart, number: int) -> None:
    """A chart with its title, on the next page if this one has no room for it whole."""
    drawn = svg(report, chart, width=document.epw / MM, number=number)
    viewed = drawn[drawn.index('viewBox="') + 9 :].partition('"')[0].split()
    height = float(viewed[3]) / POINTS * MM
    more = left_out(report, chart)
    if document.will_page_break(height + 12 + 4 * bool(more)):
        document.add_page()
    _say(document, HEAD, STRONG, bold=True)
    document.cell(0, 6, clean(chart.title), new_x="LMARGIN", new_y="NEXT")
    document.ln(1)
    top = document.get_y()
    document.image(io.BytesIO(drawn.encode()), x=document.l_margin, y=top, w=document.epw, alt_text=clean(chart.title))
    document.set_xy(document.l_margin, top + height + 1)
    if more:
        _say(document, SMALL, SOFT)
        document.cell(0, 4, f"{more} more are in the table.", new_x="LMARGIN", new_y="NEXT")
    document.ln(4)


def _table(document: FPDF, report: Report) -> None:
    """All rows; the line of titles is on each page."""
    body = [row(report.columns, values) for values in report.rows]
    total = [row(report.columns, report.total)] if report.total is not None else []
    titles = [clean(column.title) for column in report.columns]
    widths = _widths(document, [titles, *total], body)
    aligns = ["R" if numeric(column) else "L" for column in report.columns]
    if document.will_page_break(LINE * 5):
        document.add_page()
    _line(document, titles, widths, aligns, kind="head")
    for n, cells in enumerate(body):
        if document.will_page_break(LINE * 2):
            document.add_page()
            _line(document, titles, widths, aligns, kind="head")
        _line(document, cells, widths, aligns, kind="band" if n % 2 else "row")
    if not body:
        _say(document, BODY, SOFT)
        document.cell(0, LINE + 2, "Nothing in this period.", new_x="LMARGIN", new_y="NEXT")
    for cells in total:
        _line(document, cells, widths, aligns, kind="total")
    document.ln(4)


def _widths(document: FPDF, bold: list[list[str]], plain: list[list[str]]) -> list[float]:
    """Widths of the columns in mm: as their widest text needs, and the rest shared out evenly."""
    _say(document, BODY, INK, bold=True)
    needed = [max(document.get_string_width(text) for text in texts) for texts in zip(*bold, strict=True)]
    _say(document, BODY, INK)
    for cells in plain:
        needed = [max(width, document.get_string_width(text)) for width, text in zip(needed, cells, strict=True)]
    widths = [min(width, NAME_WIDTH) + 4 for width in needed]
    spare = document.epw - sum(widths)
    if spare >= 0:
        return [width + spare / len(widths) for width in widths]
    return [width * document.epw / sum(widths) for width in widths]


def _line(document: FPDF, cells: list[str], widths: list[float], aligns: Any, *, kind: str) -> None:  # noqa: ANN401 - fpdf2's own
    """One line of the table; a text that is too long for its column is cut."""
    colour = {"head": SOFT, "total": STRONG}.get(kind, INK)
    _say(document, BODY, colour, bold=kind in ("head", "total"))
    document.set_fill_color(*BAND)
    document.set_draw_color(*GRID)
    left, top = document.l_margin, document.get_y()
    for n, (text, width, align) in enumerate(zip(cells, widths, aligns, strict=True)):
        if not n and kind in ("row", "band"):
            document.set_text_color(*STRONG)
        fitting = _fitting(document, text, width - 2)
        document.cell(width, LINE, fitting, align=align, fill=kind == "band")
        if not n:
            document.set_text_color(*colour)
    edge = top if kind == "total" else top + LINE
    document.set_line_width(0.4 if kind in ("head", "total") else 0.15)
    document.line(left, edge, left + document.epw, edge)
    document.set_xy(left, top + LINE)


def _fitting(document: FPDF, text: str, width: float) -> str:
    """As much of a text as a width in mm has room for."""
    if document.get_string_width(text) <= width:
        return text
    while text and document.get_string_width(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _notes(document: FPDF, report: Report) -> None:
    if not report.notes:
        return
    _say(document, BODY, SOFT)
    for note in report.notes:
        document.multi_cell(0, 4.6, f"• {clean(note)}", align="L", new_x="LMARGIN", new_y="NEXT")
