"""What is said over one connection to the hub: which frame goes next, and what each that comes means. No sockets, no clock.

Entries go up in the order of their numbers, several of them before the first is accepted. Of each the intent is on the disk before
its first byte is handed over.
"""

from __future__ import annotations

from collections import deque

from pbxd.errors import FrameError, HubAway, HubRefused
from pbxd.uplink.book import OPEN, Item, State
from pbxd.uplink.frames import LARGEST_BODY, Frame, frame
from pbxd.uplink.notes import Verifier
from pbxd.uplink.outbox import Outbox
from pbxd.uplink.place import Place
from pbxd.uplink.vocabulary import PROTOCOL

MOST_ENTRIES = 64  # that are on their way before the first of them is accepted
FAREWELLS = {
    "revoked": "the vendor has revoked this box's certificate; enrol again",
    "replaced": "another link has signed in as this box; is there a copy of it?",
    "ledger": "the hub knows another ledger of this box (restored from a backup?); enrol it anew with a token for this box",
}


class Conversation:
    """One connection's talk, from hello on."""

    def __init__(self, outbox: Outbox, place: Place, key: Verifier, version: str, piece: int = LARGEST_BODY) -> None:
        """`piece`: most bytes of a body in one frame."""
        self.outbox = outbox
        self.place = place
        self.time: str | None = None  # of the hub, when it welcomed us
        self.certificate_until: str | None = None  # of a renewed one
        self._key = key
        self._version = version
        self._piece = min(piece, LARGEST_BODY)
        self._cursor = 0  # the entry whose piece goes next
        self._offset = 0  # and from where on
        self._flying: deque[Item] = deque()  # sent whole, neither accepted nor rejected
        self._answers: deque[Frame] = deque()
        self._told = b""  # the checkpoint that the hub has from us

    def hello(self) -> Frame:
        """The first frame."""
        return frame(
            "hello",
            protocol=PROTOCOL,
            version=self._version,
            ledger=self._key.fingerprint,
            size=self.outbox.book.entries,
        )

    def take(self, one: Frame) -> None:
        """A frame of the hub. FrameError if it cannot come now, HubRefused or HubAway if it ends the connection."""
        if one.type != "welcome" and self.time is None and one.type != "bye":
            raise FrameError(f"{one.type} came before welcome")
        getattr(self, f"_{one.type}")(one)

    def next(self) -> Frame | None:
        """What is to be sent now; None if nothing is until something comes or changes. LedgerError if the disk fails."""
        if self.time is None:
            return None
        if self._answers:
            return self._answers.popleft()
        while self._cursor < self.outbox.book.entries and len(self._flying) < MOST_ENTRIES:
            found = self._entry(self._cursor)
            if found is not None:
                return found
        return None

    def checkpoint(self) -> None:
        """Tell the hub how far the ledger is, if it does not know."""
        note = self.outbox.checkpoint()
        if self.time is not None and note and note != self._told:
            self._told = note
            self._answers.append(Frame("checkpoint", {}, note))

    def _entry(self, number: int) -> Frame | None:
        """The next piece of an entry, or that it is skipped; None if it turned out to be destroyed just now."""
        state = self.place.state(number)
        if state is State.QUEUED:
            self._begin(number)
            return None  # look again: it may have been destroyed meanwhile
        item = self.outbox.item(number)
        body = None if state in (State.DESTROYED, State.CUT) else self.outbox.piece(number, self._offset, self._piece)
        if body is None:
            self._cursor, self._offset = number + 1, 0
            return frame("skip", number=number, why="destroyed")
        if not body and self._offset < item.size:
            raise FrameError(f"entry {number}: its body is shorter than its line says")
        found = frame(
            "entry", body, number=number, class_=item.class_, size=item.size, sha256=item.sha256, offset=self._offset,
            created=item.created,
        )  # fmt: skip
        self._offset += len(body)
        if self._offset >= item.size:
            self._flying.append(item)
            self._cursor, self._offset = number + 1, 0
        return found

    def _begin(self, number: int) -> None:
        """Put down the intent to send this entry and those behind it, unless they are destroyed meanwhile."""
        with self.outbox.locked():
            self.outbox.refresh()
            behind = range(number, min(number + MOST_ENTRIES, self.outbox.book.entries))
            self.place.begin([one for one in behind if self.place.state(one) is State.QUEUED])

    def _welcome(self, one: Frame) -> None:
        if self.time is not None:
            raise FrameError("welcome came twice")
        if one["protocol"] != PROTOCOL:
            raise HubRefused("protocol", f"the hub speaks version {one['protocol']} of the protocol, we {PROTOCOL}")
        number = one["next"]
        if number > self.outbox.book.entries or any(
            waiting < number and self.place.state(waiting) is State.QUEUED for waiting in self.outbox.book.open
        ):
            raise HubRefused("ledger", FAREWELLS["ledger"])
        for waiting in [waiting for waiting in self.outbox.book.open if waiting < number]:
            if self.place.state(waiting) is State.BEGUN:
                self.place.say("sent", number=waiting)  # it had come, and the answer was lost
        self.place.sync()
        self._cursor, self._offset, self.time = number, one["have"], one["time"]
        if number < self.outbox.book.entries and self._offset > self.outbox.item(number).size:
            raise FrameError("the hub has more of an entry than there is")
        self.checkpoint()

    def _accepted(self, one: Frame) -> None:
        number = one["number"]
        if not self._landed(number):
            raise FrameError(f"accepted came for entry {number}, which was not on its way")
        if self.place.state(number) in (*OPEN, State.CUT):
            self.place.say("sent", number=number)

    def _rejected(self, one: Frame) -> None:
        """At once, or later: the hub looks at what it holds behind the upload. It says so until we answer."""
        number = one["number"]
        if number >= self.outbox.book.entries or self.place.state(number) is State.QUEUED:
            raise FrameError(f"rejected came for entry {number}, which was not sent")
        self._landed(number)
        if number == self._cursor:  # what is left of it need not go
            self._cursor, self._offset = number + 1, 0
        if self.place.state(number) in (State.BEGUN, State.CUT, State.SENT):
            self.place.say("rejected", number=number, why=one["why"])
        self._answers.append(frame("noted", number=number))

    def _landed(self, number: int) -> bool:
        """An entry is no longer on its way; whether it was."""
        for item in self._flying:
            if item.number == number:
                self._flying.remove(item)
                return True
        return False

    def _message(self, one: Frame) -> None:
        if self.place.message(one["id"], one.body):
            self._answers.append(frame("received", id=one["id"]))

    def _renewed(self, one: Frame) -> None:
        self.place.renew(one["certificate"])
        self.certificate_until = one["until"]

    def _bye(self, one: Frame) -> None:
        why = one["why"]
        if why in FAREWELLS:
            raise HubRefused(why, FAREWELLS[why])
        raise HubAway(f"the hub ended the connection: {why}")
