"""Asterisk's `cel` table in each database: what is read from it is what stands in the journal."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url

from pbxd.calls.cel import COLUMNS, CelEvent, format_line, parse_line
from pbxd.calls.interpreter import records
from pbxd.calls.site import Site
from pbxd.errors import SourceError
from pbxd.stats import cel_table
from pbxd.stats.cel_table import CelTable
from tests.stats.mariadb import Server as MariaServer
from tests.stats.postgres import Server

EMPTY = ("",) * len(COLUMNS)
BERLIN = ZoneInfo("Europe/Berlin")
KINDS: dict[
    str, tuple[str, Callable[[int], object]]
] = {  # kind of the column eventtime -> how an event's time is kept in it
    "sqlite epoch": ("TEXT", lambda at: f"{at // 1_000_000}.{at % 1_000_000:06d}"),
    "sqlite text": ("TEXT", lambda at: moment(at).astimezone(BERLIN).strftime("%Y-%m-%d %H:%M:%S.%f")),
    "sqlite seconds": ("REAL", lambda at: at / 1_000_000),
    "postgresql local": ("timestamp", lambda at: str(moment(at).astimezone(BERLIN).replace(tzinfo=None))),
    "postgresql zone": ("timestamptz", lambda at: str(moment(at))),
    "mariadb local": ("DATETIME(6)", lambda at: str(moment(at).astimezone(BERLIN).replace(tzinfo=None))),
    "mariadb utc": ("TIMESTAMP(6) NULL", lambda at: str(moment(at).replace(tzinfo=None))),
}


def moment(at: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaServer]:
    server = MariaServer()
    yield server
    server.stop()


@pytest.fixture
def events(journals: Path) -> list[CelEvent]:
    return [parse_line(line) for path in sorted(journals.glob("*.csv")) for line in path.read_bytes().splitlines()]


def fill_sqlite(
    path: Path, kind: str, events: list[CelEvent], *, names: tuple[str, ...] = COLUMNS, own: str = ""
) -> str:
    sql, written = KINDS[kind]
    columns = ", ".join(f'"{name}" {sql if name == "eventtime" else "TEXT"}' for name in names)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE cel ({own}{columns})")
        marks, listed = ", ".join("?" * len(names)), ", ".join(names)
        rows = [{**dict(zip(COLUMNS, event, strict=True)), "eventtime": written(event.at)} for event in events]
        values = [tuple(row[name] for name in names) for row in rows]
        connection.executemany(f"INSERT INTO cel ({listed}) VALUES ({marks})", values)
    return f"sqlite:///{path}"


def fill_server(url: str, kind: str, events: list[CelEvent]) -> None:
    sql, written = KINDS[kind]
    serial = "serial PRIMARY KEY" if url.startswith("postgresql") else "int AUTO_INCREMENT PRIMARY KEY"
    columns = ", ".join(f"{name} {sql if name == 'eventtime' else 'text'}" for name in COLUMNS)
    rows = [{**event._asdict(), "at": written(event.at)} for event in events]
    values = ", ".join(f":{name}" for name in CelEvent._fields)
    statement = text(f"INSERT INTO cel ({', '.join(COLUMNS)}) VALUES ({values})")
    if url.startswith("mysql"):
        engine = create_engine(make_url(url).set(drivername="mysql+pymysql"))
        with engine.begin() as connection:
            connection.execute(text("SET time_zone = '+00:00'"))
            connection.execute(text(f"CREATE TABLE cel (id {serial}, {columns})"))
            connection.execute(statement, rows)
        engine.dispose()
        return
    database = cel_table.Database(make_url(url.replace("+asyncpg", "")).set(drivername="postgresql+asyncpg"))

    def make(connection: Connection) -> None:
        connection.execute(text("SET TRANSACTION READ WRITE"))
        connection.execute(text(f"CREATE TABLE cel (id {serial}, {columns})"))
        casts = values.replace(":at", f"CAST(CAST(:at AS text) AS {sql})")
        connection.execute(text(f"INSERT INTO cel ({', '.join(COLUMNS)}) VALUES ({casts})"), rows)
        connection.commit()

    database.ask("filling", make)
    database.close()


def lines(table: CelTable, position: str = "") -> list[bytes]:
    return [line for page in table.pages(position) for _, line in page.lines]


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_gives_what_the_journal_gives(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, events: list[CelEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cel_table, "PAGE", 100)
    if kind.startswith("sqlite"):
        url = fill_sqlite(tmp_path / "master.db", kind, events)
    else:
        url = request.getfixturevalue("postgres" if kind.startswith("p") else "mariadb").database()
        fill_server(url, kind, events)
    table = CelTable(url.replace("+asyncpg", ""), "cel", BERLIN)
    found = lines(table)
    assert found == [format_line(event).encode() for event in events]
    assert table.total("") == len(events)
    site = Site(["PJSIP/trunk-*"], ["1XX"])
    assert list(records(found, site)) == list(records([format_line(event).encode() for event in events], site))
    table.close()


def test_pages_follow_each_other_from_any_place(
    tmp_path: Path, events: list[CelEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cel_table, "PAGE", 64)
    table = CelTable(fill_sqlite(tmp_path / "m.db", "sqlite epoch", events, own="id INTEGER PRIMARY KEY, "), "cel", UTC)
    pages = list(table.pages(""))
    whole = [numbered for page in pages for numbered in page.lines]
    assert [number for number, _ in whole] == list(range(1, len(events) + 1))
    for page in pages[::10]:
        rest = chain.from_iterable(later.lines for later in table.pages(page.position))
        assert list(rest) == whole[int(page.position) :]
        assert table.total(page.position) == len(events) - int(page.position)
    table.close()


def test_without_an_id_pages_end_between_times(
    postgres: Server, events: list[CelEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seconds of a table without fractions hold many events: none is lost, none comes twice."""
    monkeypatch.setattr(cel_table, "PAGE", 8)
    url = postgres.database()
    ordered = sorted((event._replace(at=event.at // 10_000_000 * 10_000_000) for event in events), key=lambda e: e.at)
    fill_server(url, "postgresql local", ordered)
    database = cel_table.Database(make_url(url))

    def drop(connection: Connection) -> None:
        connection.execute(text("SET TRANSACTION READ WRITE"))
        connection.execute(text("ALTER TABLE cel DROP COLUMN id"))
        connection.commit()

    database.ask("dropping", drop)
    database.close()
    table = CelTable(url, "cel", BERLIN)
    wanted = sorted(format_line(event).encode() for event in ordered)
    pages = list(table.pages(""))
    assert sorted(line for page in pages for _, line in page.lines) == wanted
    middle = pages[len(pages) // 2]
    before = [line for page in pages[: len(pages) // 2 + 1] for _, line in page.lines]
    assert sorted(before + lines(table, middle.position)) == wanted
    numbers = [number for page in (*pages, *table.pages(middle.position)) for number, _ in page.lines]
    assert sorted(set(numbers)) == list(range(len(wanted)))
    table.close()


@pytest.mark.parametrize("kind", ["sqlite epoch", "sqlite text", "sqlite seconds"])
def test_a_view_gives_other_names(
    kind: str, tmp_path: Path, events: list[CelEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cel_table, "PAGE", 50)
    ordered = sorted(events, key=lambda event: event.at)
    url = fill_sqlite(tmp_path / "m.db", kind, ordered)
    with closing(sqlite3.connect(tmp_path / "m.db")) as connection, connection:
        connection.execute("CREATE VIEW log AS SELECT eventtime AS t, eventtype AS e, uniqueid, linkedid FROM cel")
    table = CelTable(url, "log", BERLIN, ["eventtime", "eventtype", "uniqueid", "linkedid"])
    pages = list(table.pages(""))
    assert sorted(parse_line(line).at for page in pages for _, line in page.lines) == [event.at for event in ordered]
    rest = lines(table, pages[3].position)
    assert len(rest) == len(events) - sum(len(page.lines) for page in pages[:4])
    table.close()


def test_the_hour_that_comes_twice(tmp_path: Path) -> None:
    """Of each channel it is known when it came into being; within a call, and without that, time does not go back."""
    before = int(
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
    )  # 02:30 in Berlin, summer time; an hour later 02:30 again
    made = []
    for n in range(4):
        second = before + n * 1800
        for event, delay in (("CHAN_START", 1), ("HANGUP", 1500), ("CHAN_END", 1700)):
            at, uniqueid = (second + delay) * 1_000_000, f"{second}.{n}"
            made.append(CelEvent(event, at, *EMPTY[2:])._replace(uniqueid=uniqueid, linkedid=uniqueid))
    table = CelTable(fill_sqlite(tmp_path / "m.db", "sqlite text", made), "cel", BERLIN)
    assert [parse_line(line).at for line in lines(table)] == [event.at for event in made]
    table.close()


def test_values_that_no_line_can_hold(tmp_path: Path, events: list[CelEvent]) -> None:
    odd = events[0]._replace(cid_name='a "b"\r\nc', userfield="ü", app_data="x\0y")
    url = fill_sqlite(tmp_path / "m.db", "sqlite epoch", [odd])
    with closing(sqlite3.connect(tmp_path / "m.db")) as connection, connection:
        connection.execute("UPDATE cel SET exten = CAST(x'fc' AS TEXT), peer = NULL")
    table = CelTable(url, "cel", UTC)
    (line,) = lines(table)
    assert parse_line(line) == odd._replace(cid_name='a "b"  c', app_data="xy", exten="ü")
    table.close()


def test_columns_that_are_missing_are_empty(tmp_path: Path, events: list[CelEvent]) -> None:
    few = ("eventtime", "eventtype", "uniqueid", "linkedid", "channame", "extra")
    table = CelTable(fill_sqlite(tmp_path / "m.db", "sqlite epoch", events, names=few), "cel", UTC)
    first = parse_line(lines(table)[0])
    assert (first.type, first.channel, first.cid_num) == (events[0].type, events[0].channel, "")
    table.close()


@pytest.mark.parametrize(
    ("url", "table", "message"),
    [
        ("sqlite:////nowhere/master.db", "cel", "there is no file"),
        ("oracle://host/x", "cel", "sqlite, postgresql, mysql, mariadb"),
        ("postgresql://nobody@/x?host=/nowhere", "cel", "opening postgresql"),
        ("mysql://nobody:secret@127.0.0.1:1/x", "cel", "opening mysql"),
        ("sqlite:///{folder}/m.db", "cdr", "has no table cdr; there are cel. Name it by --table"),
        ("sqlite:///{folder}/numbers.db", "cel", "holds numbers"),
        ("sqlite:///{folder}/without.db", "cel", "no column uniqueid"),
        ("sqlite:///{folder}/junk.db", "cel", "file is not a database"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(
    url: str, table: str, message: str, tmp_path: Path, events: list[CelEvent]
) -> None:
    fill_sqlite(tmp_path / "m.db", "sqlite epoch", events[:1])
    fill_sqlite(tmp_path / "without.db", "sqlite epoch", events[:1], names=tuple(n for n in COLUMNS if n != "uniqueid"))
    with closing(sqlite3.connect(tmp_path / "numbers.db")) as connection:
        connection.execute("CREATE TABLE cel (eventtype INTEGER, eventtime TEXT, uniqueid TEXT, linkedid TEXT)")
    (tmp_path / "junk.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(SourceError, match=message) as caught:
        CelTable(url.format(folder=tmp_path), table, UTC)
    assert "secret" not in str(caught.value)


def test_a_driver_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cel_table, "find_spec", lambda _name: None)
    with pytest.raises(SourceError, match=r"pip install 'pbxd\[mysql\]'"):
        CelTable("mariadb://root@localhost/asteriskcdrdb", "cel", UTC)


def test_the_password_is_no_part_of_the_id(tmp_path: Path, events: list[CelEvent]) -> None:
    url = fill_sqlite(tmp_path / "m.db", "sqlite epoch", events[:1])
    table = CelTable(url, "cel", UTC)
    assert table.id == hashlib.sha256(f"{url} cel".encode()).hexdigest()[:32]
    table.close()


def test_nothing_can_be_written(tmp_path: Path, events: list[CelEvent], mariadb: MariaServer, postgres: Server) -> None:
    urls = [fill_sqlite(tmp_path / "m.db", "sqlite epoch", events[:1]), mariadb.database(), postgres.database()]
    for url in urls:
        if not url.startswith("sqlite"):
            fill_server(url, "mariadb local" if url.startswith("mysql") else "postgresql local", events[:1])
        database = cel_table.Database(cel_table.parse(url))
        with pytest.raises(SourceError, match=r"read.?only|READ ONLY"):
            database.ask("deleting from", lambda connection: connection.execute(text("DELETE FROM cel")))
        database.close()
