"""Reports from rollups beside the same questions by GROUP BY on the raw rows, over one month of a year of calls.

    python -m bench.reports [--calls N] [--months N] [--store FILE] [--json]

Exit 1 if a report is less than 100 times as fast, or a call takes more than 1.5 kB. A store that exists is used as it is; a new one
is filled with synthetic calls: 200 extensions, 4 trunks, 10 queues, on the curve of an office day. The ratio grows with the number
of calls, because a report reads as many rollups whatever that is: it is meant for 10 million.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from bench.table import show
from pbxd.stats import dirty
from pbxd.stats.engine import fetch, many
from pbxd.stats.layout import QUARTERS, SLOT
from pbxd.stats.queries import Queries
from pbxd.stats.question import Question, ReportSettings
from pbxd.stats.reports import Reports
from pbxd.stats.rollup import roll_up
from pbxd.stats.writer import INSERT_CALL_SLOTS, INSERT_CALLS, INSERT_PARTS, Writer, insert_sql

ZONE = "Europe/Berlin"
YEAR = 2026
TARGET = 100.0
LARGEST = 1500.0  # bytes of the store a call
AT_ONCE = 20_000  # calls in one transaction
TRIES = 3
SECOND = 1_000_000
DAY_CURVE = (
    1,
    1,
    1,
    1,
    1,
    2,
    5,
    20,
    60,
    90,
    100,
    95,
    60,
    70,
    95,
    90,
    75,
    50,
    25,
    12,
    8,
    5,
    3,
    2,
)  # weight of each hour
WEEK_CURVE = (10, 9, 9, 9, 8, 3, 1)


@dataclass(slots=True)
class Rows:
    """Rows of some calls, ready to be inserted."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    parts: dict[str, list[tuple[Any, ...]]] = field(default_factory=lambda: {name: [] for name in INSERT_PARTS})
    log: list[tuple[Any, ...]] = field(default_factory=list)  # queue_log
    times: list[tuple[Any, ...]] = field(default_factory=list)  # agent_time
    others: list[tuple[int, int, int]] = field(default_factory=list)  # call_slots
    slots: set[int] = field(default_factory=set)


