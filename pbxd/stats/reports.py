"""Makes reports: rolls up what is old in their range, reads rollups in the site's time zone, and puts the columns together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.errors import ReportError
from pbxd.stats import figures, histogram, soundness
from pbxd.stats.engine import fetch, store_errors
from pbxd.stats.erlang import agents_needed
from pbxd.stats.figures import Figure
from pbxd.stats.layout import (
    AGENTS,
    ALL,
    CALLS,
    DIRECTION,
    DISPOSITION,
    EACH,
    EXTENSION,
    HOUR,
    KINDS,
    PAUSES,
    QUALITY,
    QUEUES,
    SLOT,
    TOGETHER,
    TRUNK,
    Row,
)
from pbxd.stats.periods import PERIODS, month_label, month_of, occurrences
from pbxd.stats.queries import Queries
from pbxd.stats.question import TIMES, TITLES, Asked, Question, ReportSettings
from pbxd.stats.report import Chart, Column, Report
from pbxd.stats.rolled import Figures, Wanted, by_key, by_period, nothing, together
from pbxd.stats.rollup import roll_up
from pbxd.stats.writer import Writer

OLD = "SELECT EXISTS (SELECT 1 FROM rollup_dirty WHERE box = ? AND slot < ?)"
UNNAMED = "(none)"


class Reports:
    """Makes reports of one box."""

    def __init__(self, queries: Queries, writer: Writer, settings: ReportSettings) -> None:
        self.queries = queries
        self.writer = writer
        self.settings = settings

    async def make(self, question: Question) -> Report:
        """The report. ReportError if there is none such; StoreError if the store fails."""
        asked = Asked.of(question, self.settings)
        with store_errors("making a report"):
            async with self.queries.connect() as (connection, box):
                if not (await fetch(connection, OLD, (box, asked.end)))[0][0]:
                    return await from_rollups(connection, box, self.settings, asked)
        await roll_up(self.writer, asked.end)
        with store_errors("making a report"):
            async with self.queries.connect() as (connection, box):
                return await from_rollups(connection, box, self.settings, asked)


async def from_rollups(connection: AsyncConnection, box: int, settings: ReportSettings, asked: Asked) -> Report:
    """The report of what is rolled up; that nothing of it is old is the caller's care. ReportError if there is none such."""
    return await _Maker(connection, box, settings, asked).report()


