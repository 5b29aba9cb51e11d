"""Journal to committed records: CEL lines and calls a second on one core, beside the same rows by raw sqlite3.executemany.

    python -m bench.journal [--calls N] [--json]

Exit 1 below 3,000 calls a second of processor time. The journal is made from the lines of a real answered call.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from bench.table import show
from pbxd.calls.site import Site
from pbxd.ingest import Ingest, IngestSettings
from pbxd.stats import rows
from pbxd.stats.queries import CallFilter, Queries
from pbxd.stats.writer import INSERT_CALLS, INSERT_PARTS, Writer

REAL = Path(__file__).parent.parent / "tests/calls/journals/answered.csv"
TARGET = 3000.0
BEGAN = 1_795_000_000  # epoch seconds of the first call


def journal(path: Path, calls: int) -> int:
    """Write a journal of `calls` answered calls, each with ids and a bridge of its own; how many lines it has."""
    template = REAL.read_text()
    first = template.split('","')[14]
    epoch, _, number = first.partition(".")
    second = f"{epoch}.{int(number) + 1}"
    bridge = template.partition('bridge_id"":""')[2].partition('"')[0]
    lines = 0
    with path.open("w") as file:
        for n in range(calls):
            at = BEGAN + n // 50
            text = (
                template.replace(first, f"{at}.{2 * n}").replace(second, f"{at}.{2 * n + 1}").replace(bridge, f"b{n}")
            )
            for second_of_call in range(3):
                text = text.replace(f'","{int(epoch) + second_of_call}.', f'","{at + second_of_call}.')
            file.write(text)
            lines += text.count("\n")
    return lines


async def ours(folder: Path, calls: int) -> tuple[float, float]:
    """Seconds, and seconds of processor time, from the journal to committed records."""
    url = f"sqlite+aiosqlite:///{folder}/stats.db"
    writer, queries = await Writer.open(url), Queries(url)
    settings = IngestSettings(
        folder / "pbxd.csv", folder / "queue_log", folder / "own.csv", 604800.0, 1 << 40, 4000, 0.25
    )
    ingest = Ingest(settings, Site(["PJSIP/trunk-*"], ["1XX"]), writer, queries, lambda _records: None)
    await ingest.open()
    wall, cpu = time.perf_counter(), time.process_time()
    await ingest.catch_up(last=True)
    taken = time.perf_counter() - wall, time.process_time() - cpu
    if ingest.counters.records != calls:
        raise RuntimeError(f"{ingest.counters.records} records for {calls} calls")
    await writer.close()
    await queries.close()
    return taken


async def stored(folder: Path, calls: int) -> list[tuple[str, list[tuple[object, ...]]]]:
    """The rows that are in the store now, with the statement that inserts them."""
    queries = Queries(f"sqlite+aiosqlite:///{folder}/stats.db")
    records = [record async for record in queries.calls(CallFilter(limit=calls, newest_first=False))]
    await queries.close()
    numbered = list(enumerate(records, 1))
    found: list[tuple[str, list[tuple[object, ...]]]] = [
        (INSERT_CALLS, [rows.call_row(n, 0, record) for n, record in numbered])
    ]
    for sql, make in INSERT_PARTS.values():
        found.append((sql, [row for n, record in numbered for row in make(n, record)]))
    return found


def raw(folder: Path, inserts: list[tuple[str, list[tuple[object, ...]]]]) -> tuple[float, float]:
    """The same rows by the plain driver, into the same tables, in one transaction."""
    path = folder / "raw.db"
    with sqlite3.connect(folder / "stats.db") as source, sqlite3.connect(path) as target:
        for (sql,) in source.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC"):
            target.execute(sql)
        target.execute("PRAGMA journal_mode = WAL")
        target.execute("PRAGMA synchronous = NORMAL")
        wall, cpu = time.perf_counter(), time.process_time()
        for sql, values in inserts:
            target.executemany(sql, values)
        target.commit()
    return time.perf_counter() - wall, time.process_time() - cpu


def rates(calls: int, lines: int, count: int, wall: float) -> tuple[int, int, int]:
    """Calls, lines and rows a second."""
    return round(calls / wall), round(lines / wall), round(count / wall)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core, threads included
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = journal(folder / "pbxd.csv", arguments.calls)
        wall, cpu = asyncio.run(ours(folder, arguments.calls))
        inserts = asyncio.run(stored(folder, arguments.calls))
        count = sum(len(values) for _, values in inserts)
        raw_wall, raw_cpu = raw(folder, inserts)
    head = ("what", "calls/s", "lines/s", "rows/s", "CPU s", "wall s", "ratio to raw")
    table = [
        ("pbxd: journal to committed records", *rates(arguments.calls, lines, count, wall), cpu, wall, wall / raw_wall),
        (
            "sqlite3.executemany of the same rows",
            *rates(arguments.calls, lines, count, raw_wall),
            raw_cpu,
            raw_wall,
            1.0,
        ),
    ]
    show(f"{arguments.calls} calls, {lines} lines, {count} rows, one core", head, table, as_json=arguments.json)
    return 0 if arguments.calls / cpu >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
