"""From journal files to the store: rotated, truncated, copied, packed, torn, and begun again at any point."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from pbxd.calls.interpreter import records
from pbxd.calls.record import CallRecord
from pbxd.calls.site import Site
from pbxd.ingest import Ingest, IngestSettings
from pbxd.stats.queries import CallFilter, Queries
from pbxd.stats.writer import Writer
from tests.stats import synthetic
from tests.stats.postgres import Server

SITE = Site(["PJSIP/trunk-*"], ["1XX"])


class Folder:
    """A journal folder, and pbxd's part that reads it into a store."""

    def __init__(self, path: Path, **changes: float) -> None:
        self.path = path
        self.live = path / "pbxd.csv"
        self.queue_log = path / "queue_log"
        self.url = f"sqlite+aiosqlite:///{path}/state/stats.db"
        values = {"keep": 604800.0, "rotate_at": 1 << 40, "batch": 50, "commit_interval": 0.01}
        self.settings = IngestSettings(self.live, self.queue_log, path / "own.csv", **(values | changes))  # type: ignore[arg-type]

    def append(self, data: bytes, name: str = "pbxd.csv") -> None:
        with (self.path / name).open("ab") as file:
            file.write(data)

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Ingest]:
        """A reader that is opened as after a kill: nothing but the store is left of the one before."""
        writer, queries = await Writer.open(self.url), Queries(self.url)
        ingest = Ingest(self.settings, SITE, writer, queries, lambda _records: None)
        try:
            await ingest.open()
            yield ingest
        finally:
            await writer.close()
            await queries.close()

    async def read(self) -> Ingest:
        async with self.reader() as ingest:
            await ingest.catch_up()
            return ingest

    async def stored(self) -> list[CallRecord]:
        queries = Queries(self.url)
        found = [record async for record in queries.calls(CallFilter(limit=10**6, newest_first=False))]
        await queries.close()
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def journal(journals: Path) -> bytes:
    """The lines of all captured calls, in the order of their time."""
    lines = [line for path in journals.glob("*.csv") for line in path.read_bytes().splitlines(keepends=True)]
    return b"".join(sorted(lines, key=lambda line: bytes(line).split(b'"')[3]))


@pytest.fixture
def expected(journal: bytes) -> list[CallRecord]:
    return sorted(records(journal.splitlines(), SITE), key=lambda record: record.start)


async def test_all_at_once(folder: Folder, journal: bytes, expected: list[CallRecord], journals: Path) -> None:
    folder.append(journal)
    await folder.read()
    assert await folder.stored() == expected
    assert len(expected) == len(list(journals.glob("*.csv")))


@pytest.mark.parametrize("seed", range(8))
async def test_begun_again_at_any_point(folder: Folder, journal: bytes, expected: list[CallRecord], seed: int) -> None:
    """Bytes come in pieces that end anywhere; between them the reader is gone without a word, or stopped in order."""
    chance = random.Random(seed)
    places = sorted(chance.sample(range(len(journal)), 15))
    for start, end in zip([0, *places], [*places, len(journal)], strict=True):
        folder.append(journal[start:end])
        async with folder.reader() as ingest:
            await ingest.catch_up(last=chance.random() < 0.3)
    assert await folder.stored() == expected


def renamed(folder: Folder, name: str) -> None:
    folder.live.rename(folder.path / name)


def copied(folder: Folder, name: str) -> None:
    """logrotate's copytruncate."""
    shutil.copy2(folder.live, folder.path / name)
    os.truncate(folder.live, 0)


def packed(folder: Folder, name: str) -> None:
    (folder.path / f"{name}.gz").write_bytes(gzip.compress(folder.live.read_bytes()))
    folder.live.unlink()


@pytest.mark.parametrize("rotate", [renamed, copied, packed])
@pytest.mark.parametrize("read_between", [True, False])
async def test_rotated(
    folder: Folder,
    journal: bytes,
    expected: list[CallRecord],
    rotate: Callable[[Folder, str], None],
    read_between: bool,
) -> None:
    lines = journal.splitlines(keepends=True)
    for n, start in enumerate(range(0, len(lines), 100)):
        folder.append(b"".join(lines[start : start + 60]))
        if read_between:
            await folder.read()
        folder.append(b"".join(lines[start + 60 : start + 100]))
        rotate(folder, f"pbxd.csv.{n}")
        stamp = 1_700_000_000 + n
        for part in folder.path.glob(f"pbxd.csv.{n}*"):
            os.utime(part, (stamp, stamp))
    await folder.read()
    assert await folder.stored() == expected


async def test_a_line_that_came_after_its_part_was_rotated(
    folder: Folder, journal: bytes, expected: list[CallRecord]
) -> None:
    lines = journal.splitlines(keepends=True)
    folder.append(b"".join(lines[:50]))
    await folder.read()
    renamed(folder, "pbxd.csv.1")
    folder.append(b"".join(lines[50:51]), "pbxd.csv.1")  # Asterisk had the old file open still
    folder.append(b"".join(lines[51:]))
    await folder.read()
    assert await folder.stored() == expected


async def test_a_part_that_was_read_is_not_read_again_under_another_name(folder: Folder, journal: bytes) -> None:
    folder.append(journal)
    await folder.read()
    shutil.copy2(folder.live, folder.path / "pbxd.csv.bak")
    assert (await folder.read()).counters.lines == 0


