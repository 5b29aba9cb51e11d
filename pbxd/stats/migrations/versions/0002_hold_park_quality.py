"""Hold, parking, what the dialplan adds, and voice quality"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
MICROS = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
QUALITY = ("sent_loss", "sent_jitter", "sent_mos", "received_loss", "received_jitter", "received_mos", "rtt")


def upgrade() -> None:
    """Hold, parking, what the dialplan adds, and voice quality"""
    with op.batch_alter_table("calls") as calls:
        calls.add_column(sa.Column("hold_time", MICROS, nullable=False, server_default="0"))
        calls.add_column(sa.Column("park_time", MICROS, nullable=False, server_default="0"))
        calls.add_column(sa.Column("customer", sa.String(), nullable=False, server_default=""))
        calls.add_column(sa.Column("tags", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("call_legs") as legs:
        legs.add_column(sa.Column("held", sa.String(), nullable=False, server_default=""))
        for name in QUALITY:
            legs.add_column(sa.Column(name, sa.Double(), nullable=True))
