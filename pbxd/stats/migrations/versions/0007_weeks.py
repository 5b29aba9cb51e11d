"""Rollups of weeks: days are to be made again, and their weeks with them"""

from alembic import op

revision = "0007"
down_revision = "0006"
TABLES = ("rollup_agents", "rollup_pauses", "rollup_quality")


def upgrade() -> None:
    """Rollups of weeks: days are to be made again, and their weeks with them"""
    for table in TABLES:
        op.execute(
            f"INSERT INTO rollup_dirty (box, span, slot) SELECT DISTINCT box, 1, slot FROM {table} WHERE span = 1"
            " ON CONFLICT DO NOTHING"
        )