async def test_junk_is_kept_and_the_rest_is_right(folder: Folder, journal: bytes, expected: list[CallRecord]) -> None:
    lines = journal.splitlines(keepends=True)
    folder.append(
        lines[0] + b"\x00\xff junk\n" + b"\n\n" + lines[1] + b'"torn","17' + b"".join(lines[2:]) + b'"half a li'
    )
    ingest = await folder.read()
    assert await folder.stored() == expected
    assert ingest.counters.rejects == 2


async def test_old_parts_are_deleted_when_nothing_of_them_is_needed(tmp_path: Path, journal: bytes) -> None:
    folder = Folder(tmp_path, keep=3600.0)
    lines = journal.splitlines(keepends=True)
    folder.append(b"".join(lines[:-3]))
    await folder.read()
    renamed(folder, "pbxd.csv.1")
    long_ago = time.time() - 7200
    os.utime(tmp_path / "pbxd.csv.1", (long_ago, long_ago))
    folder.append(b"".join(lines[-3:]))
    async with folder.reader() as ingest:
        await ingest.catch_up()
        assert not (tmp_path / "pbxd.csv.1").exists()
    assert len(await folder.stored()) == len(list(records(lines, SITE)))
    async with folder.reader() as ingest:
        assert ingest.cel is not None
        await ingest.catch_up()
        assert len(ingest.cel.tail.progress) == 1  # of the part that is gone nothing is left


async def test_rotated_by_us(tmp_path: Path, journal: bytes, expected: list[CallRecord]) -> None:
    folder = Folder(tmp_path, rotate_at=10_000)
    lines = journal.splitlines(keepends=True)
    for start in range(0, len(lines), 100):
        folder.append(b"".join(lines[start : start + 100]))
        await folder.read()
    assert sum(name.startswith("pbxd.csv.") for name in os.listdir(tmp_path)) >= 3
    assert await folder.stored() == expected


async def test_a_call_whose_end_never_came_is_cut(folder: Folder, journals: Path) -> None:
    lines = (journals / "answered.csv").read_bytes().splitlines(keepends=True)
    folder.append(b"".join(lines[:8]))
    async with folder.reader() as ingest:
        await ingest.catch_up()
        assert ingest.silent_calls(1.0)
        ingest.channels_alive([], int((time.time() - 10) * 1_000_000))
        await ingest.catch_up()
    (record,) = await folder.stored()
    assert record.disposition == "cut"
    await folder.read()  # and it stays cut when all is read again
    assert await folder.stored() == [record]


async def test_a_fault_of_queue_log_costs_no_record(folder: Folder, journals: Path) -> None:
    folder.append((journals / "busy.csv").read_bytes())
    (folder.path / "queue_log.gz").write_bytes(b"no gzip at all")
    async with folder.reader() as ingest:
        await ingest.catch_up()
        assert "queue_log.gz" in ingest.counters.last_error
    assert len(await folder.stored()) == 1


async def test_queue_log(folder: Folder) -> None:
    folder.append(
        b"1795516099|NONE|NONE|NONE|QUEUESTART|\n1795516100|1.1|support|PJSIP/108|CONNECT|5|1.2|3\n1795", "queue_log"
    )
    folder.append(b"junk\n", "queue_log")
    ingest = await folder.read()
    assert (ingest.counters.lines, ingest.counters.rejects) == (3, 1)
    assert (await folder.read()).counters.lines == 0


async def test_agents_begun_again_at_any_point(tmp_path: Path) -> None:
    """The agents' time is the same whether the log is read at once or in pieces, by a reader that is killed between them."""
    lines = [
        "|".join((str(line.at // 1_000_000), line.call_id, line.queue, line.agent, line.event, line.data)) + "\n"
        for line in synthetic.queue_log(1, 60, 1_795_000_000_000_000, 7_200_000_000)
    ]
    found = []
    for name, step in (("whole", 60), ("pieces", 7)):
        (tmp_path / name).mkdir()
        folder = Folder(tmp_path / name)
        for start in range(0, len(lines), step):
            folder.append("".join(lines[start : start + step]).encode(), "queue_log")
            await folder.read()
        with closing(sqlite3.connect(folder.path / "state" / "stats.db")) as connection:
            found.append(connection.execute("SELECT * FROM agent_time").fetchall())
    assert found[0] == found[1]
    assert len(found[0]) > 30


async def test_a_database_server_that_is_killed(tmp_path: Path, journal: bytes, expected: list[CallRecord]) -> None:
    """Reading waits for it, and goes on: nothing is lost, nothing is twice."""
    server = Server()
    try:
        folder = Folder(tmp_path)
        folder.url = server.database()
        folder.append(journal[: len(journal) // 2])
        async with folder.reader() as ingest:
            await ingest.catch_up()
            server.kill()
            folder.append(journal[len(journal) // 2 :])
            waiting = asyncio.create_task(ingest.catch_up())
            while not ingest.counters.failed_commits:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.start)
            await waiting
            assert ingest.counters.last_error == ""
        assert await folder.stored() == expected
    finally:
        server.stop()


async def test_no_journal_yet(folder: Folder) -> None:
    ingest = await folder.read()
    assert ingest.counters.last_error == ""
