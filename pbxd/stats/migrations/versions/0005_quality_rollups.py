"""Rollups of voice quality"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
MICROS = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SLOT = 900_000_000  # microseconds of a quarter of an hour
SUMS = (
    "legs sent sent_loss sent_jitter sent_rated sent_mos sent_poor received received_loss received_jitter received_rated"
    " received_mos received_poor timed rtt"
)


def upgrade() -> None:
    """Rollups of voice quality; the quarters of legs of which something is known are to be rolled up again"""
    whole = [sa.Column(name, sa.Integer(), nullable=False) for name in ("box", "span", "kind", "slot")]
    op.create_table(
        "rollup_quality",
        *whole,
        sa.Column("key", sa.String(), nullable=False),
        *(sa.Column(name, MICROS, nullable=False) for name in SUMS.split()),
        sa.PrimaryKeyConstraint("box", "span", "kind", "slot", "key"),
        sqlite_with_rowid=False,
    )
    op.execute(
        f"""
        INSERT INTO rollup_dirty (box, span, slot)
        SELECT DISTINCT box, 0, CAST(calls.start / {SLOT} AS INTEGER) FROM calls JOIN call_legs ON call = calls.id
        WHERE sent_loss IS NOT NULL OR received_loss IS NOT NULL OR rtt IS NOT NULL
        ON CONFLICT DO NOTHING
        """
    )
