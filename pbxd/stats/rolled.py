"""Reads rollups: put together by hour, weekday or day of the site's clock, or by queue, extension, trunk or agent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.stats import histogram
from pbxd.stats.engine import fetch
from pbxd.stats.layout import DAY, DAYS, HOUR, HOURS, QUARTERS, WEEK, WEEKS, Layout
from pbxd.stats.periods import SECONDS, Period, Segment, whole_hours

SignedPieces = list[tuple[int, tuple[int, int, int]]]  # (1 to add or -1 to take away, piece)
Pieces = list[tuple[int, int, int]]  # (span, first, end): rows of that span whose slots lie in [first, end)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows of a layout: of a box, and with these keys."""

    layout: Layout
    box: int
    keys: tuple[tuple[str, Any], ...]  # (column, value)
    only: tuple[str, ...] = ()  # the sums that are needed; none named is all

    @property
    def numbers(self) -> tuple[str, ...]:
        """The sums and maxima that are read."""
        return self.only or (*self.layout.sums, *self.layout.maxima)

    def where(self, span: int, first: int, end: int) -> tuple[str, tuple[Any, ...]]:
        """The condition, and its values."""
        keys = "".join(f" AND {name} = ?" for name, _ in self.keys)
        sql = f"box = ? AND span = ? AND slot >= ? AND slot < ?{keys}"
        return sql, (self.box, span, first, end, *(value for _, value in self.keys))


@dataclass(slots=True)
class Figures:
    """Sums, maxima and histograms of one group."""

    layout: Layout
    numbers: dict[str, int]  # sums and maxima; what is not there is 0
    classes: list[int]  # histograms as big integers, see `histogram`
    peak: int | None = None
    _counts: dict[str, tuple[int, ...]] = field(default_factory=dict)  # histograms that were asked for

    def __getitem__(self, name: str) -> int:
        return self.numbers.get(name, 0)

    def counts(self, name: str) -> tuple[int, ...]:
        """A histogram's counts."""
        if name not in self._counts:
            self._counts[name] = histogram.counts_of(self.classes[self.layout.histograms.index(name)])
        return self._counts[name]

    def add(self, names: Iterable[str], numbers: Iterable[Any]) -> None:
        """Take numbers of further rows in."""
        own, maxima = self.numbers, self.layout.maxima
        for name, value in zip(names, numbers, strict=True):
            more, before = int(value or 0), own.get(name, 0)
            own[name] = max(before, more) if name in maxima else before + more


def nothing(layout: Layout) -> Figures:
    """Figures of no rows."""
    return Figures(layout, {}, [0] * len(layout.histograms))


def together(layout: Layout, parts: Iterable[Figures]) -> Figures:
    """The figures of all these; the peak is the highest of theirs."""
    total = nothing(layout)
    for part in parts:
        total.add(part.numbers.keys(), part.numbers.values())
        total.classes = [one + other for one, other in zip(total.classes, part.classes, strict=True)]
        if part.peak is not None:
            total.peak = max(total.peak or 0, part.peak)
    return total


def _numbers(wanted: Wanted) -> str:
    return ", ".join(f"{'max' if name in wanted.layout.maxima else 'sum'}({name})" for name in wanted.numbers)


def local(part: Segment) -> str:
    """Seconds since the epoch by the site's clock, of a row."""
    return f"CAST(slot AS BIGINT) * {SECONDS} + {part.offset}"


async def by_period(
    connection: AsyncConnection, wanted: Wanted, period: Period, parts: list[Segment], *, shapes: bool = True
) -> dict[int, Figures]:
    """Figures by the groups of a period; with `shapes`, histograms and peaks too."""
    layout = wanted.layout
    span = HOURS if whole_hours(parts) else QUARTERS
    found: dict[int, Figures] = {}
    for part in parts:
        where, values = wanted.where(span, part.first, part.end)
        group = period.sql.format(local=local(part))
        sql = f"SELECT {group} AS grp, {_numbers(wanted)} FROM {layout.table} WHERE {where} GROUP BY grp"
        for number, *numbers in await fetch(connection, sql, values):
            found.setdefault(int(number), nothing(layout)).add(wanted.numbers, numbers)
        if shapes and layout.histograms:
            names = ", ".join(layout.histograms)
            for slot, *stored in await fetch(
                connection, f"SELECT slot, {names} FROM {layout.table} WHERE {where}", values
            ):
                classes = found[period.of(slot * SECONDS + part.offset)].classes
                _take(classes, stored)
    if shapes and layout.level:
        await _peaks(connection, wanted, period, parts, found)
    return found


async def _peaks(
    connection: AsyncConnection, wanted: Wanted, period: Period, parts: list[Segment], found: dict[int, Figures]
) -> None:
    """The highest level in each group: what came in from before, and the changes since."""
    span, step = (HOURS, HOUR) if whole_hours(parts) else (QUARTERS, 1)
    level = (await carried(connection, wanted, parts[0].first)).get("", 0)
    for part in parts:
        where, values = wanted.where(span, part.first, part.end)
        sql = f"SELECT slot, change, peak FROM {wanted.layout.table} WHERE {where} ORDER BY slot"
        changes = {slot: (change, peak) for slot, change, peak in await fetch(connection, sql, values)}
        for slot in range(part.first, part.end, step):
            change, peak = changes.get(slot, (0, 0))
            if level + peak:
                group = period.of(slot * SECONDS + part.offset)
                figures = found.get(group)
                if figures is None:
                    figures = found[group] = nothing(wanted.layout)
                figures.peak = max(figures.peak or 0, level + peak)
            level += change


