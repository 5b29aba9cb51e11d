"""Asterisk's table of channel events in any database, for an import: read page by page, never written.

Pages follow the column `id`, or SQLite's rowid, or where there is neither the times of the events: then a page ends between two
times, and of the hour that comes twice in autumn the order is not known.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Select,
    column,
    create_engine,
    event,
    func,
    inspect,
    literal,
    select,
)
from sqlalchemy import table as table_of
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchTableError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.types import TIMESTAMP

from pbxd.calls.cel_columns import Columns, known, text
from pbxd.calls.history import Page
from pbxd.errors import SourceError

T = TypeVar("T")
PAGE = 5000  # rows read at once
TIMEOUT = 10  # s for a server to take a connection
MYSQL = ("mysql", "mariadb")
DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+asyncpg", **{name: f"{name}+pymysql" for name in MYSQL}}


class Database:
    """A connection that only reads."""

    def __init__(self, url: URL) -> None:
        """SourceError if the database cannot be reached, or its driver is not installed."""
        self.backend = url.get_backend_name()
        self.name = url.render_as_string(hide_password=True)
        self._stack = contextlib.ExitStack()
        with self._stack, self.errors("opening"):
            self._ask = self._asyncpg(url) if self.backend == "postgresql" else self._plain(url)
            self._stack = self._stack.pop_all()

    def _plain(self, url: URL) -> Callable[[Callable[[Connection], Any]], Any]:
        if self.backend == "sqlite":
            path = Path(url.database or "")
            if not path.is_file():
                raise SourceError(f"there is no file {path}; an absolute path has four slashes: sqlite:////var/log/…")
            engine = create_engine(
                "sqlite://", creator=lambda: sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            )
        else:
            if find_spec("pymysql") is None:
                raise SourceError("the driver for MySQL and MariaDB is not installed: pip install 'pbxd[mysql]'")
            engine = create_engine(url, connect_args={"connect_timeout": TIMEOUT})
        event.listen(engine, "connect", self._prepare)
        self._stack.callback(engine.dispose)
        connection = self._stack.enter_context(engine.connect())
        return lambda question: question(connection)

    def _prepare(self, connection: Any, _record: object) -> None:  # noqa: ANN401 - a driver's own type
        if self.backend == "sqlite":
            connection.text_factory = text  # names from old phones are not always UTF-8
            return
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
            cursor.execute(
                "SET time_zone = '+00:00'"
            )  # a TIMESTAMP is told in it; a DATETIME is told as it was written

    def _asyncpg(self, url: URL) -> Callable[[Callable[[Connection], Any]], Any]:
        runner = self._stack.enter_context(asyncio.Runner())
        settings = {"application_name": "pbxctl", "default_transaction_read_only": "on"}
        engine = create_async_engine(url, connect_args={"server_settings": settings, "timeout": TIMEOUT})
        self._stack.callback(lambda: runner.run(engine.dispose()))
        connection = engine.connect()
        runner.run(cast("Any", connection.start()))
        self._stack.callback(lambda: runner.run(connection.close()))
        return lambda question: runner.run(connection.run_sync(question))

    def ask(self, what: str, question: Callable[[Connection], T]) -> T:
        """The answer of the database. SourceError, with `what` was tried."""
        with self.errors(what):
            answer: T = self._ask(question)
            return answer

    @contextlib.contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Errors of drivers become SourceErrors."""
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            reason = getattr(error, "orig", None) or error
            raise SourceError(f"{what} {self.name}: {reason or type(error).__name__}") from error

    def close(self) -> None:
        """Close the connection."""
        self._stack.close()


