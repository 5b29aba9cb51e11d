"""Alembic's entry: runs the migrations on the URL that `pbxd.stats.migrate` gives."""

import asyncio

from alembic import context
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from pbxd.hub.schema import metadata

ONE_AT_A_TIME = 7_062_786_402  # key of the advisory lock under which nodes that start together take turns


def run(connection: Connection) -> None:
    """Run the migrations."""
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})"))
        context.run_migrations()


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
    with engine.begin() as connection:
        run(connection)
    engine.dispose()