async def carried(connection: AsyncConnection, wanted: Wanted, slot: int, key: str = "''") -> dict[str, int]:
    """The level at the beginning of `slot`, by `key`: the sum of all changes before it."""
    found: dict[str, int] = {}
    day = slot // DAY * DAY
    for span, first, end in ((DAYS, 0, day), (QUARTERS, day, slot)):
        where, values = wanted.where(span, first, end)
        sql = f"SELECT {key}, sum(change) FROM {wanted.layout.table} WHERE {where} GROUP BY 1"
        for name, change in await fetch(connection, sql, values):
            found[name] = found.get(name, 0) + int(change or 0)
    return found


def pieces(first: int, end: int) -> Pieces:
    """The slots [first, end) as whole UTC days, the hours before and behind them, and the quarters before and behind those."""
    hour, last_hour = -(-first // HOUR) * HOUR, end // HOUR * HOUR
    if hour >= last_hour:
        return [(QUARTERS, first, end)]
    day, last_day = -(-first // DAY) * DAY, end // DAY * DAY
    inner = [(HOURS, hour, day), (DAYS, day, last_day), (HOURS, last_day, last_hour)]
    if day >= last_day:
        inner = [(HOURS, hour, last_hour)]
    found = [(QUARTERS, first, hour), *inner, (QUARTERS, last_hour, end)]
    return [(span, begin, until) for span, begin, until in found if begin < until]


async def by_key(
    connection: AsyncConnection, wanted: Wanted, key: str, first: int, end: int, *, shapes: bool = True
) -> dict[str, Figures]:
    """Figures by a key column; with `shapes`, histograms and peaks too."""
    layout = wanted.layout
    found: dict[str, Figures] = {}
    shapes = shapes and bool(layout.histograms or layout.level)
    levels = await carried(connection, wanted, first, key) if shapes and layout.level else {}
    tops = dict(levels)
    whole = pieces(first, end)
    only_sums = not shapes and not set(wanted.numbers) & set(layout.maxima)
    parts = _plus(whole) if not only_sums else rounded(first, end, weeks=layout.weekly)
    for name, *numbers in await _sums(connection, wanted, key, parts):
        if only_sums and not any(numbers):
            continue  # all that it did was in hours that were taken away again
        found[name] = nothing(layout)
        found[name].numbers = {name: int(number or 0) for name, number in zip(wanted.numbers, numbers, strict=True)}
    if shapes:
        for where, values in (wanted.where(*piece) for piece in whole):
            names = ", ".join((*layout.level, *layout.histograms))
            sql = f"SELECT {key}, {names} FROM {layout.table} WHERE {where} ORDER BY slot"
            for name, *stored in await fetch(connection, sql, values):
                if layout.level:
                    level = levels.get(name, 0)
                    tops[name] = max(tops.get(name, 0), level + stored[1])
                    levels[name] = level + stored[0]
                _take(found[name].classes, stored[len(layout.level) :])
    if shapes and layout.level:
        for name, top in tops.items():
            if top or name in found:
                found.setdefault(name, nothing(layout)).peak = top
    return found


async def _sums(connection: AsyncConnection, wanted: Wanted, key: str, parts: SignedPieces) -> Sequence[Any]:
    """Key and numbers, over all pieces in one question."""
    selects: list[str] = []
    values: list[Any] = []
    for sign, piece in parts:
        where, bound = wanted.where(*piece)
        numbers = ", ".join(wanted.numbers if sign > 0 else (f"-{name} AS {name}" for name in wanted.numbers))
        selects.append(f"SELECT {key}, {numbers} FROM {wanted.layout.table} WHERE {where}")
        values += bound
    sql = f"SELECT {key}, {_numbers(wanted)} FROM ({' UNION ALL '.join(selects)}) AS parts GROUP BY {key}"
    return await fetch(connection, sql, tuple(values))


def _plus(whole: Pieces) -> SignedPieces:
    return [(1, piece) for piece in whole]


def rounded(first: int, end: int, *, weeks: bool) -> SignedPieces:
    """The slots of `pieces`, for sums: a day of which most is wanted is read whole, less the rest; weeks too, if there are any."""
    parts: SignedPieces = []
    inner, until = first, end
    day, last_day = first // DAY * DAY, -(-end // DAY) * DAY
    if first - day < DAY // 2 and last_day > day:
        parts += [(-1, piece) for piece in pieces(day, first)] if first > day else []
        inner = day
    if last_day - end < DAY // 2 and last_day > inner:
        parts += [(-1, piece) for piece in pieces(end, last_day)] if last_day > end else []
        until = last_day
    for piece in pieces(inner, until):
        parts += _plus(with_weeks(piece) if weeks and piece[0] == DAYS else [piece])
    return parts


def with_weeks(days: tuple[int, int, int]) -> Pieces:
    """Days as whole weeks, and the days before and behind them."""
    _, first, end = days
    week, last = -(-first // WEEK) * WEEK, end // WEEK * WEEK
    if week >= last:
        return [days]
    found = [(DAYS, first, week), (WEEKS, week, last), (DAYS, last, end)]
    return [(span, begin, until) for span, begin, until in found if begin < until]


def _take(classes: list[int], stored: Sequence[bytes]) -> None:
    for place, one in enumerate(stored):
        if one:
            classes[place] += histogram.number_of(one)
