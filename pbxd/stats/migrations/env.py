"""Alembic's entry: runs the migrations on the URL that `pbxd.stats.migrate` gives."""

from alembic import context
from sqlalchemy import create_engine

from pbxd.stats.schema import Base

url = context.config.get_main_option("sqlalchemy.url") or ""
engine = create_engine(url)
with engine.begin() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
