"""What becomes of the frames of uploads: pieces that are kept, entries that are whole, answers. Frames in, rows out; no I/O.

An entry is held as soon as all of it is there and fits to its hash. What it says is looked at later: `reading`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pbxd.errors import FrameError
from pbxd.uplink.bodies import LARGEST as LARGEST_BODY
from pbxd.uplink.frames import Frame, frame

UNREAD = "unread"  # stands in `entries.why` of an entry that is held and was not looked at yet


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of an entry's body."""

    number: int
    offset: int
    sha256: str  # of the whole body, as the box says
    body: bytes


@dataclass(frozen=True, slots=True)
class Held:
    """An entry that is done with: held, skipped, or rejected."""

    number: int
    class_: str  # "" of one that was skipped
    size: int
    sha256: str
    created: str
    why: str
    body: bytes | None = None  # of one that came in one piece; the pieces of others are kept until it is read


@dataclass(slots=True)
class Batch:
    """What one transaction stores, and what is said behind it."""

    dropped: set[int] = field(default_factory=set)  # entries whose pieces are taken away, before others are put in
    pieces: list[Piece] = field(default_factory=list)
    entries: list[Held] = field(default_factory=list)
    answers: list[Frame] = field(default_factory=list)  # in the order of their numbers
    again: list[Frame] = field(default_factory=list)  # sent a second time: what was stored of them is to be said again

    def drop(self, number: int) -> None:
        """The pieces of an entry are not wanted any more, neither those of this batch nor those in the store."""
        self.pieces = [one for one in self.pieces if one.number != number]
        self.dropped.add(number)


class Intake:
    """Takes the uploads of one ledger: of the entry that is wanted next the number, and what is there of it."""

    def __init__(self, number: int, pieces: Iterable[bytes] = (), sha256: str = "") -> None:
        """`pieces`: of entry `number`, which were kept before; `sha256`: what was said of the whole of it."""
        self.next = number
        self._begin()
        self._claimed = sha256
        for piece in pieces:
            self._add(piece)

    @property
    def have(self) -> int:
        """Bytes of the next entry that are held."""
        return self._have

    def take(self, frames: Sequence[Frame]) -> Batch:
        """What is to be stored for these entries and skips. FrameError if the box breaks the order; then this intake has ended."""
        batch = Batch()
        for one in frames:
            self._one(batch, one)
        return batch

    def _begin(self) -> None:
        self._have = 0
        self._claimed = ""
        self._hash = hashlib.sha256()

    def _add(self, piece: bytes) -> None:
        self._hash.update(piece)
        self._have += len(piece)

    def _one(self, batch: Batch, one: Frame) -> None:
        number = one["number"]
        if number > self.next:
            raise FrameError(f"entry {number} came, and {self.next} is wanted: a number goes up only by one")
        if number < self.next:
            if one.type == "skip" or one["offset"] + len(one.body) == one["size"]:
                batch.again.append(one)
        elif one.type == "skip":
            self._put(batch, Held(number, "", 0, "", "", one["why"]))
        elif one["size"] > LARGEST_BODY:
            self._reject(batch, one, "size")
        elif one["offset"] == 0 and len(one.body) == one["size"]:
            self._whole(batch, one, hashlib.sha256(one.body).hexdigest(), one.body)
        else:
            self._piece(batch, one)

    def _piece(self, batch: Batch, one: Frame) -> None:
        number, offset = one["number"], one["offset"]
        if offset == 0 and self._have:  # the box begins anew
            batch.drop(number)
            self._begin()
        if offset != self._have or (offset and self._claimed != one["sha256"]):
            raise FrameError(f"entry {number}: a piece at {offset} came, and {self._have} bytes of it are held")
        if not one.body:
            raise FrameError(f"entry {number}: an empty piece")
        self._claimed = one["sha256"]
        self._add(one.body)
        batch.pieces.append(Piece(number, offset, self._claimed, one.body))
        if self._have == one["size"]:
            self._whole(batch, one, self._hash.hexdigest(), None)

    def _whole(self, batch: Batch, one: Frame, sha256: str, body: bytes | None) -> None:
        if sha256 != one["sha256"]:
            self._reject(batch, one, "sha256")
            return
        self._put(batch, entry_of(one, UNREAD, body), keep=body is None)
        batch.answers.append(frame("accepted", number=one["number"]))

    def _reject(self, batch: Batch, one: Frame, why: str) -> None:
        self._put(batch, entry_of(one, why))
        batch.answers.append(frame("rejected", number=one["number"], why=why))

    def _put(self, batch: Batch, entry: Held, *, keep: bool = False) -> None:
        """This number is done with. `keep` its pieces: they are its body."""
        if self._have and not keep:
            batch.drop(entry.number)
        batch.entries.append(entry)
        self.next += 1
        self._begin()


def entry_of(one: Frame, why: str, body: bytes | None = None) -> Held:
    """What is stored of an entry that came in a frame."""
    return Held(one["number"], one["class"], one["size"], one["sha256"], one["created"], why, body)