@dataclass(slots=True)
class _Maker:
    """Makes one report."""

    connection: AsyncConnection
    box: int
    settings: ReportSettings
    asked: Asked
    notes: list[str] = field(default_factory=list)

    async def report(self) -> Report:
        await self._purged()
        make = {
            "calls": self._calls,
            "trunks": self._trunks,
            "queues": self._queues,
            "agents": self._agents,
            "heatmap": self._heatmap,
            "quality": self._quality,
        }
        return await make[self.asked.name]()

    async def _purged(self) -> None:
        found = await fetch(self.connection, "SELECT rollups_from FROM rollup_state WHERE box = ?", (self.box,))
        if found and found[0][0] > self.asked.first:
            self.notes.append("Figures at the beginning of this time have been deleted (statistics.keep_rollups).")

    def _wanted_calls(self) -> Wanted:
        kind, key = (ALL, "") if self.asked.filter is None else (KINDS[self.asked.filter[0]], self.asked.filter[1])
        return Wanted(CALLS, self.box, (("kind", kind), ("key", key)))

    def _wanted_queues(self, queue: str) -> Wanted:
        return Wanted(QUEUES, self.box, (("kind", EACH if queue else TOGETHER), ("queue", queue)))

    async def _calls(self) -> Report:
        asked = self.asked
        if asked.by == "trunk":
            return await self._trunks()
        wanted = self._wanted_calls()
        kind = wanted.keys[0][1]
        if asked.by in TIMES:
            made = figures.EXTENSIONS if kind == EXTENSION else figures.CALLS
            if kind == TRUNK:
                made = self._trunk_columns()
            elif kind == ALL:
                made = (*made, figures.PEAK)
            rows = await self._by_time(wanted)
            charts = (Chart("bar" if asked.by != "day" else "line", f"Calls by {asked.by}", asked.by, ("calls",)),)
            return self._report(made, rows, charts, together(CALLS, (of for _, of in rows)))
        kind = {"direction": DIRECTION, "disposition": DISPOSITION, "extension": EXTENSION}[asked.by]
        only = figures.EXTENSION_SUMS if kind == EXTENSION else ()
        found = await self._keyed(
            Wanted(CALLS, self.box, (("kind", kind),), only=only), "key", shapes=kind != EXTENSION
        )
        charts = (Chart("bar", f"Calls by {asked.by}", asked.by, ("calls",)),)
        if kind == EXTENSION:
            self.notes.append("A call counts for each extension that took part; there is no total.")
            return self._report(figures.EXTENSIONS, found, charts, None)
        return self._report(figures.CALLS, found, charts, together(CALLS, (of for _, of in found)))

    def _trunk_columns(self) -> tuple[Figure, ...]:
        return figures.trunks((self.asked.end - self.asked.first) * SLOT / figures.SECOND)

    async def _trunks(self) -> Report:
        asked = self.asked
        keys: tuple[tuple[str, Any], ...] = (("kind", TRUNK),)
        if asked.filter is not None:
            keys = (*keys, ("key", asked.filter[1]))
        wanted = Wanted(CALLS, self.box, keys)
        if asked.by == "trunk":
            rows = await self._keyed(wanted, "key")
            charts = (Chart("bar", "Most calls at once", "trunk", ("peak",)),)
            return self._report(self._trunk_columns(), rows, charts, None)
        if asked.filter is None:
            raise ReportError(f"trunks by {asked.by} are of one trunk: give trunk=")
        rows = await self._by_time(wanted)
        charts = (Chart("bar", f"Most calls at once by {asked.by}", asked.by, ("peak",)),)
        return self._report(self._trunk_columns(), rows, charts, together(CALLS, (of for _, of in rows)))

    async def _queues(self) -> Report:
        asked, settings = self.asked, self.settings
        queue = asked.filter[1] if asked.filter else ""
        self._note_levels(queue)
        charts = (
            Chart("stacked", "Calls", asked.by, ("answered", "abandoned", "exited")),
            Chart("line" if asked.by == "day" else "bar", "Service level", asked.by, ("service_level",)),
        )
        extra: dict[int, int] = {}
        if asked.by == "queue":
            keys: tuple[tuple[str, Any], ...] = (("kind", EACH), ("queue", queue)) if queue else (("kind", EACH),)
            rows = await self._keyed(Wanted(QUEUES, self.box, keys), "queue")
            for name, of in rows:
                extra[id(of)] = self._above_default(name, of)
        else:
            rows = await self._by_time(self._wanted_queues(queue))
            extra = await self._overrides(rows, queue)
        total = together(QUEUES, (of for _, of in rows))
        extra[id(total)] = sum(extra.values())

        def within(of: Figures) -> int:
            return histogram.below(of.counts("answered_waits"), settings.service_level) + extra.get(id(of), 0)

        made = figures.queues(within, lambda of: histogram.below(of.counts("abandoned_waits"), settings.short_abandon))
        if asked.by == "hour":
            made = (*made, self._agents_needed(rows))
        return self._report(made, rows, charts, total)

    def _note_levels(self, queue: str) -> None:
        settings = self.settings
        for name, wanted in {"": settings.service_level, **settings.service_levels}.items():
            if queue and name not in ("", queue):
                continue
            bound = histogram.bound_below(wanted)
            what = f"answered in less than {bound} s" + (f" ({name})" if name else "")
            self.notes.append(
                f"Service level: {what}" + ("" if bound == wanted else f", the class below {wanted:g} s") + "."
            )

    def _above_default(self, queue: str, of: Figures) -> int:
        """How many more were in time by the queue's own limit than by the common one."""
        own = self.settings.service_levels.get(queue)
        if own is None:
            return 0
        counts = of.counts("answered_waits")
        return histogram.below(counts, own) - histogram.below(counts, self.settings.service_level)

    async def _overrides(self, rows: Sequence[tuple[str, Figures]], queue: str) -> dict[int, int]:
        """The same for rows that stand for a time, by id of their figures."""
        extra: dict[int, int] = {}
        for name in self.settings.service_levels:
            if queue in ("", name):
                own = dict(await self._by_time(self._wanted_queues(name)))
                for label, of in rows:
                    if label in own:
                        extra[id(of)] = extra.get(id(of), 0) + self._above_default(name, own[label])
        return extra

    def _agents_needed(self, rows: Sequence[tuple[str, Figures]]) -> Figure:
        """Agents for the average hour of the row: Erlang C."""
        settings = self.settings
        period = PERIODS["hour"]
        hours = {period.label(hour): slots / HOUR for hour, slots in occurrences(period, self.asked.parts).items()}
        by_id = {id(of): hours[label] for label, of in rows}

        def needed(of: Figures) -> int | None:
            count = by_id.get(id(of))
            if not count or not of["answered"]:
                return None
            handling = of["talk"] / of["answered"] / figures.SECOND + settings.wrapup
            calls = of["offered"] / count
            return agents_needed(calls, 3600.0, handling, settings.service_target, settings.service_level)

        self.notes.append(f"Agents needed: Erlang C, {settings.service_target:.0%} in {settings.service_level:g} s.")
        return figures.made("agents_needed", "Agents needed", "count", needed)

    async def _agents(self) -> Report:
        asked = self.asked
        chosen = asked.filter
        keys = () if chosen is None else (chosen,)
        if asked.by == "reason":
            return await self._pauses()
        kind = EACH if chosen and chosen[0] == "queue" else TOGETHER
        wanted = Wanted(AGENTS, self.box, (("kind", kind), *keys))
        rows = await self._keyed(wanted, "agent") if asked.by == "agent" else await self._by_time(wanted)
        self.notes.append(
            "Members from queues.conf have no login in queue_log: their login and occupancy are not known."
        )
        charts = (Chart("bar", f"Calls by {asked.by}", asked.by, ("answered", "no_answer")),)
        return self._report(figures.AGENTS, rows, charts, together(AGENTS, (of for _, of in rows)))

    async def _pauses(self) -> Report:
        keys = () if self.asked.filter is None else (self.asked.filter,)
        if keys and keys[0][0] != "agent":
            raise ReportError("pauses by reason are of all queues: filter by agent")
        rows = await self._keyed(Wanted(PAUSES, self.box, keys), "reason")
        made = (figures.length("pause", "Paused", lambda of: of["pause"] / figures.SECOND),)
        charts = (Chart("bar", "Pauses by reason", "reason", ("pause",)),)
        return self._report(made, rows, charts, together(PAUSES, (of for _, of in rows)))

    async def _heatmap(self) -> Report:
        asked = self.asked
        queue = asked.filter[1] if asked.filter and asked.filter[0] == "queue" else ""
        period = PERIODS["cell"]
        if asked.by == "abandonment" or queue:
            found = await by_period(self.connection, self._wanted_queues(queue), period, asked.parts, shapes=False)
            made: tuple[Figure, ...] = tuple(
                figure for figure in figures.queues(lambda _: 0, lambda _: 0)
                if figure.column.name in ("offered", "abandoned", "abandonment_rate")
            )  # fmt: skip
            value = "offered" if asked.by == "calls" else "abandonment_rate"
        else:
            wanted = replace(self._wanted_calls(), only=("calls", "answered"))
            found = await by_period(self.connection, wanted, period, asked.parts, shapes=False)
            made, value = (figures.count("calls", "Calls"), figures.count("answered", "Answered")), "calls"
        head = (Column("weekday", "Weekday", "text"), Column("hour", "Hour", "text"))
        rows = []
        for cell in sorted(occurrences(period, asked.parts)):
            day, hour = period.label(cell).split(" ")
            rows.append((day, hour, *figures.values(made, found.get(cell) or _none_of(queue, value))))
        chart = Chart("heatmap", "Weekday and hour", "hour", ("weekday",), value)
        return self._made((*head, *figures.columns(made)), tuple(rows), None, (chart,))

    async def _quality(self) -> Report:
        asked = self.asked
        self.notes.append("Means of legs; a direction without RTCP reports is not known. See statistics-quality.md.")
        charts = (Chart("bar", "MOS", asked.by, ("sent_mos", "received_mos")),)
        if asked.by in TIMES:
            kind, key = (ALL, "") if asked.filter is None else (KINDS[asked.filter[0]], asked.filter[1])
            rows = await self._by_time(Wanted(QUALITY, self.box, (("kind", kind), ("key", key))))
        else:
            chosen = (("key", asked.filter[1]),) if asked.filter else ()
            rows = await self._keyed(Wanted(QUALITY, self.box, (("kind", KINDS[asked.by]), *chosen)), "key")
        total = together(QUALITY, (of for _, of in rows))
        return self._report(soundness.COLUMNS, rows, charts, total)

    async def _by_time(self, wanted: Wanted) -> list[tuple[str, Figures]]:
        """Labels and figures by the site's clock, every hour, weekday, day or month that the time has."""
        by = self.asked.by
        period = PERIODS["day" if by == "month" else by]
        found = await by_period(self.connection, wanted, period, self.asked.parts)
        every = sorted(occurrences(period, self.asked.parts))
        if by != "month":
            return [(period.label(group), found.get(group) or nothing(wanted.layout)) for group in every]
        months: dict[int, list[Figures]] = {}
        for day in every:
            months.setdefault(month_of(day), []).append(found.get(day) or nothing(wanted.layout))
        return [(month_label(month), together(wanted.layout, parts)) for month, parts in months.items()]

    async def _keyed(self, wanted: Wanted, key: str, *, shapes: bool = True) -> list[tuple[str, Figures]]:
        found = await by_key(self.connection, wanted, key, self.asked.first, self.asked.end, shapes=shapes)
        return sorted(found.items())

    def _report(
        self,
        made: Sequence[Figure],
        rows: Sequence[tuple[str, Figures]],
        charts: tuple[Chart, ...],
        total: Figures | None,
    ) -> Report:
        by = self.asked.by
        columns = (Column(by, by.capitalize(), "text"), *figures.columns(made))
        table = tuple((label or UNNAMED, *figures.values(made, of)) for label, of in rows)
        return self._made(columns, table, None if total is None else ("Total", *figures.values(made, total)), charts)

    def _made(
        self, columns: tuple[Column, ...], rows: tuple[Row, ...], total: Row | None, charts: tuple[Chart, ...]
    ) -> Report:
        asked, settings = self.asked, self.settings
        title = f"{TITLES[asked.name]} by {asked.by}" + (
            f", {asked.filter[0]} {asked.filter[1]}" if asked.filter else ""
        )
        return Report(
            asked.name, title, settings.site, settings.zone, asked.first * SLOT, asked.end * SLOT, asked.by, columns, rows, total,
            charts, tuple(self.notes),
        )  # fmt: skip


def _none_of(queue: str, value: str) -> Figures:
    return nothing(QUEUES if queue or value != "calls" else CALLS)
