"""The tables of the statistics store. Times are UTC microseconds since the epoch, lengths are microseconds.

A change here needs a migration in `migrations/versions` and the new HEAD; a test compares the three.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from pbxd.stats.layout import LAYOUTS, Layout

HEAD = "0007"  # the newest migration
ONE_AT_A_TIME = (
    7_062_786_401  # key of the advisory lock under which a shared database is made or migrated: any, but always this
)

Micros = BigInteger().with_variant(Integer, "sqlite")
BOX_KEYS = 1 << 40  # keys of calls that a box has for itself: a call's key says its box, so its parts need not
DEFAULT_BOX = "pbx"  # the default of site.name


class Base(DeclarativeBase):
    """Root of the models."""


class Box(Base):
    """One phone server. Several may share a database; a SQLite store has one."""

    __tablename__ = "boxes"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String, unique=True)  # site.name


class Call(Base):
    """One call: what `CallRecord` says of it as a whole."""

    __tablename__ = "calls"
    __table_args__ = (
        UniqueConstraint("box", "call_id", name="calls_call_id"),
        Index("calls_start", "box", "start"),
    )

    id: Mapped[int] = mapped_column(Micros, primary_key=True, autoincrement=False)  # box * BOX_KEYS + a running number
    box: Mapped[int] = mapped_column(Integer)
    call_id: Mapped[str]
    start: Mapped[int] = mapped_column(Micros)
    answer: Mapped[int | None] = mapped_column(Micros)
    end: Mapped[int] = mapped_column(Micros)
    direction: Mapped[str]
    disposition: Mapped[str]
    reason: Mapped[str]
    cause: Mapped[int]
    hung_up_by: Mapped[str]
    caller_number: Mapped[str]
    caller_name: Mapped[str]
    caller_endpoint: Mapped[str]
    dialled: Mapped[str]
    answered_by: Mapped[str]
    account: Mapped[str]
    ring_time: Mapped[int] = mapped_column(Micros)
    queue_time: Mapped[int] = mapped_column(Micros)
    talk_time: Mapped[int] = mapped_column(Micros)
    hold_time: Mapped[int] = mapped_column(Micros)
    park_time: Mapped[int] = mapped_column(Micros)
    mailbox: Mapped[str]
    customer: Mapped[str]
    tags: Mapped[str]  # a line each
    linkedids: Mapped[str]  # joined by spaces


class CallLeg(Base):
    """One party of a call."""

    __tablename__ = "call_legs"
    __table_args__ = (Index("call_legs_number", "number"), {"sqlite_with_rowid": False})

    call: Mapped[int] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    uniqueid: Mapped[str]
    channel: Mapped[str]
    endpoint: Mapped[str]
    role: Mapped[str]
    number: Mapped[str]
    name: Mapped[str]
    trunk: Mapped[bool]
    start: Mapped[int] = mapped_column(Micros)
    answer: Mapped[int | None] = mapped_column(Micros)
    end: Mapped[int] = mapped_column(Micros)
    talked: Mapped[str]  # "from-to from-to", microseconds
    cause: Mapped[int]
    held: Mapped[str]  # as talked
    sent_loss: Mapped[float | None]  # fraction; what the party heard. None: it sent no report
    sent_jitter: Mapped[float | None]  # ms
    sent_mos: Mapped[float | None]
    received_loss: Mapped[float | None]  # what Asterisk heard of the party
    received_jitter: Mapped[float | None]
    received_mos: Mapped[float | None]
    rtt: Mapped[float | None]  # ms


class CallEvent(Base):
    """One line of a call's timeline."""

    __tablename__ = "call_events"
    __table_args__ = ({"sqlite_with_rowid": False},)

    call: Mapped[int] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[int] = mapped_column(Micros)
    kind: Mapped[str]
    uniqueid: Mapped[str]
    detail: Mapped[str]


class CallQueue(Base):
    """One stay of a call in a queue."""

    __tablename__ = "call_queues"
    __table_args__ = (Index("call_queues_caller", "queue", "caller", "joined"), {"sqlite_with_rowid": False})

    call: Mapped[int] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    queue: Mapped[str]
    joined: Mapped[int] = mapped_column(Micros)
    answer: Mapped[int | None] = mapped_column(Micros)
    left: Mapped[int] = mapped_column(Micros)
    agent: Mapped[str]
    outcome: Mapped[str]
    caller: Mapped[str]  # number of the call's caller, again: it is looked up for each visit


class CallTransfer(Base):
    """One transfer within a call."""

    __tablename__ = "call_transfers"
    __table_args__ = ({"sqlite_with_rowid": False},)

    call: Mapped[int] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[int] = mapped_column(Micros)
    kind: Mapped[str]
    by: Mapped[str]
    to: Mapped[str]


