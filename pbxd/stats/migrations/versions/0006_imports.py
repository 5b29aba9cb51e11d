"""How far histories from elsewhere have been read"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
MICROS = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """How far histories from elsewhere have been read"""
    op.create_table(
        "imports",
        sa.Column("box", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("position", sa.String(), nullable=False),
        *(sa.Column(name, MICROS, nullable=False) for name in ("lines", "records", "rejects")),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("saved", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("box", "source"),
    )
