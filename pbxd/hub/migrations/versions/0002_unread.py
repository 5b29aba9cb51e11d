"""Entries are held first and read behind their upload; a box is told of a rejection until it has noted it"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
MICROS = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UNREAD = sa.text("why = 'unread'")


def upgrade() -> None:
    """Pieces of several entries, refusals. What had come in part is sent again."""
    op.drop_table("parts")
    op.create_table(
        "parts",
        sa.Column("ledger", MICROS, autoincrement=False, nullable=False),
        sa.Column("number", MICROS, autoincrement=False, nullable=False),
        sa.Column("offset", MICROS, autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("ledger", "number", "offset"),
    )
    op.create_table(
        "refusals",
        sa.Column("ledger", MICROS, autoincrement=False, nullable=False),
        sa.Column("number", MICROS, autoincrement=False, nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("ledger", "number"),
    )
    op.create_index(
        "entries_unread", "entries", ["box", "ledger", "number"], unique=False,
        sqlite_where=UNREAD, postgresql_where=UNREAD,
    )  # fmt: skip
