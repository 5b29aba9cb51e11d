"""The store: what goes in comes out; all or nothing; twice is once; one writer."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from pbxd.calls.interpreter import records
from pbxd.calls.record import CallRecord
from pbxd.calls.site import Site
from pbxd.errors import StoreBusy, StoreError
from pbxd.stats.migrate import MIGRATIONS, migrate
from pbxd.stats.queries import CallFilter, Queries
from pbxd.stats.schema import HEAD, Base
from pbxd.stats.writer import Batch, Position, Reject, Writer


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/stats/stats.db"


@pytest.fixture
async def writer(url: str) -> AsyncIterator[Writer]:
    made = await Writer.open(url)
    yield made
    await made.close()


@pytest.fixture
async def queries(url: str, writer: Writer) -> AsyncIterator[Queries]:
    assert writer  # it makes the tables
    made = Queries(url)
    yield made
    await made.close()


@pytest.fixture
def calls(journals: Path) -> list[CallRecord]:
    site = Site(["PJSIP/trunk-*"], ["1XX"])
    return [
        record for path in sorted(journals.glob("*.csv")) for record in records(path.read_bytes().splitlines(), site)
    ]


async def listed(queries: Queries, **conditions: object) -> list[CallRecord]:
    wanted = CallFilter(**{"limit": 10**6, "newest_first": False, **conditions})  # type: ignore[arg-type]
    return [record async for record in queries.calls(wanted)]


async def test_what_goes_in_comes_out(writer: Writer, queries: Queries, calls: list[CallRecord]) -> None:
    await writer.commit(Batch(records=calls))
    assert await listed(queries) == sorted(calls, key=lambda call: call.start)
    assert await queries.call(calls[0].id) == calls[0]
    assert await queries.call(calls[0].legs[-1].uniqueid) == calls[0]
    assert await queries.call("none") is None


async def test_twice_is_once(writer: Writer, queries: Queries, calls: list[CallRecord]) -> None:
    for _ in range(3):
        await writer.commit(Batch(records=[*calls, *calls]))
    assert len(await listed(queries)) == len(calls)


async def test_a_record_replaces_those_that_it_swallowed(
    writer: Writer, queries: Queries, calls: list[CallRecord]
) -> None:
    one, two, *_ = calls
    await writer.commit(Batch(records=[one, two]))
    merged = replace(one, replaces=(two.id,))
    await writer.commit(Batch(records=[merged]))
    assert [call.id for call in await listed(queries)] == [one.id]
    await writer.commit(Batch(records=[two, merged]))  # both in one batch
    assert [call.id for call in await listed(queries)] == [one.id]


async def test_all_or_nothing(writer: Writer, queries: Queries, calls: list[CallRecord]) -> None:
    bad = replace(calls[1], start=None)  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        await writer.commit(Batch(records=[calls[0], bad], positions=[Position("cel", "p", 100, 0, 1)]))
    assert await listed(queries) == []
    assert (await queries.progress("cel")).positions == {}
    await writer.commit(Batch(records=[calls[0]]))  # and it goes on
    assert len(await listed(queries)) == 1


async def test_commits_at_once_take_turns(writer: Writer, queries: Queries, calls: list[CallRecord]) -> None:
    """A batch that fails takes nothing of another one with it."""
    bad = replace(calls[0], start=None)  # type: ignore[arg-type]
    batches = [Batch(records=[bad if n % 3 == 1 else call]) for n, call in enumerate(calls)]
    outcomes = await asyncio.gather(*map(writer.commit, batches), return_exceptions=True)
    good = [call for call, outcome in zip(calls, outcomes, strict=True) if outcome is None]
    assert len(good) == len([n for n in range(len(calls)) if n % 3 != 1])
    assert {call.id for call in await listed(queries)} == {call.id for call in good}


async def test_position_and_state_come_back(writer: Writer, queries: Queries) -> None:
    await writer.commit(Batch(positions=[Position("cel", "p", 100, 50, 1)], saved={"cel": b"state"}))
    await writer.commit(Batch(positions=[Position("cel", "p", 200, 50, 1), Position("queue_log", "q", 7, 7, 1)]))
    found = await queries.progress("cel")
    assert (found.positions, found.saved) == ({"p": (200, 50, 1)}, b"state")
    await writer.commit(Batch(forgotten=[("cel", "p")]))
    assert (await queries.progress("cel")).positions == {}


async def test_rejects_are_kept_and_counted(writer: Writer, queries: Queries) -> None:
    reject = Reject("cel", "p", 5, "junk", b"\x00" * 10_000)
    await writer.commit(Batch(rejects=[reject]))
    await writer.commit(Batch(rejects=[reject]))
    assert (await queries.counts())["journal_rejects"] == 1


@pytest.mark.usefixtures("writer")
async def test_there_is_one_writer(url: str) -> None:
    with pytest.raises(StoreBusy, match="another pbxd"):
        await Writer.open(url)


async def test_readers_cannot_write(queries: Queries) -> None:
    async with queries._engine.connect() as connection:
        with pytest.raises(Exception, match="readonly"):
            await connection.exec_driver_sql("DELETE FROM calls")


async def test_long_listings_are_paged(writer: Writer, queries: Queries, calls: list[CallRecord]) -> None:
    many = [replace(calls[0], id=f"1.{n}", start=calls[0].start + n // 3) for n in range(1234)]
    await writer.commit(Batch(records=many))
    assert [call.id for call in await listed(queries)] == [call.id for call in many]
    assert len(await listed(queries, limit=700)) == 700
    newest = [call.id async for call in queries.calls(CallFilter(limit=1000))]
    assert newest == [call.id for call in reversed(many)][:1000]


async def test_a_store_that_is_no_database(tmp_path: Path, url: str) -> None:
    (tmp_path / "stats").mkdir()
    (tmp_path / "stats" / "stats.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="cannot be read as a database"):
        await Writer.open(url)


async def test_a_store_from_a_newer_pbxd_is_left_alone(tmp_path: Path, url: str, writer: Writer) -> None:
    await writer.close()
    with sqlite3.connect(tmp_path / "stats" / "stats.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer"):
        await Writer.open(url)


def test_migrations_make_the_models(url: str) -> None:
    migrate(url)
    engine = create_engine(url.replace("+aiosqlite", ""))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == HEAD
    assert migrate(url) is False
