"""Rollups of quarters of an hour and days, and what they are made and kept by"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
MICROS = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SLOT = 900_000_000  # microseconds of a quarter of an hour
ROLLUPS: dict[
    str, tuple[list[str], list[str], str, list[str]]
] = {  # table -> keys before and behind the slot, sums, histograms
    "rollup_calls": (
        ["kind"],
        ["key"],
        (
            "calls placed received answered missed no_answer busy failed voicemail abandoned cut transfers ring queue talk"
            " duration change peak"
        ),
        ["talks"],
    ),
    "rollup_queues": (
        ["kind"],
        ["queue"],
        (
            "offered answered abandoned exited timeouts keys empties transfers identified resolved wait_answered wait_abandoned"
            " wait_exited talk longest_wait"
        ),
        ["answered_waits", "abandoned_waits", "talks"],
    ),
    "rollup_agents": (
        ["kind"],
        ["agent", "queue"],
        "answered no_answer cancelled transfers ring login pause talk wrapup",
        [],
    ),
    "rollup_pauses": ([], ["agent", "reason"], "pause", []),
}


def upgrade() -> None:
    """Rollups of quarters of an hour and days, and what they are made and kept by"""
    _callers()
    op.create_table(
        "call_slots",
        _whole("box"),
        _whole("slot"),
        sa.Column("call", MICROS, nullable=False),
        sa.PrimaryKeyConstraint("box", "slot", "call"),
        sqlite_with_rowid=False,
    )
    texts = [sa.Column(name, sa.String(), nullable=False) for name in ("agent", "queue", "kind", "reason")]
    op.create_table(
        "agent_time",
        _whole("box"),
        _whole("slot"),
        *texts,
        sa.Column("start", MICROS, nullable=False),
        sa.Column("end", MICROS, nullable=False),
        sa.PrimaryKeyConstraint("box", "slot", "agent", "queue", "kind", "start", "reason"),
        sqlite_with_rowid=False,
    )
    for name, (lead, keys, sums, histograms) in ROLLUPS.items():
        op.create_table(
            name,
            _whole("box"),
            _whole("span"),
            *(sa.Column(key, sa.Integer(), nullable=False) for key in lead),
            _whole("slot"),
            *(sa.Column(key, sa.String(), nullable=False) for key in keys),
            *(sa.Column(column, MICROS, nullable=False) for column in sums.split()),
            *(sa.Column(column, sa.LargeBinary(), nullable=False) for column in histograms),
            sa.PrimaryKeyConstraint("box", "span", *lead, "slot", *keys),
            sqlite_with_rowid=False,
        )
    op.create_table(
        "rollup_dirty",
        _whole("box"),
        _whole("span"),
        _whole("slot"),
        sa.PrimaryKeyConstraint("box", "span", "slot"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollup_state",
        sa.Column("box", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("resolution", MICROS, nullable=False),
        sa.Column("calls_from", sa.Integer(), nullable=False),
        sa.Column("rollups_from", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("box"),
    )
    _mark()


def _whole(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.Integer(), nullable=False)


def _callers() -> None:
    """Who waited in a queue, beside the visit: whether the same caller came again is asked of every visit."""
    with op.batch_alter_table("call_queues") as visits:
        visits.add_column(sa.Column("caller", sa.String(), nullable=False, server_default=""))
        visits.drop_index("call_queues_queue")
        visits.create_index("call_queues_caller", ["queue", "caller", "joined"])
    op.execute("UPDATE call_queues SET caller = (SELECT caller_number FROM calls WHERE calls.id = call_queues.call)")


def _mark() -> None:
    """What is stored has no rollups yet: say where its calls are counted, and that all of it is to be rolled up."""
    op.execute(
        f"""
        INSERT INTO call_slots (box, slot, call)
        SELECT DISTINCT calls.box, CAST(found.at / {SLOT} AS INTEGER), calls.id FROM calls JOIN (
            SELECT id AS call, "end" AS at FROM calls
            UNION SELECT call, start FROM call_legs WHERE trunk
            UNION SELECT call, "end" FROM call_legs WHERE trunk
            UNION SELECT call, joined FROM call_queues
        ) AS found ON found.call = calls.id WHERE found.at / {SLOT} <> calls.start / {SLOT}
        """
    )
    op.execute(
        f"""
        INSERT INTO rollup_dirty (box, span, slot)
        SELECT box, 0, CAST(start / {SLOT} AS INTEGER) FROM calls
        UNION SELECT box, 0, slot FROM call_slots
        UNION SELECT box, 0, CAST(at / {SLOT} AS INTEGER) FROM queue_log
        """
    )