def hours(months: int) -> list[tuple[int, int]]:
    """Start (microseconds) and weight of each hour."""
    begin, end = (int(datetime(YEAR + n // 12, n % 12 + 1, 1, tzinfo=ZoneInfo(ZONE)).timestamp()) for n in (0, months))
    found = []
    for at in range(begin, end, 3600):
        there = datetime.fromtimestamp(at, ZoneInfo(ZONE))
        found.append((at * SECOND, DAY_CURVE[there.hour] * WEEK_CURVE[there.weekday()]))
    return found


def starts(count: int, months: int) -> Iterator[int]:
    """Starts of `count` calls, in order."""
    chance = random.Random(1)  # noqa: S311 - repeatable
    curve = hours(months)
    total = sum(weight for _, weight in curve)
    done = 0
    for (at, _), reached in zip(curve, accumulate(weight for _, weight in curve), strict=True):
        until = count * reached // total
        yield from sorted(at + chance.randrange(3600 * SECOND) for _ in range(until - done))
        done = until


def add(rows: Rows, key: int, start: int, chance: random.Random) -> None:
    """One call: its row, its legs, its events, and in a third of all calls a stay in a queue."""
    draw = chance.random
    inbound = draw() < 0.6
    ring, talk = int(draw() * 25 * SECOND), int(chance.expovariate(1 / 180) * SECOND)
    answered = draw() < 0.8
    queued = inbound and draw() < 0.55
    wait = int(chance.expovariate(1 / 25) * SECOND) if queued else 0
    phone, trunk = f"{100 + int(draw() * 200)}", f"PJSIP/trunk-{int(draw() * 4)}"
    number = f"030{int(draw() * 900_000) + 100_000}"
    up = start + wait + ring
    end = up + talk if answered else up
    talked = f"{up}-{end}" if answered else ""
    disposition = "answered" if answered else "abandoned" if queued else "no_answer"
    first, second = f"{start // SECOND}.{2 * key}", f"{start // SECOND}.{2 * key + 1}"
    direction = "inbound" if inbound else "outbound"
    caller = (trunk, number, True) if inbound else (f"PJSIP/{phone}", phone, False)
    called = (f"PJSIP/{phone}", phone, False) if inbound else (trunk, number, True)
    answer = up if answered else None
    rows.calls.append((
        key, 0, first, start, answer, end, direction, disposition, disposition, 16, "caller", caller[1], "", caller[0],
        "300" if inbound else number, called[0] if answered else "", "", ring, wait, talk if answered else 0, 0, 0, "", "", "",
        first,
    ))  # fmt: skip
    heard = sound(draw) if answered and draw() < 0.6 else (None,) * 7
    rows.parts["call_legs"] += [
        (key, 0, first, f"{caller[0]}-{key:08x}", caller[0], "caller", caller[1], "", caller[2], start, start, end, talked, 16,
         "", *heard),
        (key, 1, second, f"{called[0]}-{key:08x}", called[0], "called", called[1], "", called[2], start + wait, answer, end,
         talked, 16, "", *heard),
    ]  # fmt: skip
    rows.parts["call_events"] += [
        (key, 0, start, "start", first, caller[0]),
        (key, 1, start + wait, "dial", second, called[0]),
        (key, 2, end, "hangup", second, called[0]),
    ]
    if queued:
        outcome = "answered" if answered else "abandoned"
        queue = f"queue-{int(draw() * 10)}"
        rows.parts["call_queues"].append(
            (key, 0, queue, start, answer, end, called[0] if answered else "", outcome, number)
        )
        if answered:
            serve(rows, key, first, queue, called[0], (up, end))
    slot, last = start // SLOT, end // SLOT
    rows.slots |= {slot, last}
    others = {last, (start + wait) // SLOT} - {slot}
    rows.others += [(0, other, key) for other in others]
    rows.slots |= others


def sound(draw: Callable[[], float]) -> tuple[float, ...]:
    """Voice quality of a leg: loss, jitter, MOS of each direction, and the round trip."""
    loss = draw() * 0.02
    return (loss, draw() * 20, 4.4 - 40 * loss, loss / 2, draw() * 10, 4.4 - 20 * loss, draw() * 80)


def serve(rows: Rows, key: int, call: str, queue: str, agent: str, talk: tuple[int, int]) -> None:  # noqa: PLR0917
    """What queue_log says of a call that an agent took, and the agent's time."""
    up, end = talk
    done = f"0|{(end - up) // SECOND}|1"
    rows.log += [
        (0, "bench", 2 * key, up // SECOND * SECOND, call, queue, agent, "CONNECT", "0"),
        (0, "bench", 2 * key + 1, end // SECOND * SECOND, call, queue, agent, "COMPLETECALLER", done),
    ]
    start = up
    while start < end:
        until = min(end, (start // SLOT + 1) * SLOT)
        rows.times.append((0, start // SLOT, agent, queue, "talk", call, start, until))
        rows.slots.add(start // SLOT)
        start = until


async def fill(writer: Writer, count: int, months: int) -> None:
    """Store `count` calls, in the order of their time."""
    chance = random.Random(2)  # noqa: S311 - repeatable

    async def flush(rows: Rows) -> None:
        async def work(connection: AsyncConnection, box: int) -> None:
            await many(connection, INSERT_CALLS, rows.calls)
            for name, (sql, _) in INSERT_PARTS.items():
                await many(connection, sql, rows.parts[name])
            await many(connection, INSERT_CALL_SLOTS, rows.others)
            await many(connection, INSERT_LOG, rows.log)
            await many(connection, INSERT_TIMES, rows.times)
            await dirty.mark(connection, box, QUARTERS, rows.slots)

        await writer.run("filling the store", work)

    rows = Rows()
    for key, start in enumerate(starts(count, months), 1):
        add(rows, key, start, chance)
        if len(rows.calls) >= AT_ONCE:
            await flush(rows)
            rows = Rows()
    await flush(rows)


LOCAL = "(start / 1000000 + {offset})"
HOUR, WEEKDAY, DAY = f"{LOCAL} / 3600 % 24", f"({LOCAL} / 86400 + 3) % 7", f"{LOCAL} / 86400"
MONTH = "box = 0 AND start >= ? AND start < ?"
LEGS = """
    SELECT {name}, count(DISTINCT c.id), sum(role = 'caller'), sum(role = 'called'), sum(l.answer IS NOT NULL),
    sum(l."end" - l.start) FROM calls c JOIN call_legs l ON l.call = c.id
    WHERE c.box = 0 AND c.start >= ? AND c.start < ? AND {which} GROUP BY 1
"""


KINDS = ("login", "pause", "ring", "talk", "wrapup")  # of an agent's time
SOUND = """
    SELECT {group}, count(*), avg(sent_mos), avg(sent_mos < 3.6), avg(sent_loss), avg(sent_jitter), avg(received_mos),
    avg(received_mos < 3.6), avg(received_loss), avg(received_jitter), avg(rtt)
    FROM calls c JOIN call_legs l ON l.call = c.id
    WHERE c.box = 0 AND c.start >= ? AND c.start < ? AND {which} AND sent_mos IS NOT NULL GROUP BY 1
"""
TIMES_OF_AGENT = ", ".join(f"sum(CASE WHEN kind = '{kind}' THEN \"end\" - start END)" for kind in KINDS)
AGENTS = f"""
    WITH asked AS (SELECT ? AS first, ? AS last), e AS (
        SELECT agent, sum(event = 'CONNECT') AS answered, sum(event = 'RINGNOANSWER') AS rang,
        sum(event = 'RINGCANCELED') AS cancelled, sum(event IN ('BLINDTRANSFER', 'ATTENDEDTRANSFER')) AS moved
        FROM queue_log, asked WHERE box = 0 AND at >= first AND at < last GROUP BY 1),
    t AS (
        SELECT agent, {TIMES_OF_AGENT}
        FROM agent_time, asked WHERE box = 0 AND slot >= first / {SLOT} AND slot < last / {SLOT} GROUP BY 1)
    SELECT * FROM e LEFT JOIN t ON t.agent = e.agent
"""
INSERT_LOG = insert_sql("queue_log", ["box", "part", "offset", "at", "call_id", "queue", "agent", "event", "data"])
INSERT_TIMES = insert_sql("agent_time", ["box", "slot", "agent", "queue", "kind", "reason", "start", "end"])


def ranks(column: str, rank: str, count: str) -> str:
    """Nearest-rank percentiles of a column whose rows are numbered in its order."""
    return ", ".join(f"max(CASE WHEN {rank} = ({count} * {p} + 99) / 100 THEN {column} END)" for p in (50, 90, 95))


def of_calls(group: str) -> str:
    """The figures of calls by a group, from the calls themselves."""
    return f"""
        WITH x AS (SELECT {group} AS g, disposition, talk_time, ring_time, row_number() OVER w AS r, count(*) OVER p AS n
            FROM calls WHERE {MONTH} WINDOW p AS (PARTITION BY {group}, talk_time > 0), w AS (p ORDER BY talk_time))
        SELECT g, count(*), sum(disposition = 'answered'), sum(disposition = 'no_answer'), sum(disposition = 'abandoned'),
        sum(talk_time), sum(ring_time), {ranks("talk_time", "r", "n")} FROM x GROUP BY 1
    """


def of_queues(group: str) -> str:
    """The figures of queues by a group, from the visits themselves."""
    return f"""
        WITH v AS (SELECT {group} AS g, outcome, q.answer - joined AS wait, "left" - q.answer AS talk,
            coalesce(q.answer, "left") - joined AS waited
            FROM calls JOIN call_queues q ON q.call = calls.id WHERE {MONTH}),
        x AS (SELECT *, row_number() OVER (PARTITION BY g, wait IS NULL ORDER BY wait) AS r,
            row_number() OVER (PARTITION BY g, wait IS NULL ORDER BY talk) AS t,
            count(*) OVER (PARTITION BY g, wait IS NULL) AS n FROM v)
        SELECT g, count(*), sum(outcome = 'answered'), sum(outcome = 'abandoned'), sum(wait < 20000000), avg(wait), max(waited),
        avg(talk), {ranks("wait", "r", "n")}, {ranks("talk", "t", "n")} FROM x GROUP BY 1
    """


QUESTIONS = [  # report, by, the same in SQL on the raw rows
    ("calls", "hour", of_calls(HOUR)),
    ("calls", "weekday", of_calls(WEEKDAY)),
    ("calls", "day", of_calls(DAY)),
    ("calls", "direction", of_calls("direction")),
    ("calls", "disposition", of_calls("disposition")),
    ("calls", "extension", LEGS.format(name="l.number", which="NOT l.trunk")),
    ("trunks", "trunk", LEGS.format(name="l.endpoint", which="l.trunk")),
    ("queues", "queue", of_queues("queue")),
    ("queues", "hour", of_queues(HOUR)),
    ("queues", "day", of_queues(DAY)),
    ("agents", "agent", AGENTS),
    ("quality", "extension", SOUND.format(group="l.number", which="NOT l.trunk")),
    ("quality", "trunk", SOUND.format(group="l.endpoint", which="l.trunk")),
    ("heatmap", "calls", f"SELECT {WEEKDAY}, {HOUR}, count(*) FROM calls WHERE {MONTH} GROUP BY 1, 2"),
]


async def compare(queries: Queries, reports: Reports, month: int) -> list[tuple[Any, ...]]:
    """Each report and its SQL, warm, the best of several; rows of the table."""
    zone = ZoneInfo(ZONE)
    start, end = (int(datetime(YEAR, n, 1, tzinfo=zone).timestamp()) * SECOND for n in (month, month + 1))
    offset = int((datetime.fromtimestamp(start // SECOND, zone).utcoffset() or zone.utcoffset(None)).total_seconds())  # type: ignore[union-attr]
    table = []
    for name, by, sql in QUESTIONS:
        question = Question(name, start, end, by)
        rolled, raw = [], []
        for _ in range(TRIES):
            began = time.perf_counter()
            await reports.make(question)
            rolled.append(time.perf_counter() - began)
        for _ in range(TRIES):
            began = time.perf_counter()
            async with queries.connect() as (connection, _):
                await fetch(connection, sql.replace("{offset}", str(offset)), (start, end))
            raw.append(time.perf_counter() - began)
        ms = min(rolled) * 1000, min(raw) * 1000
        table.append((f"{name} by {by}", *ms, ms[1] / ms[0]))
    return table


async def run(
    path: Path, count: int, months: int, *, there: bool
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Fill the store if it is not there, and measure: rows of the table of reports, and of what it took."""
    url = f"sqlite+aiosqlite:///{path}"
    writer, queries = await Writer.open(url), Queries(url)
    facts: list[tuple[Any, ...]] = []
    began = time.perf_counter()
    if not there:
        await fill(writer, count, months)
        facts.append(("filling, s", time.perf_counter() - began))
    began = time.perf_counter()
    quarters = await roll_up(writer)
    if quarters:
        facts.append(("rolling up, s", time.perf_counter() - began))
    stored = (await queries.counts())["calls"]
    facts += [("calls", stored), ("bytes a call", (await asyncio.to_thread(path.stat)).st_size / stored)]
    table = await compare(queries, Reports(queries, writer, ReportSettings(zone=ZONE)), min(months, 12) // 2 or 1)
    await queries.close()
    await writer.close()
    return table, facts


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000_000)
    parser.add_argument("--months", type=int, default=12, help="over which the calls are spread")
    parser.add_argument("--store", type=Path, help="file of the store; used as it is if it exists")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        path = arguments.store or Path(name) / "stats.db"
        table, facts = asyncio.run(run(path, arguments.calls, arguments.months, there=path.exists()))
    show("one month, warm", ("report", "rollups ms", "raw ms", "times"), table, as_json=arguments.json)
    show("the store", ("what", "value"), facts, as_json=arguments.json)
    size = dict(facts)["bytes a call"]
    return 0 if min(row[-1] for row in table) >= TARGET and size <= LARGEST else 1


if __name__ == "__main__":
    os.environ.setdefault("TZ", "UTC")
    sys.exit(main())
