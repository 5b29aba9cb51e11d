"""Several boxes in one database: every row says of which box it is"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
MICROS = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
CHILDREN = ("call_legs", "call_events", "call_queues", "call_transfers")
QUEUE_LOG = ("call_id", "queue", "agent", "event", "data")
UNIQUE = {"uq": "uq_%(table_name)s_%(column_0_name)s"}


def upgrade() -> None:
    """Several boxes in one database: every row says of which box it is"""
    op.create_table(
        "boxes",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    _calls()
    columns: list[sa.Column[Any]] = [
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("part", sa.String(), nullable=False),
        sa.Column("offset", MICROS, nullable=False),
    ]
    _with_box(
        "journal_position",
        ["source", "part"],
        [*columns, sa.Column("saved_offset", MICROS, nullable=False), sa.Column("began", MICROS, nullable=False)],
    )
    _with_box(
        "journal_rejects",
        ["source", "part", "offset"],
        [
            *columns,
            sa.Column("reason", sa.String(), nullable=False),
            sa.Column("line", sa.LargeBinary(), nullable=False),
        ],
    )
    _with_box("journal_state", ["source"], [columns[0], sa.Column("saved", sa.LargeBinary(), nullable=False)])
    texts: list[sa.Column[Any]] = [
        sa.Column(name, sa.String(), nullable=False) for name in ("call_id", "queue", "agent", "event", "data")
    ]
    op.drop_index("queue_log_at", "queue_log")
    _with_box(
        "queue_log",
        ["part", "offset"],
        [*columns[1:], sa.Column("at", MICROS, nullable=False), *texts],
        sqlite_with_rowid=False,
    )
    op.create_index("queue_log_at", "queue_log", ["box", "at"])


def _calls() -> None:
    server = op.get_bind().dialect.name == "postgresql"
    unique = "calls_call_id_key" if server else "uq_calls_call_id"
    with op.batch_alter_table("calls", naming_convention=None if server else UNIQUE) as calls:
        calls.add_column(sa.Column("box", sa.Integer(), nullable=False, server_default="0"))
        calls.drop_constraint(unique, type_="unique")
        calls.drop_index("calls_start")
        if server:
            calls.alter_column("id", type_=MICROS, existing_type=sa.Integer(), server_default=None)
        calls.create_unique_constraint("calls_call_id", ["box", "call_id"])
        calls.create_index("calls_start", ["box", "start"])
    if server:
        for child in CHILDREN:
            op.alter_column(child, "call", type_=MICROS, existing_type=sa.Integer())


def _with_box(table: str, key: list[str], columns: "list[sa.Column[Any]]", **options: bool) -> None:
    """Make `table` anew with the box at the front of its key; what it holds is of box 0."""
    op.rename_table(table, f"{table}_before")
    fresh = [sa.Column(c.name, c.type, nullable=False) for c in columns]
    box = sa.Column("box", sa.Integer(), nullable=False)
    op.create_table(table, box, *fresh, sa.PrimaryKeyConstraint("box", *key), **options)
    names = ", ".join(f'"{column.name}"' for column in columns)
    op.execute(f"INSERT INTO {table} (box, {names}) SELECT 0, {names} FROM {table}_before")
    op.drop_table(f"{table}_before")
