"""The first tables"""

import time

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
MICROS = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """The first tables, and the moment at which the hub began"""
    op.create_table(
        "alarms",
        sa.Column("id", MICROS, autoincrement=True, nullable=False),
        sa.Column("box", MICROS, nullable=False),
        sa.Column("at", MICROS, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("alarms_box", "alarms", ["box", "at"], unique=False)

    op.create_table(
        "boxes",
        sa.Column("number", MICROS, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("ledger", MICROS, nullable=False),
        sa.Column("serial", MICROS, nullable=False),
        sa.Column("until", MICROS, nullable=False),
        sa.Column("enrolled", MICROS, nullable=False),
        sa.Column("revoked", MICROS, nullable=True),
        sa.Column("revoked_why", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("seen", MICROS, nullable=True),
        sa.Column("session", sa.String(), nullable=True),
        sa.Column("node", sa.String(), nullable=True),
        sa.Column("slot", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
    )
    op.create_table(
        "changes",
        sa.Column("number", MICROS, autoincrement=False, nullable=False),
        sa.Column("box", MICROS, nullable=False),
        sa.Column("at", MICROS, nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("ledger", MICROS, autoincrement=False, nullable=False),
        sa.Column("size", MICROS, autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("received", MICROS, nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("ledger", "size", "root"),
    )
    op.create_table(
        "entries",
        sa.Column("box", MICROS, autoincrement=False, nullable=False),
        sa.Column("ledger", MICROS, autoincrement=False, nullable=False),
        sa.Column("number", MICROS, autoincrement=False, nullable=False),
        sa.Column("class", sa.String(), nullable=False),
        sa.Column("size", MICROS, nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.Column("accepted", MICROS, nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("box", "ledger", "number"),
    )
    op.create_index("entries_class", "entries", ["box", "class", "accepted"], unique=False)

    op.create_table(
        "hub",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("made", MICROS, nullable=False),
        sa.Column("changes", MICROS, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "ledgers",
        sa.Column("id", MICROS, autoincrement=True, nullable=False),
        sa.Column("box", MICROS, nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("verifier", sa.String(), nullable=False),
        sa.Column("next", MICROS, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ledgers_sha256", "ledgers", ["box", "sha256"], unique=True)

    op.create_table(
        "links",
        sa.Column("id", MICROS, autoincrement=True, nullable=False),
        sa.Column("box", MICROS, nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("began", MICROS, nullable=False),
        sa.Column("ended", MICROS, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("links_box", "links", ["box", "began"], unique=False)

    op.create_table(
        "messages",
        sa.Column("seq", MICROS, autoincrement=True, nullable=False),
        sa.Column("box", MICROS, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("issued", MICROS, nullable=False),
        sa.Column("expires", MICROS, nullable=False),
        sa.Column("received", MICROS, nullable=True),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("messages_box", "messages", ["box", "received"], unique=False)

    op.create_table(
        "nodes",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("started", MICROS, nullable=False),
        sa.Column("seen", MICROS, nullable=False),
        sa.Column("boxes", MICROS, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "parts",
        sa.Column("ledger", MICROS, autoincrement=False, nullable=False),
        sa.Column("offset", MICROS, autoincrement=False, nullable=False),
        sa.Column("number", MICROS, nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("ledger", "offset"),
    )
    op.create_table(
        "rollup_calls",
        sa.Column("box", sa.Integer(), nullable=False),
        sa.Column("span", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("calls", MICROS, nullable=False),
        sa.Column("placed", MICROS, nullable=False),
        sa.Column("received", MICROS, nullable=False),
        sa.Column("answered", MICROS, nullable=False),
        sa.Column("missed", MICROS, nullable=False),
        sa.Column("no_answer", MICROS, nullable=False),
        sa.Column("busy", MICROS, nullable=False),
        sa.Column("failed", MICROS, nullable=False),
        sa.Column("voicemail", MICROS, nullable=False),
        sa.Column("abandoned", MICROS, nullable=False),
        sa.Column("cut", MICROS, nullable=False),
        sa.Column("transfers", MICROS, nullable=False),
        sa.Column("ring", MICROS, nullable=False),
        sa.Column("queue", MICROS, nullable=False),
        sa.Column("talk", MICROS, nullable=False),
        sa.Column("duration", MICROS, nullable=False),
        sa.Column("change", MICROS, nullable=False),
        sa.Column("peak", MICROS, nullable=False),
        sa.Column("talks", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("box", "span", "kind", "slot", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollup_dirty",
        sa.Column("box", sa.Integer(), nullable=False),
        sa.Column("span", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("box", "span", "slot"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollup_quality",
        sa.Column("box", sa.Integer(), nullable=False),
        sa.Column("span", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("legs", MICROS, nullable=False),
        sa.Column("sent", MICROS, nullable=False),
        sa.Column("sent_loss", MICROS, nullable=False),
        sa.Column("sent_jitter", MICROS, nullable=False),
        sa.Column("sent_rated", MICROS, nullable=False),
        sa.Column("sent_mos", MICROS, nullable=False),
        sa.Column("sent_poor", MICROS, nullable=False),
        sa.Column("received", MICROS, nullable=False),
        sa.Column("received_loss", MICROS, nullable=False),
        sa.Column("received_jitter", MICROS, nullable=False),
        sa.Column("received_rated", MICROS, nullable=False),
        sa.Column("received_mos", MICROS, nullable=False),
        sa.Column("received_poor", MICROS, nullable=False),
        sa.Column("timed", MICROS, nullable=False),
        sa.Column("rtt", MICROS, nullable=False),
        sa.PrimaryKeyConstraint("box", "span", "kind", "slot", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollup_queues",
        sa.Column("box", sa.Integer(), nullable=False),
        sa.Column("span", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("offered", MICROS, nullable=False),
        sa.Column("answered", MICROS, nullable=False),
        sa.Column("abandoned", MICROS, nullable=False),
        sa.Column("exited", MICROS, nullable=False),
        sa.Column("timeouts", MICROS, nullable=False),
        sa.Column("keys", MICROS, nullable=False),
        sa.Column("empties", MICROS, nullable=False),
        sa.Column("transfers", MICROS, nullable=False),
        sa.Column("identified", MICROS, nullable=False),
        sa.Column("resolved", MICROS, nullable=False),
        sa.Column("wait_answered", MICROS, nullable=False),
        sa.Column("wait_abandoned", MICROS, nullable=False),
        sa.Column("wait_exited", MICROS, nullable=False),
        sa.Column("talk", MICROS, nullable=False),
        sa.Column("longest_wait", MICROS, nullable=False),
        sa.Column("answered_waits", sa.LargeBinary(), nullable=False),
        sa.Column("abandoned_waits", sa.LargeBinary(), nullable=False),
        sa.Column("talks", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("box", "span", "kind", "slot", "queue"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollup_state",
        sa.Column("box", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("resolution", MICROS, nullable=False),
        sa.Column("calls_from", sa.Integer(), nullable=False),
        sa.Column("rollups_from", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("box"),
    )
    op.create_table(
        "staff",
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("added", MICROS, nullable=False),
        sa.PrimaryKeyConstraint("person"),
    )
    op.create_table(
        "tickets",
        sa.Column("box", MICROS, autoincrement=False, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("opened", sa.String(), nullable=False),
        sa.Column("until", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("ended", MICROS, nullable=True),
        sa.PrimaryKeyConstraint("box", "id"),
    )
    op.create_table(
        "tokens",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("made", MICROS, nullable=False),
        sa.Column("expires", MICROS, nullable=False),
        sa.Column("box", MICROS, nullable=True),
        sa.Column("used", MICROS, nullable=True),
        sa.PrimaryKeyConstraint("sha256"),
    )
    op.create_table(
        "visits",
        sa.Column("id", MICROS, autoincrement=True, nullable=False),
        sa.Column("link", MICROS, nullable=False),
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("began", MICROS, nullable=False),
        sa.Column("ended", MICROS, nullable=True),
        sa.Column("sent", MICROS, nullable=False),
        sa.Column("received", MICROS, nullable=False),
        sa.ForeignKeyConstraint(
            ["link"],
            ["links.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute(f"INSERT INTO hub (id, made, changes) VALUES (1, {time.time_ns() // 1000}, 0)")
