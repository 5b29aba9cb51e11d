"""A report as one HTML file: styles and charts are in it, nothing is fetched, no script runs. Light, dark and on paper."""

from __future__ import annotations

from html import escape

from pbxd.reports.cells import cell, clean, matrix, numeric, row, subtitle
from pbxd.reports.charts import left_out, svg
from pbxd.stats.report import Chart, Report

MANY = 12  # columns from which a table is set closer
FIGURES = 6  # totals that stand above the charts

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#3d444d;--strong:#14202b;--soft:#66707c;--grid:#e3e6ea;--band:#f6f8fa;
--series-0:#0072b2;--series-1:#e69f00;--series-2:#009e73;--series-3:#cc79a7;--series-4:#56b4e9;--series-5:#d55e00;
--shade-0:#f1f5f9;--shade-1:#d3e3f1;--shade-2:#a5c9e3;--shade-3:#6ba7d0;--shade-4:#2f80b7;--shade-5:#0b5a92;--shade-6:#08365c;
--cell-ink-0:#6b7480;--cell-ink-1:#3d444d;--cell-ink-2:#3d444d;--cell-ink-3:#14202b;--cell-ink-4:#fff;--cell-ink-5:#fff;
--cell-ink-6:#fff}
@media screen and (prefers-color-scheme:dark){:root{--paper:#12161b;--ink:#c3cad3;--strong:#f2f5f8;--soft:#98a2ae;--grid:#2c343d;
--band:#1a2027;--series-0:#4aa8e0;--series-1:#f0b429;--series-2:#2fc39a;--series-3:#dd94bd;--series-4:#9bd3f5;--series-5:#f0824a;
--shade-0:#1a2027;--shade-1:#16324a;--shade-2:#1a486c;--shade-3:#1f6394;--shade-4:#3584bd;--shade-5:#6cadde;--shade-6:#b4daf5;
--cell-ink-0:#7c8794;--cell-ink-1:#c3cad3;--cell-ink-2:#dfe6ee;--cell-ink-3:#fff;--cell-ink-4:#fff;--cell-ink-5:#0b1a27;
--cell-ink-6:#0b1a27}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:68rem;margin:0 auto;padding:2.5rem 1.5rem 3rem}
h1{margin:0;font-size:1.7rem;line-height:1.25;color:var(--strong);font-weight:650}
.under{margin:.3rem 0 0;color:var(--soft)}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:0;margin:1.8rem 0 0;padding:0;
border:1px solid var(--grid);border-radius:8px;overflow:hidden}
dl div{padding:.8rem 1rem;box-shadow:1px 1px 0 var(--grid)}
dt{font-size:.82rem;color:var(--soft)}
dd{margin:.1rem 0 0;font-size:1.45rem;font-weight:600;color:var(--strong);font-variant-numeric:tabular-nums}
figure{margin:2.2rem 0 0;break-inside:avoid}
figcaption,h2{margin:0 0 .6rem;font-size:1.05rem;font-weight:650;color:var(--strong)}
figure svg{display:block;width:100%;height:auto}
figure svg text{font-family:inherit!important}
.more{margin:.3rem 0 0;font-size:.85rem;color:var(--soft)}
section{margin-top:2.4rem}
.wide{overflow-x:auto}
table{width:100%;border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92rem}
th,td{padding:.42rem .7rem;text-align:left;vertical-align:top}
th:first-child,td:first-child{padding-left:.5rem}
.many th,.many td{padding:.36rem .3rem;font-size:.82rem}
.n{text-align:right;white-space:nowrap}
thead th{vertical-align:bottom;font-weight:600;color:var(--soft);border-bottom:2px solid var(--grid)}
tbody th{font-weight:500;color:var(--strong)}
tbody tr{border-bottom:1px solid var(--grid)}
tbody tr:nth-child(even){background:var(--band)}
tfoot th,tfoot td{font-weight:650;color:var(--strong);border-top:2px solid var(--grid)}
ul{margin:0;padding-left:1.1rem;color:var(--soft);font-size:.9rem}
.none{padding:1.5rem .5rem;color:var(--soft)}
@media print{@page{margin:14mm}main{max-width:none;padding:0}html{font-size:11px}body{font-size:1rem}
.wide{overflow:visible}thead{display:table-header-group}
tfoot{display:table-row-group}tr{break-inside:avoid}}
""".strip()


def draw(report: Report) -> str:
    """The whole page."""
    title = escape(clean(report.title))
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{title}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n<main>",
        f'<header>\n<h1>{title}</h1>\n<p class="under">{escape(subtitle(report))}</p>\n</header>',
        key_figures(report),
        *(figure(report, chart, number) for number, chart in enumerate(report.charts) if report.rows),
        table(matrix(report)),
        notes(report),
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(part for part in parts if part)


def totals(report: Report) -> list[tuple[str, str]]:
    """The first totals that are known, as titles and texts."""
    if report.total is None:
        return []
    return [
        (clean(column.title), cell(column.kind, value))
        for column, value in zip(report.columns[1:], report.total[1:], strict=True)
        if numeric(column) and value is not None
    ][:FIGURES]


def key_figures(report: Report) -> str:
    """The totals as large numbers."""
    found = totals(report)
    if not found:
        return ""
    return (
        "<dl>"
        + "".join(f"<div><dt>{escape(title)}</dt><dd>{escape(text)}</dd></div>" for title, text in found)
        + "</dl>"
    )


def figure(report: Report, chart: Chart, number: int) -> str:
    """A chart with its title. What it shows stands in the table too, which is what a screen reader reads."""
    title = escape(clean(chart.title))
    drawn = svg(report, chart, themed=True, number=number).replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
    more = left_out(report, chart)
    rest = f'\n<p class="more">{more} more are in the table.</p>' if more else ""
    return f"<figure>\n<figcaption>{title}</figcaption>\n{drawn.strip()}{rest}\n</figure>"


def table(report: Report) -> str:
    """All rows, with a header for each column and each row."""
    classes = [' class="n"' if numeric(column) else "" for column in report.columns]
    head = "".join(
        f'<th scope="col"{kind}>{escape(clean(column.title))}</th>'
        for column, kind in zip(report.columns, classes, strict=True)
    )
    body = "\n".join(f"<tr>{_cells(row(report.columns, values), classes)}</tr>" for values in report.rows)
    if not report.rows:
        body = f'<tr><td class="none" colspan="{len(report.columns)}">Nothing in this period.</td></tr>'
    foot = ""
    if report.total is not None:
        foot = f"\n<tfoot>\n<tr>{_cells(row(report.columns, report.total), classes)}</tr>\n</tfoot>"
    close = ' class="many"' if len(report.columns) > MANY else ""
    caption = escape(f"{clean(report.title)}, {subtitle(report)}")
    return (
        f'<section class="wide">\n<table{close} aria-label="{caption}">\n<thead>\n<tr>{head}</tr>\n</thead>\n'
        f"<tbody>\n{body}\n</tbody>{foot}\n</table>\n</section>"
    )


def _cells(texts: list[str], classes: list[str]) -> str:
    first, *others = (escape(text) for text in texts)
    rest = "".join(f"<td{kind}>{text}</td>" for text, kind in zip(others, classes[1:], strict=True))
    return f'<th scope="row"{classes[0]}>{first}</th>{rest}'


def notes(report: Report) -> str:
    """What a reader must know."""
    if not report.notes:
        return ""
    items = "".join(f"<li>{escape(clean(note))}</li>" for note in report.notes)
    return f"<section>\n<h2>Notes</h2>\n<ul>{items}</ul>\n</section>"
