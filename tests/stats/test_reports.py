"""Reports agree, number by number, with DuckDB's own calculation on the raw rows, in zones with and without summer time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest

from pbxd.calls.agents import AgentTracker
from pbxd.calls.record import CallRecord, Quality
from pbxd.errors import ReportError
from pbxd.stats.histogram import BOUNDS
from pbxd.stats.queries import Queries
from pbxd.stats.question import Question, ReportSettings
from pbxd.stats.report import Report
from pbxd.stats.reports import Reports
from pbxd.stats.writer import Batch, QueueLogLine, Writer
from tests.stats import synthetic

PLACES = {  # zone -> the first day of the report; in two of them the clocks change on the second
    "Europe/Berlin": "2026-10-24",
    "America/New_York": "2026-03-07",
    "Asia/Kathmandu": "2026-05-01",
    "UTC": "2026-12-31",
}
DAYS = 3
SECOND = 1_000_000
NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
LIMITS = {"support": 20.0, "sales": 45.0}


def micros(zone: str, day: str, days: int = 0) -> int:
    """Midnight of a day by the site's clock, so many days later."""
    at = datetime.fromisoformat(day) + timedelta(days=days)
    return int(at.replace(tzinfo=ZoneInfo(zone)).timestamp()) * SECOND


def clock(zone: str, at: int) -> tuple[str, str, str, str]:
    """Hour, weekday, day and month of a moment by the site's clock."""
    there = datetime.fromtimestamp(at // SECOND, ZoneInfo(zone))
    return f"{there.hour:02}:00", NAMES[there.weekday()], f"{there:%Y-%m-%d}", f"{there:%Y-%m}"


def database(zone: str, calls: Sequence[CallRecord], lines: Sequence[QueueLogLine]) -> duckdb.DuckDBPyConnection:
    """The raw rows, each with its moment by the site's clock."""
    db = duckdb.connect()
    when = "hour TEXT, weekday TEXT, day TEXT, month TEXT"
    db.execute(
        f"CREATE TABLE calls (id TEXT, start BIGINT, stop BIGINT, direction TEXT, disposition TEXT, ring BIGINT, talk BIGINT,"
        f" transfers INT, caller TEXT, {when})"
    )
    db.execute(
        "CREATE TABLE legs (call TEXT, role TEXT, extension TEXT, trunk TEXT, start BIGINT, answer BIGINT, stop BIGINT,"
        " talk BIGINT)"
    )
    db.execute(
        f"CREATE TABLE visits (call TEXT, queue TEXT, joined BIGINT, answer BIGINT, gone BIGINT, outcome TEXT, caller TEXT, {when})"
    )
    db.execute("CREATE TABLE log (moment BIGINT, queue TEXT, agent TEXT, event TEXT)")
    db.execute("CREATE TABLE bounds (low BIGINT)")
    db.executemany("INSERT INTO bounds VALUES (?)", [[bound] for bound in BOUNDS])
    for call in calls:
        db.execute(
            "INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [call.id, call.start, call.end, call.direction, call.disposition, call.ring_time, call.talk_time,
             len(call.transfers), call.caller_number, *clock(zone, call.start)],
        )  # fmt: skip
        for leg in call.legs:
            names = ("", leg.endpoint) if leg.trunk else (leg.number, "")
            talk = sum(end - start for start, end in leg.talked)
            db.execute(
                "INSERT INTO legs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [call.id, leg.role, *names, leg.start, leg.answer, leg.end, talk],
            )
        for v in call.queues:
            db.execute(
                "INSERT INTO visits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [call.id, v.queue, v.joined, v.answer, v.left, v.outcome, call.caller_number, *clock(zone, v.joined)],
            )
    for line in lines:
        db.execute("INSERT INTO log VALUES (?, ?, ?, ?)", [line.at, line.queue, line.agent, line.event])
    return db


def asked(db: duckdb.DuckDBPyConnection, sql: str, values: Sequence[Any] = ()) -> dict[str, dict[str, Any]]:
    """Rows by their first column."""
    done = db.execute(sql, list(values))
    names = [column[0] for column in done.description]
    return {str(row[0]): dict(zip(names[1:], row[1:], strict=True)) for row in done.fetchall()}


def table(report: Report) -> dict[str, dict[str, Any]]:
    names = [column.name for column in report.columns]
    return {row[0]: dict(zip(names[1:], row[1:], strict=True)) for row in report.rows}


def same(found: Mapping[str, Any], expected: Mapping[str, Any], where: str) -> None:
    for name, value in expected.items():
        wanted = value if value is None or isinstance(value, int) else pytest.approx(float(value), rel=1e-12)
        assert found[name] == wanted, (where, name)


