"""Tables of the store of communications, and how other packages bring theirs.

Each package has a `Part`: its tables, the columns in them that are sealed with the store's key, and how they came about.
All parts are in one database; each has a version of its own there.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column, Index, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()


@dataclass(frozen=True, slots=True)
class Part:
    """The tables of one package."""

    name: str
    tables: tuple[Table, ...]
    sealed: tuple[Column[bytes], ...] = ()  # values made by StoreKey.seal; a new key seals them anew. NULL is none
    statements: tuple[str, ...] = ()  # what is made once beside the tables: triggers, views
    upgrades: tuple[tuple[str, ...], ...] = ()  # statements that bring version 1 to 2, 2 to 3, …
    remade: str = (
        ""  # objects whose ids begin so are made of what stays elsewhere until their row is there, or sent again
    )

    @property
    def version(self) -> int:
        """The newest version."""
        return 1 + len(self.upgrades)


parts = Table(
    "parts",
    metadata,
    Column("name", String, primary_key=True),
    Column("version", Integer, nullable=False),
)

store = Table(
    "store",
    metadata,
    Column("id", Integer, primary_key=True),  # 1: there is one row
    Column("recipient", String, nullable=False),  # whose key everything is wrapped with
    Column("made", Integer, nullable=False),  # µs
    Column("rekeyed", Integer),  # µs
)

objects = Table(
    "objects",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),  # recording, voicemail, attachment
    Column("wrapped", LargeBinary, nullable=False),  # the object's own age identity, sealed with the store's key
    Column("size", Integer, nullable=False),  # bytes, encrypted
    Column("length", Integer, nullable=False),  # bytes, in the clear
    Column("sha256", String, nullable=False),  # of the encrypted bytes
    Column("at", Integer, nullable=False),  # µs
    Index("objects_by_kind", "kind", "at"),
)

shredded = Table(  # says that an id is gone for good, and nothing of what it was
    "shredded",
    metadata,
    Column("id", String, primary_key=True),
    Column("at", Integer, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("at", Integer, nullable=False),  # µs
    Column("who", String, nullable=False),
    Column("role", String, nullable=False),
    Column("via", String, nullable=False),  # control, retention, start, …
    Column("action", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("allowed", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),  # canonical JSON
    Column("hash", String, nullable=False),  # of the row before and this one
)

audit_cuts = Table(  # rows up to `seq` were deleted, for they had been kept long enough; `hash` is the last one's
    "audit_cuts",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("hash", String, nullable=False),
    Column("at", Integer, nullable=False),
)

audit_head = Table(  # the last row that was written: one that is missing at the end is noticed
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True),  # 1: there is one row
    Column("seq", Integer, nullable=False),
    Column("hash", String, nullable=False),
)

_AFTER_CUT = "WHEN OLD.seq > (SELECT coalesce(max(seq), 0) FROM audit_cuts)"
_REFUSE = "BEGIN SELECT RAISE(ABORT, 'the audit log is only ever added to'); END"
CORE = Part(
    "core",
    (store, objects, shredded, audit, audit_cuts, audit_head),
    sealed=(objects.c.wrapped,),
    statements=(
        f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit {_REFUSE}",
        f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit {_AFTER_CUT} {_REFUSE}",
        f"CREATE TRIGGER audit_cuts_no_update BEFORE UPDATE ON audit_cuts {_REFUSE}",
        f"CREATE TRIGGER audit_cuts_no_delete BEFORE DELETE ON audit_cuts {_REFUSE}",
        f"CREATE TRIGGER audit_head_no_delete BEFORE DELETE ON audit_head {_REFUSE}",
    ),
)
