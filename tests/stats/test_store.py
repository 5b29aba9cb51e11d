"""The store: what goes in comes out; all or nothing; twice is once; one writer."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from pbxd.calls.record import CallRecord
from pbxd.errors import StoreBusy, StoreError
from pbxd.stats import rows
from pbxd.stats.engine import database_path, open_engine
from pbxd.stats.migrate import migrate
from pbxd.stats.queries import CallFilter, Queries
from pbxd.stats.schema import HEAD, Base
from pbxd.stats.upgrade import MIGRATIONS, upgrade
from pbxd.stats.writer import INSERT_PARTS, Batch, Position, Reject, Writer, insert_sql
from tests.stats.postgres import Server


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
    good = [call for call, outcome in zip(calls, outcomes, strict=True) if outcome == 0]
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
        with pytest.raises(Exception, match=r"read-?only"):
            await connection.exec_driver_sql("DELETE FROM calls")


async def test_long_listings_are_paged(writer: Writer, queries: Queries, calls: list[CallRecord]) -> None:
    many = [replace(calls[0], id=f"1.{n}", start=calls[0].start + n // 3) for n in range(1234)]
    await writer.commit(Batch(records=many))
    assert [call.id for call in await listed(queries)] == [call.id for call in many]
    assert len(await listed(queries, limit=700)) == 700
    newest = [call.id async for call in queries.calls(CallFilter(limit=1000))]
    assert newest == [call.id for call in reversed(many)][:1000]


async def test_a_store_that_is_no_database(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/stats/stats.db"
    (tmp_path / "stats").mkdir()
    (tmp_path / "stats" / "stats.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="cannot be read as a database"):
        await Writer.open(url)


async def test_a_store_from_a_newer_pbxd_is_left_alone(url: str, writer: Writer) -> None:
    await writer.close()
    engine = open_engine(url)
    async with engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    await engine.dispose()
    with pytest.raises(StoreError, match="newer"):
        await Writer.open(url)


@pytest.mark.parametrize("make", [upgrade, migrate], ids=["migrated", "made empty"])
async def test_migrations_make_the_models(url: str, make: Callable[[str], object]) -> None:
    path = database_path(url)
    if path is not None:
        path.parent.mkdir()
    await asyncio.to_thread(make, url)
    engine = open_engine(url)
    async with engine.connect() as connection:
        difference = await connection.run_sync(
            lambda plain: compare_metadata(MigrationContext.configure(plain), Base.metadata)
        )
    await engine.dispose()
    assert difference == []
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == HEAD
    assert await asyncio.to_thread(migrate, url) is False
    assert path is None or incremental(path)


async def test_a_store_half_made_by_an_earlier_pbxd_is_not_made_again(tmp_path: Path) -> None:
    """Its tables are there and its version is not: Alembic's process says what is in the way, and nothing is changed."""
    path = tmp_path / "stats.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE calls (id INTEGER)")
    with pytest.raises(StoreError, match="table calls already exists"):
        await Writer.open(f"sqlite+aiosqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("calls",)]


def incremental(path: Path) -> bool:
    """Whether the file gives back what is deleted."""
    with closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("PRAGMA auto_vacuum").fetchone() == (2,))


def test_a_store_of_an_earlier_pbxd_is_taken_over(tmp_path: Path, calls: list[CallRecord]) -> None:
    """What was stored before boxes, rollups and retention had their tables is all there afterwards."""
    path = tmp_path / "stats.db"
    upgrade(f"sqlite+aiosqlite:///{path}", "0002")
    with closing(sqlite3.connect(path)) as connection:
        row = rows.call_row(1, 0, calls[0])
        values = (row[0], *row[2:])
        connection.execute(insert_sql("calls", ["id", *rows.CALL]), values)
        sql, make = INSERT_PARTS["call_legs"]
        connection.executemany(sql, make(1, calls[0]))
        connection.execute("INSERT INTO journal_position VALUES ('cel', 'p', 100, 50, 1)")
        connection.execute("INSERT INTO journal_state VALUES ('cel', 'saved')")
        connection.execute("INSERT INTO queue_log VALUES ('q', 7, 1000000, 'NONE', 'support', 'a', 'PAUSE', '')")
        connection.commit()

    async def read() -> None:
        writer, queries = await Writer.open(f"sqlite+aiosqlite:///{path}"), Queries(f"sqlite+aiosqlite:///{path}")
        (found,) = await listed(queries)
        assert (found.id, found.legs) == (calls[0].id, calls[0].legs)
        assert (await queries.progress("cel")).positions == {"p": (100, 50, 1)}
        await writer.commit(Batch(records=calls))
        assert len(await listed(queries)) == len(calls)
        await queries.close()
        await writer.close()

    asyncio.run(read())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM queue_log").fetchone() == (1,)
    assert incremental(path)


async def test_boxes_share_a_server(postgres: Server, calls: list[CallRecord]) -> None:
    """Two boxes write at the same time, each its own calls, of the same ids; each reads its own."""
    url = postgres.database()
    north, south = await Writer.open(url, "north"), await Writer.open(url, "south")
    await asyncio.gather(north.commit(Batch(records=calls)), south.commit(Batch(records=calls[:3])))
    await south.commit(Batch(records=calls[:3], positions=[Position("cel", "p", 100, 50, 1)]))
    for name, count, places in (("north", len(calls), {}), ("south", 3, {"p": (100, 50, 1)}), ("east", 0, {})):
        queries = Queries(url, name)
        assert (await queries.counts())["calls"] == count == len(await listed(queries))
        assert (await queries.progress("cel")).positions == places
        await queries.close()
    with pytest.raises(StoreBusy, match="south"):
        await Writer.open(url, "south")
    await north.close()
    await south.close()
    again = await Writer.open(url, "south")
    await again.commit(Batch(records=calls))
    await again.close()


async def test_a_server_that_is_killed(calls: list[CallRecord]) -> None:
    """Commits fail while it is away, as errors of ours; afterwards the same writer goes on, and twice is once."""
    server = Server()
    try:
        url = server.database()
        writer, queries = await Writer.open(url), Queries(url)
        await writer.commit(Batch(records=calls[:5]))
        assert len(await listed(queries)) == 5
        server.kill()
        batch = Batch(records=calls[3:], positions=[Position("cel", "p", 100, 100, 1)])
        for _ in range(3):
            with pytest.raises(StoreError):
                await writer.commit(batch)
        with pytest.raises(StoreError):
            await listed(queries)
        with pytest.raises(StoreError):
            await Writer.open(url, "other")
        server.start()
        await writer.commit(batch)
        with pytest.raises(StoreBusy):  # the new connection has the lock again
            await Writer.open(url)
        await writer.commit(batch)
        assert {call.id for call in await listed(queries)} == {call.id for call in calls}
        assert (await queries.counts())["calls"] == len(calls)
        await writer.close()
        await queries.close()
    finally:
        server.stop()


async def test_a_driver_that_we_do_not_know() -> None:
    with pytest.raises(StoreError, match="postgresql\\+psycopg2 is not one of"):
        await Writer.open("postgresql+psycopg2://localhost/x")