def percentile(column: str, condition: str, share: float) -> str:
    """Nearest rank, of the lower bounds of the classes."""
    low = f"(SELECT max(low) FROM bounds WHERE low * 1000000 <= {column})"
    return (
        f"(list_sort(list({low}) FILTER (WHERE {condition})))[ceil(count(*) FILTER (WHERE {condition}) * {share})::INT]"
    )


def peak(spans: Sequence[tuple[int, int]], start: int, end: int) -> int:
    """Most at once, by looking at every moment at which one begins."""
    moments = [start, *(a for a, _ in spans if start <= a < end)]
    return max(sum(a <= at < b for a, b in spans) for at in moments)


CALLS = f"""
    SELECT {{by}}, count(*) AS calls, count(*) FILTER (disposition = 'answered') AS answered,
    answered / calls AS answer_rate, count(*) FILTER (disposition = 'no_answer') AS no_answer,
    count(*) FILTER (disposition = 'busy') AS busy, count(*) FILTER (disposition = 'failed') AS failed,
    count(*) FILTER (disposition = 'voicemail') AS voicemail, count(*) FILTER (disposition = 'cut') AS cut,
    count(*) FILTER (disposition = 'abandoned') AS abandoned, sum(transfers)::BIGINT AS transfers, sum(talk) / 1e6 AS talk,
    CASE WHEN answered > 0 THEN sum(talk) / answered / 1e6 END AS average_talk, sum(ring) / calls / 1e6 AS average_ring,
    count(*) FILTER (EXISTS (SELECT 1 FROM legs WHERE call = id AND role = 'called' AND extension <> '')
      AND NOT EXISTS (SELECT 1 FROM legs WHERE call = id AND role = 'called' AND answer IS NOT NULL)) AS missed,
    {percentile("talk", "talk > 0", 0.5)} AS talk_p50, {percentile("talk", "talk > 0", 0.9)} AS talk_p90,
    {percentile("talk", "talk > 0", 0.95)} AS talk_p95
    FROM calls c WHERE start >= ? AND start < ? {{where}} GROUP BY 1
"""
VISITS = f"""
    SELECT {{by}}, count(*) AS offered, count(*) FILTER (outcome = 'answered') AS answered,
    count(*) FILTER (outcome = 'abandoned') AS abandoned, count(*) FILTER (outcome = 'left') AS exited,
    abandoned / offered AS abandonment_rate,
    count(*) FILTER (outcome = 'answered' AND answer - joined < CASE queue WHEN 'sales' THEN 45e6 ELSE 20e6 END) AS within,
    offered - count(*) FILTER (outcome = 'abandoned' AND gone - joined < 5e6) AS counted,
    CASE WHEN counted > 0 THEN within / counted END AS service_level,
    avg(answer - joined) FILTER (outcome = 'answered') / 1e6 AS average_speed_of_answer,
    avg(coalesce(answer, gone) - joined) / 1e6 AS average_wait, max(coalesce(answer, gone) - joined) / 1e6 AS longest_wait,
    avg(gone - joined) FILTER (outcome = 'abandoned') / 1e6 AS average_abandon,
    avg(gone - answer) FILTER (outcome = 'answered') / 1e6 AS average_talk,
    {percentile("answer - joined", "outcome = 'answered'", 0.5)} AS wait_p50,
    {percentile("answer - joined", "outcome = 'answered'", 0.9)} AS wait_p90,
    {percentile("answer - joined", "outcome = 'answered'", 0.95)} AS wait_p95,
    {percentile("gone - answer", "outcome = 'answered'", 0.9)} AS talk_p90,
    avg(CASE WHEN EXISTS (SELECT 1 FROM visits w WHERE w.queue = v.queue AND w.caller = v.caller AND w.call <> v.call
      AND w.joined > v.joined AND w.joined <= v.joined + 86400e6) THEN 0 ELSE 1 END)
      FILTER (outcome = 'answered' AND caller <> '') AS first_call_resolution
    FROM visits v WHERE joined >= ? AND joined < ? {{where}} GROUP BY 1
"""
EXTENSIONS = """
    WITH own AS (
        SELECT extension, call, bool_or(role = 'caller') AS placed, bool_or(role = 'called') AS received,
        bool_or(role = 'called' AND legs.answer IS NOT NULL) AS answered, sum(legs.talk) AS talk,
        sum(coalesce(legs.answer, legs.stop) - legs.start) FILTER (role = 'called') AS ring,
        NOT EXISTS (SELECT 1 FROM legs x WHERE x.call = legs.call AND x.role = 'called' AND x.answer IS NOT NULL) AS nobody
        FROM legs JOIN calls ON id = call WHERE calls.start >= ? AND calls.start < ? AND extension <> '' GROUP BY 1, 2
    )
    SELECT extension, count(*) AS calls, count(*) FILTER (placed) AS placed, count(*) FILTER (received) AS received,
    count(*) FILTER (answered) AS answered, count(*) FILTER (received AND nobody) AS missed, sum(talk) / 1e6 AS talk,
    sum(ring) / count(*) FILTER (received) / 1e6 AS average_ring FROM own GROUP BY 1
"""