class QueueLogEntry(Base):
    """One line of Asterisk's queue_log, as it stands there."""

    __tablename__ = "queue_log"
    __table_args__ = (Index("queue_log_at", "box", "at"), {"sqlite_with_rowid": False})

    box: Mapped[int] = mapped_column(primary_key=True)
    part: Mapped[str] = mapped_column(primary_key=True)  # journal part and offset: the same line is never stored twice
    offset: Mapped[int] = mapped_column(Micros, primary_key=True)
    at: Mapped[int] = mapped_column(Micros)
    call_id: Mapped[str]  # uniqueid of the caller's channel, or NONE
    queue: Mapped[str]
    agent: Mapped[str]
    event: Mapped[str]
    data: Mapped[str]  # the event's own values, joined by |


class JournalPosition(Base):
    """How far each part of each journal has been read; committed together with what was read from it."""

    __tablename__ = "journal_position"

    box: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(primary_key=True)  # cel | queue_log
    part: Mapped[str] = mapped_column(primary_key=True)  # hash of the part's first line: survives renaming and copying
    offset: Mapped[int] = mapped_column(Micros)  # everything before it is committed
    saved_offset: Mapped[int] = mapped_column(Micros)  # where the saved open calls stand
    began: Mapped[int] = mapped_column(Micros)  # order of the parts


class JournalState(Base):
    """The open calls at `saved_offset`, so that a start needs to read again only what came after."""

    __tablename__ = "journal_state"

    box: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(primary_key=True)
    saved: Mapped[bytes] = mapped_column(LargeBinary)


class JournalReject(Base):
    """A journal line that could not be understood: kept, so that nothing is dropped in silence."""

    __tablename__ = "journal_rejects"

    box: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(primary_key=True)
    part: Mapped[str] = mapped_column(primary_key=True)
    offset: Mapped[int] = mapped_column(Micros, primary_key=True)
    reason: Mapped[str]
    line: Mapped[bytes] = mapped_column(LargeBinary)  # the first 4 KiB


class Import(Base):
    """How far a history from elsewhere has been read; committed together with what was read from it."""

    __tablename__ = "imports"

    box: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(primary_key=True)  # hash of a file's first line, or of a database and table
    position: Mapped[str]  # everything before it is committed; the source's own: a byte offset, an id, a time
    lines: Mapped[int] = mapped_column(Micros)  # that were read
    records: Mapped[int] = mapped_column(Micros)  # calls that they made
    rejects: Mapped[int] = mapped_column(Micros)  # lines that could not be understood
    complete: Mapped[bool]  # its end had been reached
    saved: Mapped[bytes] = mapped_column(LargeBinary)  # the open calls at `position`


class CallSlot(Base):
    """A quarter of an hour, other than that of its start, in which something of a call is counted."""

    __tablename__ = "call_slots"
    __table_args__ = ({"sqlite_with_rowid": False},)

    box: Mapped[int] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(primary_key=True)  # number of the quarter of an hour since the epoch
    call: Mapped[int] = mapped_column(Micros, primary_key=True)


class AgentTimeRow(Base):
    """A piece of an agent's time, within one quarter of an hour."""

    __tablename__ = "agent_time"
    __table_args__ = (
        PrimaryKeyConstraint("box", "slot", "agent", "queue", "kind", "start", "reason"),
        {"sqlite_with_rowid": False},
    )

    box: Mapped[int]
    slot: Mapped[int]
    agent: Mapped[str]
    queue: Mapped[str]
    kind: Mapped[str]
    reason: Mapped[str]
    start: Mapped[int] = mapped_column(Micros)
    end: Mapped[int] = mapped_column(Micros)


class RollupDirty(Base):
    """A quarter of an hour, or a day, whose rollup is older than what it is made from."""

    __tablename__ = "rollup_dirty"
    __table_args__ = ({"sqlite_with_rowid": False},)

    box: Mapped[int] = mapped_column(primary_key=True)
    span: Mapped[int] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(primary_key=True)


class RollupState(Base):
    """What a box's rollups are made with, and from where on there is something to make them from."""

    __tablename__ = "rollup_state"

    box: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    resolution: Mapped[int] = mapped_column(Micros)  # microseconds in which a caller must not call again
    calls_from: Mapped[int] = mapped_column(Integer)  # slot; calls that began before it were purged
    rollups_from: Mapped[int] = mapped_column(Integer)  # slot; rollups before it were purged


def rollup_table(layout: Layout) -> Table:
    """The table of a layout, for quarters of an hour and days."""
    whole = [Column(name, Integer, nullable=False) for name in ("box", "span", *layout.lead, "slot")]
    keys = [Column(name, String, nullable=False) for name in layout.keys]
    values = [
        Column(name, LargeBinary if name in layout.histograms else Micros, nullable=False) for name in layout.values
    ]
    primary = PrimaryKeyConstraint("box", "span", *layout.lead, "slot", *layout.keys)
    return Table(layout.table, Base.metadata, *whole, *keys, *values, primary, sqlite_with_rowid=False)


ROLLUPS = {layout.table: rollup_table(layout) for layout in LAYOUTS}
