"""The chain of the audit log: each row's hash covers the row before and this one. No I/O, no clock."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields

FIRST = "0" * 64  # the hash before the first row


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was done, or refused."""

    seq: int
    at: int  # µs
    who: str  # name of the person, or root, or a part of pbxd
    role: str
    via: str
    action: str
    kind: str
    subject: str
    allowed: bool
    reason: str
    detail: str  # canonical JSON


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain."""

    seq: int
    hash: str


START = Link(0, FIRST)


def canonical(value: object) -> str:
    """JSON in the one way that is hashed."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def link(before: Link, entry: Entry) -> Link:
    """The place of `entry` behind `before`."""
    text = canonical(dict(zip((field.name for field in fields(entry)), astuple(entry), strict=True)))
    return Link(entry.seq, hashlib.sha256(f"{before.hash}\n{text}".encode()).hexdigest())


class Walk:
    """Goes along the chain, row by row, and says what is wrong."""

    def __init__(self, start: Link) -> None:
        self.at = start
        self.rows = 0

    def step(self, entry: Entry, written: str) -> Iterator[str]:
        """Go on to the next row, which was written with this hash."""
        self.rows += 1
        if entry.seq != self.at.seq + 1:
            yield f"row {entry.seq} follows row {self.at.seq}: rows are missing, or not in order"
        if link(self.at, entry).hash != written:
            yield f"row {entry.seq} is not what was written, or what is before it is not"
        self.at = Link(entry.seq, written)

    def end(self, head: Link) -> Iterator[str]:
        """There are no more rows; `head` is the last one that was written."""
        if self.at != head:
            yield f"the log ends at row {self.at.seq}; row {head.seq} was the last one that was written"


def faults(start: Link, rows: Iterable[tuple[Entry, str]], head: Link) -> Iterator[str]:
    """What is wrong with rows that should follow `start`, each with the hash that it was written with, and end at `head`."""
    walk = Walk(start)
    for entry, written in rows:
        yield from walk.step(entry, written)
    yield from walk.end(head)
