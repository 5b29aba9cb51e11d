"""The tables of the hub's store. Times are UTC microseconds since the epoch. Every row of a customer has its box's number.

A change here needs a migration in `migrations/versions` and the new HEAD; a test compares the three.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, text

from pbxd.hub.intake import UNREAD
from pbxd.stats.layout import CALLS, QUALITY, QUEUES
from pbxd.stats.schema import ROLLUPS, RollupDirty, RollupState

HEAD = "0002"  # the newest migration

metadata = MetaData()
Micros = BigInteger().with_variant(Integer, "sqlite")
Counted = BigInteger().with_variant(Integer, "sqlite")  # a key that the database counts up
IS_UNREAD = text(f"why = '{UNREAD}'")  # as `reading` asks for them: else the index is not used
UPLOADED = (CALLS, QUEUES, QUALITY)  # agents and pauses are persons: their rollups stay on the box


def _micros(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, Micros, nullable=null)


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, String, nullable=null)


hub = Table(
    "hub", metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    _micros("made"),  # a clock that stands before it is wrong
    _micros("changes"),  # the number of the newest row of `changes`; its lock puts them in order
)  # fmt: skip
boxes = Table(
    "boxes", metadata,
    Column("number", Counted, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),  # what the protocol calls it: 16 hex digits
    _text("name"),  # of the site, as the customer gave it
    _text("key"),  # OpenSSH public key line
    Column("ledger", Counted, nullable=False),  # the one that it has now
    _micros("serial"),  # of its newest certificate
    _micros("until"),  # end of that certificate
    _micros("enrolled"),
    _micros("revoked", null=True),
    _text("revoked_why"),
    _text("version"),  # of its pbxd, as it last said
    _micros("seen", null=True),  # when its connection last began or ended
    _text("session", null=True),  # the one connection that may write for it, while there is one
    _text("node", null=True),  # the node that has or had this connection
    Column("slot", Integer, nullable=True),  # the newest quarter of an hour of its statistics
)  # fmt: skip
ledgers = Table(
    "ledgers", metadata,
    Column("id", Counted, primary_key=True, autoincrement=True),
    Column("box", Counted, nullable=False),
    _text("sha256"),  # of the verifier key: what the protocol calls a ledger
    _text("verifier"),
    _micros("next"),  # the number of the entry that is wanted next
    Index("ledgers_sha256", "box", "sha256", unique=True),
)  # fmt: skip
tokens = Table(
    "tokens", metadata,
    Column("sha256", String, primary_key=True),  # the token itself is nowhere
    _text("note"),
    _micros("made"),
    _micros("expires"),
    Column("box", Counted, nullable=True),  # for which it is; once used, which it made
    _micros("used", null=True),
)  # fmt: skip
entries = Table(
    "entries", metadata,
    Column("box", Counted, primary_key=True, autoincrement=False),
    Column("ledger", Counted, primary_key=True, autoincrement=False),
    Column("number", Micros, primary_key=True, autoincrement=False),
    _text("class"),  # "" of one that was skipped
    _micros("size"),
    _text("sha256"),
    _text("created"),  # the box's own word, RFC 3339
    _micros("accepted"),
    _text("why"),  # "" of one that is held and read, unread; else why its body is not there: destroyed, sha256, schema, size, aged
    Column("body", LargeBinary, nullable=True),
    Index("entries_class", "box", "class", "accepted"),
    Index("entries_unread", "box", "ledger", "number", sqlite_where=IS_UNREAD, postgresql_where=IS_UNREAD),
)  # fmt: skip
parts = Table(  # of entries that have come in part, or came in parts and are unread
    "parts", metadata,
    Column("ledger", Counted, primary_key=True, autoincrement=False),
    Column("number", Micros, primary_key=True, autoincrement=False),
    Column("offset", Micros, primary_key=True, autoincrement=False),
    _text("sha256"),
    Column("body", LargeBinary, nullable=False),
)  # fmt: skip
refusals = Table(  # entries that were not taken, until their box has noted it
    "refusals", metadata,
    Column("ledger", Counted, primary_key=True, autoincrement=False),
    Column("number", Micros, primary_key=True, autoincrement=False),
    _text("why"),
)  # fmt: skip
checkpoints = Table(
    "checkpoints", metadata,
    Column("ledger", Counted, primary_key=True, autoincrement=False),
    Column("size", Micros, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, primary_key=True),  # a second one of the same size is a fork, and is kept as its proof
    _micros("received"),
    Column("note", LargeBinary, nullable=False),
)  # fmt: skip
alarms = Table(
    "alarms", metadata,
    Column("id", Counted, primary_key=True, autoincrement=True),
    Column("box", Counted, nullable=False),
    _micros("at"),
    _text("kind"),  # fork, rollback, checkpoint, ledger, rejected
    _text("text"),
    Index("alarms_box", "box", "at"),
)  # fmt: skip
messages = Table(
    "messages", metadata,
    Column("seq", Counted, primary_key=True, autoincrement=True),
    Column("box", Counted, nullable=False),
    Column("id", String, nullable=False, unique=True),
    _text("kind"),
    _micros("issued"),
    _micros("expires"),
    _micros("received", null=True),  # when the box said that it has it
    Column("note", LargeBinary, nullable=False),
    Index("messages_box", "box", "received"),
)  # fmt: skip
changes = Table(  # what a node must tell the connections that it has; written by whoever changed something of a box
    "changes", metadata,
    Column("number", Micros, primary_key=True, autoincrement=False),
    Column("box", Counted, nullable=False),
    _micros("at"),
)  # fmt: skip
nodes = Table(
    "nodes", metadata,
    Column("name", String, primary_key=True),
    _text("address"),  # where staff reach it
    _micros("started"),
    _micros("seen"),
    _micros("boxes"),  # connections that it has
)  # fmt: skip
staff = Table(
    "staff", metadata,
    Column("person", String, primary_key=True),
    _text("key"),  # OpenSSH public key line
    _micros("added"),
)  # fmt: skip
tickets = Table(  # what the boxes say of them
    "tickets", metadata,
    Column("box", Counted, primary_key=True, autoincrement=False),
    Column("id", String, primary_key=True),
    _text("opened"),
    _text("until"),
    _text("scope"),
    _text("reason"),
    _micros("ended", null=True),  # when the box no longer told of it
)  # fmt: skip
links = Table(  # support connections of boxes
    "links", metadata,
    Column("id", Counted, primary_key=True, autoincrement=True),
    Column("box", Counted, nullable=False),
    _text("node"),
    _micros("began"),
    _micros("ended", null=True),
    Index("links_box", "box", "began"),
)  # fmt: skip
visits = Table(  # who went through to which box
    "visits", metadata,
    Column("id", Counted, primary_key=True, autoincrement=True),
    Column("link", Counted, ForeignKey("links.id"), nullable=False),
    _text("person"),
    _text("address"),  # from where
    _micros("began"),
    _micros("ended", null=True),
    _micros("sent"),  # bytes to the box
    _micros("received"),  # bytes from it
)  # fmt: skip

# Rollups as the box has them, so that the same code makes the same reports of them.
for layout in UPLOADED:
    ROLLUPS[layout.table].to_metadata(metadata)
RollupDirty.metadata.tables["rollup_dirty"].to_metadata(metadata)
RollupState.metadata.tables["rollup_state"].to_metadata(metadata)
