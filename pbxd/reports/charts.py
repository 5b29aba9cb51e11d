"""Charts of a report, drawn by matplotlib: SVG for the page and the PDF, PNG for mail. Same report, same bytes.

matplotlib takes 100 MB and most of a second: it is imported when the first chart is drawn, and never by the daemon.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from datetime import date
from itertools import chain, count
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

from pbxd.reports.cells import UNKNOWN, cell, clean, length
from pbxd.stats.report import Chart, Column, Kind, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BARS = 160  # standing bars that can still be told apart; a chart of more says how many it leaves out
POINTS = 40  # points of a line that still have room for a dot each
LANES = 24  # horizontal ones, each with its name
STEPS = 6  # shades of a heatmap
TIMES = ("hour", "weekday", "day", "week", "month")  # rows that follow one another: their bars stand
CELL_TEXT = 24 * 7  # cells of a heatmap that still have room for their number
LABEL = 26  # characters of a name beside its bar
# steps of an axis of lengths, in seconds
SECONDS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of a chart. The series are Okabe and Ito's, which people with every kind of colour vision tell apart."""

    ink: str = "#3d444d"
    grid: str = "#e3e6ea"
    paper: str = "#ffffff"
    series: tuple[str, ...] = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
    shades: tuple[str, ...] = (
        "#f1f5f9",
        "#d3e3f1",
        "#a5c9e3",
        "#6ba7d0",
        "#2f80b7",
        "#0b5a92",
        "#08365c",
    )  # none, then steps
    cell_ink: tuple[str, ...] = ("#6b7480", "#3d444d", "#3d444d", "#14202b", "#ffffff", "#ffffff", "#ffffff")


LIGHT = Palette()
# Stand-ins that are replaced by CSS variables in the drawn SVG, so that one chart serves a light and a dark page.
VARIABLES = {
    "#0a0b01": "var(--ink)",
    "#0a0b02": "var(--grid)",
    "#0a0b03": "var(--paper)",
    **{f"#0a0b1{n}": f"var(--series-{n})" for n in range(6)},
    **{f"#0a0b2{n}": f"var(--shade-{n})" for n in range(STEPS + 1)},
    **{f"#0a0b3{n}": f"var(--cell-ink-{n})" for n in range(STEPS + 1)},
}
BY_VARIABLE = Palette(
    ink="#0a0b01",
    grid="#0a0b02",
    paper="#0a0b03",
    series=tuple(f"#0a0b1{n}" for n in range(6)),
    shades=tuple(f"#0a0b2{n}" for n in range(STEPS + 1)),
    cell_ink=tuple(f"#0a0b3{n}" for n in range(STEPS + 1)),
)


def svg(report: Report, chart: Chart, *, width: float = 10.0, themed: bool = False, number: int = 0) -> str:
    """The chart as an `<svg>` element, `width` inches wide. `themed`: colours are CSS variables, and text stays text in the page's
    own font; else the colours are LIGHT's and letters are paths. `number` tells the charts of one page apart.
    """
    import matplotlib as mpl  # noqa: PLC0415 - heavy, see above

    settings = {"svg.hashsalt": f"pbxd-{number}", "svg.fonttype": "none" if themed else "path"}
    with mpl.rc_context(STYLE | settings), warnings.catch_warnings():
        # A letter that the measuring font lacks is not worth a line in the log: the reader's own font has it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        drawn = io.StringIO()
        figure = _figure(report, chart, width, BY_VARIABLE if themed else LIGHT)
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = drawn.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    used = set(re.findall(r"#([A-Za-z0-9_-]+)[\")]", text))
    text = re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in used else "", text)
    return re.sub(r"#0a0b[0-9]{2}", lambda match: VARIABLES[match[0]], text) if themed else text


