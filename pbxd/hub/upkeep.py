"""What is older than it is kept: deleted hour by hour, by any node. That an entry was held, and its hash, stays."""

from __future__ import annotations

from pbxd.hub.boxes import SECOND
from pbxd.hub.config import Keep
from pbxd.hub.database import Database, now

AGED = "aged"  # stands in `entries.why` of a body that was kept as long as bodies are
DAY = 86_400.0
CHANGES = 1 * DAY  # a node that was away for so long begins anew anyway
TOKENS = 30 * DAY  # after its end a token is good for nothing but to say so

FORGET_BODIES = (
    f"UPDATE entries SET body = NULL, why = '{AGED}'"
    " WHERE \"class\" IN ('health', 'stats') AND why = '' AND accepted < ?"
)
FORGET_LINKS = "DELETE FROM links WHERE ended < ? AND NOT EXISTS (SELECT 1 FROM visits WHERE visits.link = links.id)"


async def forget(database: Database, keep: Keep) -> None:
    """Delete what is too old. StoreError if the store fails; what was not deleted is deleted the next time."""
    steps = (
        (FORGET_BODIES, keep.bodies),
        ("DELETE FROM visits WHERE ended < ?", keep.visits),
        (FORGET_LINKS, keep.visits),
        ("DELETE FROM tickets WHERE ended < ?", keep.visits),
        ("DELETE FROM changes WHERE at < ?", CHANGES),
        ("DELETE FROM tokens WHERE expires < ?", TOKENS),
    )
    for statement, length in steps:
        await database.write("deleting what is old", statement, now() - int(length * SECOND))