class Place:
    """A site in a zone, with calls before, during and after the report."""

    def __init__(self, zone: str, reports: Reports, calls: list[CallRecord], lines: list[QueueLogLine]) -> None:
        self.reports = reports
        self.zone = zone
        self.start, self.end = micros(zone, PLACES[zone]), micros(zone, PLACES[zone], DAYS)
        self.calls = calls
        self.db = database(zone, calls, lines)

    async def report(self, name: str, by: str, **filters: str) -> Report:
        return await self.reports.make(Question(name, self.start, self.end, by, filters))

    def expected(self, sql: str, by: str, where: str = "") -> dict[str, dict[str, Any]]:
        return asked(self.db, sql.format(by=by, where=where), [self.start, self.end])


@pytest.fixture(params=PLACES)
async def place(request: pytest.FixtureRequest, tmp_path: object) -> AsyncIterator[Place]:
    zone: str = request.param
    url = f"sqlite+aiosqlite:///{tmp_path}/stats.db"
    writer, queries = await Writer.open(url), Queries(url)
    first = micros(zone, PLACES[zone], -1)
    length = (DAYS + 2) * 86400 * SECOND
    calls = synthetic.calls(7, 500, first, length)
    lines = synthetic.queue_log(7, 900, first, length)
    tracker = AgentTracker(30 * SECOND)
    settings = ReportSettings("hq", zone, 20.0, {"sales": 45.0}, wrapup=30.0)
    made = Place(zone, Reports(queries, writer, settings), calls, lines)
    await writer.commit(Batch(records=calls))
    await writer.commit(Batch(queue_log=lines, agent_time=[time for line in lines for time in tracker.feed(line)]))
    yield made
    made.db.close()
    await queries.close()
    await writer.close()


async def test_calls(place: Place) -> None:
    for by in ("hour", "weekday", "day", "month", "direction", "disposition"):
        await calls_by(place, by)


async def calls_by(place: Place, by: str) -> None:
    report = await place.report("calls", by)
    found, expected = table(report), place.expected(CALLS, by)
    assert {label for label, row in found.items() if row["calls"]} == set(expected)
    for label, row in expected.items():
        same(found[label], row, label)
    (total,) = place.expected(CALLS, "'Total'").values()
    assert report.total is not None
    names = [column.name for column in report.columns]
    same(dict(zip(names, report.total, strict=True)), total, "total")


async def test_calls_of_one_direction(place: Place) -> None:
    direction = "inbound"
    found = table(await place.report("calls", "hour", direction=direction))
    for label, row in place.expected(CALLS, "hour", f"AND direction = '{direction}'").items():
        same(found[label], row, label)


async def test_queues(place: Place) -> None:
    for by in ("queue", "hour", "weekday", "day", "month"):
        await queues_by(place, by)


async def queues_by(place: Place, by: str) -> None:
    report = await place.report("queues", by)
    found, expected = table(report), place.expected(VISITS, by)
    assert {label for label, row in found.items() if row["offered"]} == set(expected)
    for label, row in expected.items():
        same(found[label], {name: row[name] for name in row if name not in ("within", "counted")}, label)
    one = table(await place.report("queues", "day", queue="sales"))
    for label, row in place.expected(VISITS, "day", "AND queue = 'sales'").items():
        same(one[label], {name: row[name] for name in row if name not in ("within", "counted")}, label)


async def test_extensions(place: Place) -> None:
    found, expected = table(await place.report("calls", "extension")), place.expected(EXTENSIONS, "")
    assert set(found) == set(expected)
    for label, row in expected.items():
        same(found[label], row, label)


async def test_most_at_once(place: Place) -> None:
    spans = [(call.start, call.end) for call in place.calls]
    assert (await place.report("calls", "day")).total is not None
    report = await place.report("calls", "day")
    days = [micros(place.zone, PLACES[place.zone], n) for n in range(DAYS + 1)]
    assert [row[-1] for row in report.rows] == [peak(spans, a, b) for a, b in pairwise(days)]
    found = table(await place.report("trunks", "trunk"))
    for trunk in synthetic.TRUNKS:
        used = [(leg.start, leg.end) for call in place.calls for leg in call.legs if leg.endpoint == trunk]
        assert found[trunk]["peak"] == peak(used, place.start, place.end)
        of = [c for c in place.calls if place.start <= c.start < place.end and any(x.endpoint == trunk for x in c.legs)]
        legs = [leg for call in of for leg in call.legs if leg.endpoint == trunk]
        assert found[trunk]["calls"] == len(of)
        assert found[trunk]["erlangs"] == pytest.approx(sum(x.end - x.start for x in legs) / (place.end - place.start))


