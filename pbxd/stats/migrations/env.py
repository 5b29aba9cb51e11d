"""Alembic's entry: runs the migrations on the URL that `pbxd.stats.upgrade` gives."""

import asyncio
from typing import Any

from alembic import context
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.ext.asyncio import create_async_engine

from pbxd.stats.schema import ONE_AT_A_TIME, Base


def run(connection: Connection) -> None:
    """Run the migrations; boxes that share a database and start together take turns."""
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})"))
        context.run_migrations()


def whole_or_not(engine: Engine) -> None:
    """Begin transactions ourselves: the driver would leave changes of tables outside, and a kill would leave half of them."""

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:  # noqa: ANN401 - a driver's own type
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


async def run_on_server(url: str) -> None:
    """The same, through an async driver."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


url = context.config.get_main_option("sqlalchemy.url") or ""
if url.startswith("postgresql"):
    asyncio.run(run_on_server(url))
else:
    engine = create_engine(url)
    whole_or_not(engine)
    with engine.begin() as connection:
        run(connection)
    engine.dispose()