def png(report: Report, chart: Chart, *, width: float = 7.5, dpi: int = 144) -> bytes:
    """The chart as a picture on white, for mail programs that show no SVG."""
    import matplotlib as mpl  # noqa: PLC0415 - heavy, see above

    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        drawn = io.BytesIO()
        figure = _figure(report, chart, width, LIGHT)
        figure.savefig(drawn, format="png", dpi=dpi, facecolor=LIGHT.paper, metadata={"Software": None})
    return drawn.getvalue()


STYLE: dict[Any, Any] = {  # of matplotlib, whose keys have a type of their own
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.parse_math": False,  # a queue may be named $x$
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "path.simplify": False,
}


def _figure(report: Report, chart: Chart, width: float, palette: Palette) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415 - heavy, see above

    lanes = lying(report, chart)
    if chart.kind == "heatmap":
        down = len(_labels(report, chart.y[0]))
        height = 0.6 + 0.36 * max(down, 2)
    elif lanes:
        height = 0.75 + (0.26 + 0.1 * (chart.kind == "bar") * (len(chart.y) - 1)) * min(max(len(report.rows), 2), LANES)
    else:
        height = 2.9
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.04)  # type: ignore[union-attr, call-arg]  # constrained layout has these
    axes = figure.add_subplot()
    for side in axes.spines.values():
        side.set_color(palette.grid)
    axes.tick_params(colors=palette.ink, labelcolor=palette.ink, length=0, pad=5)
    if chart.kind == "heatmap":
        _heatmap(axes, report, chart, palette)
    elif chart.kind == "line":
        _line(axes, report, chart, palette)
    elif lanes:
        _lying_bars(axes, report, chart, palette)
    else:
        _standing_bars(axes, report, chart, palette)
    return figure


def lying(report: Report, chart: Chart) -> bool:
    """Whether bars lie, each beside its name: those of queues, agents and trunks do, those of times stand."""
    if chart.kind not in ("bar", "stacked") or _column(report, chart.x).kind != "text":
        return False
    return chart.x not in TIMES and not (report.by in TIMES and chart.x == report.columns[0].name)


def left_out(report: Report, chart: Chart) -> int:
    """How many rows a chart has no room for."""
    if chart.kind not in ("bar", "stacked"):
        return 0
    return max(0, len(report.rows) - (LANES if lying(report, chart) else BARS))


def _standing_bars(axes: Axes, report: Report, chart: Chart, palette: Palette) -> None:
    rows = report.rows[:BARS]
    places = range(len(rows))
    share = 0.8 if chart.kind == "stacked" else 0.8 / len(chart.y)
    floor = [0.0] * len(rows)
    for n, name in enumerate(chart.y):
        heights = [_number(row[_index(report, name)]) for row in rows]
        colour = palette.series[n % len(palette.series)]
        if chart.kind == "stacked":
            axes.bar(places, heights, share, floor, color=colour, linewidth=0, label=_title(report, name))
            floor = [low + high for low, high in zip(floor, heights, strict=True)]
        else:
            at = [place + (n - (len(chart.y) - 1) / 2) * share for place in places]
            axes.bar(at, heights, share * 0.94, color=colour, linewidth=0, label=_title(report, name))
    _measure(axes, report, chart, palette, upright=True)
    _names_below(axes, [_tick(row[_index(report, chart.x)], report, chart.x) for row in rows])
    axes.set_xlim(-0.6, max(len(rows), 1) - 0.4)