async def test_heatmap(place: Place) -> None:
    report = await place.report("heatmap", "calls")
    expected = asked(
        place.db,
        "SELECT weekday || ' ' || hour, count(*) AS calls FROM calls WHERE start >= ? AND start < ? GROUP BY 1",
        [place.start, place.end],
    )
    assert {f"{row[0]} {row[1]}": row[2] for row in report.rows if row[2]} == {
        label: row["calls"] for label, row in expected.items()
    }
    rates = {f"{row[0]} {row[1]}": row[4] for row in (await place.report("heatmap", "abandonment")).rows}
    for label, row in place.expected(VISITS, "weekday || ' ' || hour").items():
        assert rates[label] == pytest.approx(row["abandonment_rate"])


async def test_agents(place: Place) -> None:
    found = table(await place.report("agents", "agent"))
    expected = asked(
        place.db,
        "SELECT agent, count(*) FILTER (event = 'CONNECT') AS answered, count(*) FILTER (event = 'RINGNOANSWER') AS no_answer,"
        " count(*) FILTER (event LIKE '%TRANSFER') AS transfers"
        " FROM log WHERE moment >= ? AND moment < ? AND agent <> 'NONE' GROUP BY 1",
        [place.start, place.end],
    )
    assert set(found) == set(expected)
    for label, row in expected.items():
        same(found[label], row, label)
        assert 0 <= found[label]["pause"] <= (place.end - place.start) / SECOND
    by_day = await place.report("agents", "day")
    names = [column.name for column in by_day.columns]
    assert sum(row[names.index("login")] or 0 for row in by_day.rows) == sum(
        row["login"] or 0 for row in found.values()
    )
    reasons = table(await place.report("agents", "reason"))
    assert sum(row["pause"] for row in reasons.values()) == pytest.approx(sum(row["pause"] for row in found.values()))


async def test_quality(writer: Writer, queries: Queries) -> None:
    (one,) = synthetic.calls(1, 1, 0, SECOND)
    quality = [Quality(0.02, 10.0, 4.0), Quality(0.04, 20.0, 3.0), None]
    legs = tuple(replace(one.legs[0], number="101", trunk=False, received=found, rtt=None) for found in quality)
    await writer.commit(Batch(records=[replace(one, legs=legs)]))
    report = await Reports(queries, writer, ReportSettings()).make(Question("quality", 0, SECOND))
    (row,) = report.rows
    assert row == ("101", 2, None, None, None, None, 3.5, 0.5, pytest.approx(0.03), 15.0, None)
    by_hour = await Reports(queries, writer, ReportSettings()).make(Question("quality", 0, SECOND, "hour"))
    assert by_hour.total == ("Total", *row[1:])
    assert (await Reports(queries, writer, ReportSettings()).make(Question("quality", 0, SECOND, "trunk"))).rows == ()


MISTAKES = [
    (Question("cats", 0, 10**12), "no report 'cats'"),
    (Question("calls", 0, 10**12, "cat"), "cannot be made by 'cat'"),
    (Question("calls", 0, 10**12, "hour", {"queue": "x"}), "no filter queue"),
    (Question("calls", 0, 10**12, "hour", {"direction": "inbound", "trunk": "x"}), "one filter at a time"),
    (Question("calls", 0, 10**12, "extension", {"direction": "inbound"}), "only the filter extension"),
    (Question("calls", 10**12, 10**12), "begins before it ends"),
    (Question("trunks", 0, 10**12, "hour"), "give trunk="),
]


@pytest.mark.parametrize(("question", "message"), MISTAKES)
async def test_what_cannot_be_asked(writer: Writer, queries: Queries, question: Question, message: str) -> None:
    with pytest.raises(ReportError, match=message):
        await Reports(queries, writer, ReportSettings()).make(question)


async def test_nothing_is_there(writer: Writer, queries: Queries) -> None:
    reports = Reports(queries, writer, ReportSettings())
    for name in ("calls", "queues", "agents", "heatmap", "trunks", "quality"):
        report = await reports.make(Question(name, 0, 86_400 * SECOND))
        assert len({len(report.columns), *(len(row) for row in report.rows)}) == 1