class CelTable:
    """One table; see `History`. Its positions are ids, or times as the table has them."""

    unit = "rows"

    def __init__(self, url: str, table: str, zone: tzinfo, columns: Sequence[str] = ()) -> None:
        """SourceError if it cannot be read, or a column is missing. `columns` names those of a table that calls them otherwise."""
        parsed = parse(url)
        schema, _, name = table.rpartition(".")
        self._database = Database(parsed)
        try:
            kinds = self._columns(schema or None, name)
            self._from = table_of(name, *(column(key) for key in kinds), schema=schema or None)
            self._shape(kinds, zone, columns)
        except BaseException:
            self._database.close()
            raise
        self.name = f"{self._database.name}, table {table}"
        place = URL.create(
            self._database.backend, parsed.username, None, parsed.host, parsed.port, parsed.database, parsed.query
        )
        self.id = hashlib.sha256(f"{place} {table}".encode()).hexdigest()[:32]

    def _columns(self, schema: str | None, name: str) -> dict[str, Any]:
        """The kinds of the table's columns, by name."""

        def look(connection: Connection) -> dict[str, Any]:
            inspector = inspect(connection)
            try:
                return {found["name"]: found["type"] for found in inspector.get_columns(name, schema)}
            except NoSuchTableError:
                names = ", ".join(sorted(inspector.get_table_names(schema))) or "none"
                raise SourceError(
                    f"{self._database.name} has no table {name}; there are {names}. Name it by --table"
                ) from None

        return self._database.ask("reading the columns of", look)

    def _shape(self, kinds: dict[str, Any], zone: tzinfo, columns: Sequence[str]) -> None:
        names = list(kinds)
        called = dict(zip(names, columns, strict=False)) if columns else {name: name for name in names}
        if columns and len(columns) != len(names):
            raise SourceError(f"--columns names {len(columns)} columns, the table has {len(names)}: {', '.join(names)}")
        self._names = names
        self._make = Columns([called[name] for name in names], zone)
        (time,) = (name for name in names if known(called[name]) == "eventtime")
        (kind,) = (name for name in names if known(called[name]) == "eventtype")
        if kinds[kind]._type_affinity.__name__ in {"Integer", "Numeric"}:  # noqa: SLF001 - SQLAlchemy has no public name for it
            raise SourceError(
                f"the column {kind} of {self._database.name} holds numbers, whose meaning changes between versions of Asterisk; "
                "make it a text column, then Asterisk writes names"
            )
        # MySQL keeps a TIMESTAMP in UTC, whatever the zone of who wrote it.
        utc = self._database.backend in MYSQL and isinstance(kinds[time], TIMESTAMP)
        self._utc = names.index(time) if utc else None
        own = next((name for name in names if name.lower() == "id"), None)
        if own is None and self._database.backend == "sqlite" and self._has_rowid():
            own = "rowid"
        self._by_id = own is not None
        self._key: ColumnElement[Any] = column(own or time)

    def _has_rowid(self) -> bool:
        """Whether SQLite numbers the rows: it does not for a view, or a table that was made WITHOUT ROWID."""
        statement: Select[Any] = select(column("rowid")).select_from(self._from).limit(1)
        try:
            return self._database.ask("asking", lambda connection: connection.execute(statement).scalar()) is not None
        except SourceError:
            return False

    def total(self, position: str) -> int | None:
        """How many rows there are behind `position`."""
        statement = self._behind(select(func.count()).select_from(self._from), self._value(position))
        return int(
            self._database.ask("counting rows in", lambda connection: connection.execute(statement).scalar_one())
        )

    def _value(self, position: str) -> Any:  # noqa: ANN401 - of the key column's own kind
        if not position:
            return None
        if self._by_id:
            return int(position)
        kind, _, value = position.split(":", 2)
        if kind == "time":
            return datetime.fromisoformat(value)
        return value if kind == "text" else float(value)

    def _position(self, key: Any, count: int) -> str:  # noqa: ANN401 - of the key column's own kind
        """An id; or the kind of the time, how many rows there are up to it, and the time."""
        if self._by_id:
            return str(key)
        if isinstance(key, datetime):
            return f"time:{count}:{key.isoformat()}"
        return f"text:{count}:{key}" if isinstance(key, str) else f"number:{count}:{key}"

    def _behind(self, statement: Select[Any], after: Any) -> Select[Any]:  # noqa: ANN401 - of the key column's own kind
        return statement if after is None else statement.where(self._key > literal(after))

    def pages(self, position: str) -> Iterator[Page]:
        """What comes behind `position`; see `History`."""
        after = self._value(position)
        done, limit = 0, PAGE
        before = 0 if self._by_id or not position else int(position.split(":", 2)[1])
        while rows := self._rows(after, limit):
            full = len(rows) == limit
            if full and not self._by_id:
                last = rows[-1][0]
                rows = [row for row in rows if row[0] != last]  # there may be more of the same time
                if not rows:
                    limit *= 2
                    continue
            limit = PAGE
            after = rows[-1][0]
            lines = [
                (int(row[0]) if self._by_id else before + done + n, self._line(row[1:])) for n, row in enumerate(rows)
            ]
            done += len(rows)
            yield Page(lines, self._position(after, before + done), done)
            if not full:
                return

    def _rows(self, after: Any, limit: int) -> Sequence[Any]:  # noqa: ANN401 - of the key column's own kind
        statement = select(self._key.label("_key"), *(self._from.c[name] for name in self._names))
        statement = self._behind(statement, after).order_by(self._key).limit(limit)
        return self._database.ask("reading", lambda connection: connection.execute(statement).all())

    def _line(self, values: Sequence[Any]) -> bytes:
        if self._utc is not None and isinstance(values[self._utc], datetime):
            values = list(values)
            values[self._utc] = values[self._utc].replace(tzinfo=UTC)
        return self._make.line(values)

    def close(self) -> None:
        """Close the connection."""
        self._database.close()


def parse(url: str) -> URL:
    """The URL, with the driver that we use for its database. SourceError if it is none, or of another database."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise SourceError(f"{url.partition('://')[0]}://… is no URL of a database: {error}") from error
    driver = DRIVERS.get(parsed.get_backend_name())
    if driver is None:
        raise SourceError(f"{parsed.drivername}: CEL can be read from {', '.join(DRIVERS)}")
    return parsed.set(drivername=driver)