def _lying_bars(axes: Axes, report: Report, chart: Chart, palette: Palette) -> None:
    rows = report.rows[:LANES]
    share = 0.72 if chart.kind == "stacked" else 0.8 / len(chart.y)
    floor = [0.0] * len(rows)
    for n, name in enumerate(chart.y):
        values = [row[_index(report, name)] for row in rows]
        lengths = [_number(value) for value in values]
        colour = palette.series[n % len(palette.series)]
        if chart.kind == "stacked":
            axes.barh(range(len(rows)), lengths, share, floor, color=colour, linewidth=0, label=_title(report, name))
            floor = [low + high for low, high in zip(floor, lengths, strict=True)]
            continue
        at = [place + (n - (len(chart.y) - 1) / 2) * share for place in range(len(rows))]
        bars = axes.barh(at, lengths, share * 0.88, color=colour, linewidth=0, label=_title(report, name))
        if len(chart.y) == 1 and any(lengths):
            texts = [cell(_column(report, name).kind, value) for value in values]
            axes.bar_label(bars, texts, padding=4, color=palette.ink)
            axes.set_xlim(0, 1.08 * max(*lengths, 0.0))
    _measure(axes, report, chart, palette, upright=False)
    axes.set_yticks(range(len(rows)), [_short(row[_index(report, chart.x)]) for row in rows])
    axes.set_ylim(max(len(rows), 1) - 0.45, -0.55)


def _line(axes: Axes, report: Report, chart: Chart, palette: Palette) -> None:
    places = range(len(report.rows))
    for n, name in enumerate(chart.y):
        values = [_or_gap(row[_index(report, name)]) for row in report.rows]
        colour = palette.series[n % len(palette.series)]
        marker = "o" if len(values) <= POINTS else ""
        axes.plot(
            places, values, color=colour, linewidth=1.8, marker=marker, markersize=4,
            solid_joinstyle="round", label=_title(report, name), clip_on=False,
        )  # fmt: skip
    _measure(axes, report, chart, palette, upright=True)
    _names_below(axes, [_tick(row[_index(report, chart.x)], report, chart.x) for row in report.rows])
    axes.set_xlim(-0.4, max(len(report.rows), 2) - 0.6)


def _heatmap(axes: Axes, report: Report, chart: Chart, palette: Palette) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415 - heavy, see above

    across, down = _labels(report, chart.x), _labels(report, chart.y[0])
    kind = _column(report, chart.value).kind
    cells = {
        (across.index(row[_index(report, chart.x)]), down.index(row[_index(report, chart.y[0])])): row[_index(report, chart.value)]
        for row in report.rows
    }  # fmt: skip
    most = max((_number(value) for value in cells.values()), default=0.0)
    for (x, y), value in sorted(cells.items()):
        step = _step(value, most)
        axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, color=palette.shades[step], linewidth=0))
        if len(across) * len(down) <= CELL_TEXT:
            axes.text(x, y, _in_cell(kind, value), ha="center", va="center", fontsize=7, color=palette.cell_ink[step])
    axes.set_xticks(range(len(across)), [_tick(value, report, chart.x) for value in across])
    axes.set_yticks(range(len(down)), [_short(value) for value in down])
    axes.set_xlim(-0.5, max(len(across), 1) - 0.5)
    axes.set_ylim(max(len(down), 1) - 0.5, -0.5)
    axes.xaxis.tick_top()
    for side in axes.spines.values():
        side.set_visible(False)


def _step(value: Any, most: float) -> int:  # noqa: ANN401 - a cell
    """0 for nothing, then 1 to STEPS in equal steps up to the greatest value."""
    number = _number(value)
    return 0 if number <= 0 or most <= 0 else min(STEPS, 1 + int(number / most * STEPS))


def _in_cell(kind: Kind, value: Any) -> str:  # noqa: ANN401 - a cell
    """A value in the room that a cell has."""
    if value is None:
        return UNKNOWN
    if kind == "share":
        return f"{100 * _number(value):.0f}%"
    if kind == "seconds":
        return length(value).removeprefix("0:")
    return f"{_number(value):.3g}" if kind == "number" else (f"{_number(value):.0f}" if value else "·")


