"""The first tables: calls, their parts, and how far the journals are read"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
MICROS = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """The first tables: calls, their parts, and how far the journals are read"""
    op.create_table(
        "calls",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.String(), nullable=False),
        sa.Column("start", MICROS, nullable=False),
        sa.Column("answer", MICROS, nullable=True),
        sa.Column("end", MICROS, nullable=False),
        sa.Column("direction", sa.String(), nullable=False),
        sa.Column("disposition", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("cause", sa.Integer(), nullable=False),
        sa.Column("hung_up_by", sa.String(), nullable=False),
        sa.Column("caller_number", sa.String(), nullable=False),
        sa.Column("caller_name", sa.String(), nullable=False),
        sa.Column("caller_endpoint", sa.String(), nullable=False),
        sa.Column("dialled", sa.String(), nullable=False),
        sa.Column("answered_by", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("ring_time", MICROS, nullable=False),
        sa.Column("queue_time", MICROS, nullable=False),
        sa.Column("talk_time", MICROS, nullable=False),
        sa.Column("mailbox", sa.String(), nullable=False),
        sa.Column("linkedids", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("call_id"),
    )
    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.create_index("calls_start", ["start"], unique=False)

    op.create_table(
        "journal_position",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("part", sa.String(), nullable=False),
        sa.Column("offset", MICROS, nullable=False),
        sa.Column("saved_offset", MICROS, nullable=False),
        sa.Column("began", MICROS, nullable=False),
        sa.PrimaryKeyConstraint("source", "part"),
    )
    op.create_table(
        "journal_rejects",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("part", sa.String(), nullable=False),
        sa.Column("offset", MICROS, nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("line", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("source", "part", "offset"),
    )
    op.create_table(
        "journal_state",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("saved", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("source"),
    )
    op.create_table(
        "queue_log",
        sa.Column("part", sa.String(), nullable=False),
        sa.Column("offset", MICROS, nullable=False),
        sa.Column("at", MICROS, nullable=False),
        sa.Column("call_id", sa.String(), nullable=False),
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("agent", sa.String(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("data", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("part", "offset"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("queue_log", schema=None) as batch_op:
        batch_op.create_index("queue_log_at", ["at"], unique=False)

    op.create_table(
        "call_events",
        sa.Column("call", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("at", MICROS, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("uniqueid", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["call"], ["calls.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("call", "position"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "call_legs",
        sa.Column("call", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("uniqueid", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("trunk", sa.Boolean(), nullable=False),
        sa.Column("start", MICROS, nullable=False),
        sa.Column("answer", MICROS, nullable=True),
        sa.Column("end", MICROS, nullable=False),
        sa.Column("talked", sa.String(), nullable=False),
        sa.Column("cause", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["call"], ["calls.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("call", "position"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("call_legs", schema=None) as batch_op:
        batch_op.create_index("call_legs_number", ["number"], unique=False)

    op.create_table(
        "call_queues",
        sa.Column("call", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("joined", MICROS, nullable=False),
        sa.Column("answer", MICROS, nullable=True),
        sa.Column("left", MICROS, nullable=False),
        sa.Column("agent", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["call"], ["calls.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("call", "position"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("call_queues", schema=None) as batch_op:
        batch_op.create_index("call_queues_queue", ["queue", "joined"], unique=False)

    op.create_table(
        "call_transfers",
        sa.Column("call", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("at", MICROS, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("to", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["call"], ["calls.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("call", "position"),
        sqlite_with_rowid=False,
    )