def _measure(axes: Axes, report: Report, chart: Chart, palette: Palette, *, upright: bool) -> None:
    """The axis of values: from 0, few ticks, light lines, its unit in the ticks; and a legend if there are several series."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator  # noqa: PLC0415 - heavy, see above

    kind = _column(report, chart.y[0]).kind
    axis = axes.yaxis if upright else axes.xaxis
    low, high = axes.get_ylim() if upright else axes.get_xlim()
    high = high if high > 0 else 1.0
    if kind == "share" and high > 0.6:
        high = max(1.0, high)
    if kind == "seconds":
        step = _seconds_step(high)
        axis.set_major_locator(FixedLocator([step * n for n in range(int(high / step) + 2)]))
    else:
        axis.set_major_locator(MaxNLocator(5, integer=kind == "count", steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _on_axis(kind, value, high)))
    if chart.kind != "line" or kind != "number":  # a length is read from 0; a line of MOS is read between its ends
        low = 0.0
    (axes.set_ylim if upright else axes.set_xlim)(low, high)
    axes.grid(visible=True, axis="y" if upright else "x", color=palette.grid, linewidth=0.8)
    axes.spines["left" if not upright else "bottom"].set_visible(True)
    axes.spines["bottom" if not upright else "left"].set_visible(False)
    if len(chart.y) > 1:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=len(chart.y), frameon=False, labelcolor=palette.ink,
            handlelength=0.9, handleheight=0.9, columnspacing=1.6, borderaxespad=0.2, handletextpad=0.5, borderpad=0.2,
        )  # fmt: skip
    elif _title(report, chart.y[0]).lower() != clean(chart.title).lower():  # said once is enough
        axes.set_title(_title(report, chart.y[0]), loc="left", color=palette.ink, fontsize=9)


def _seconds_step(high: float) -> float:
    """Between two ticks: at most six of them up to `high`, each a length that people use; past days, round hours."""
    steps = chain(SECONDS, (3600 * 10.0**power * part for power in count(2) for part in (1, 2, 5)))
    return next(step for step in steps if high / step <= 6)


def _on_axis(kind: Kind, value: float, high: float) -> str:
    if kind == "share":
        return f"{100 * value:.0f} %"
    if kind == "seconds":
        if high <= 120:
            return f"{value:.0f} s"
        return f"{value / 60:g} min" if high <= 7200 else f"{value / 3600:,.10g} h"
    return f"{value:,.0f}" if kind == "count" else f"{value:,g}"


def _names_below(axes: Axes, names: list[str]) -> None:
    """Names under bars or points: as many as have room, evenly."""
    room = 118 // max(3, max((len(name) for name in names), default=3) + 2)
    every = max(1, -(-len(names) // max(1, room)))
    places = range(0, len(names), every)
    axes.set_xticks(list(places), [names[place] for place in places])


def _tick(value: Any, report: Report, name: str) -> str:  # noqa: ANN401 - a cell
    """A row's name on the axis: days without their year."""
    text = cell(_column(report, name).kind, value)
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        try:
            return f"{date.fromisoformat(text):%-d %b}"
        except ValueError:
            return text
    return text if len(text) <= LABEL else text[: LABEL - 1] + "…"


def _short(value: Any) -> str:  # noqa: ANN401 - a cell
    text = clean(UNKNOWN if value is None else value)
    return text if len(text) <= LABEL else text[: LABEL - 1] + "…"


def _labels(report: Report, name: str) -> list[Any]:
    """The different values of a column, in the order in which they come."""
    return list(dict.fromkeys(row[_index(report, name)] for row in report.rows))


def _index(report: Report, name: str) -> int:
    return next(n for n, column in enumerate(report.columns) if column.name == name)


def _column(report: Report, name: str) -> Column:
    return report.columns[_index(report, name)]


def _title(report: Report, name: str) -> str:
    return clean(_column(report, name).title)


def _number(value: Any) -> float:  # noqa: ANN401 - a cell
    return float(value) if isinstance(value, int | float) and isfinite(value) else 0.0


def _or_gap(value: Any) -> float:  # noqa: ANN401 - a cell
    """An unknown value is a gap in the line."""
    return float(value) if isinstance(value, int | float) and isfinite(value) else nan
