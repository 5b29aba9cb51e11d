"""The lines of the ledger, and what they add up to: which entries there are, and how each stands. Without I/O.

entry        it may leave, from now on; its body lies beside the ledger
intent       the link is about to send it: from here on bytes of it may have left
sent         the hub has it whole
rejected     the hub does not take it, and why
destroyed    it never leaves; `begun`: it was being sent, so a part may have left
connection   a connection has ended: bytes of it on the wire, both ways
message      a message came down
switch       somebody switched something, and who
support      a support ticket was opened or ended, or a session of one

queued ──intent──▶ begun ──sent──▶ sent
   │                 ├──rejected─▶ rejected ◀──rejected── sent (the hub looks at what it holds later)
   │                 └──destroyed▶ cut ──sent, rejected──▶ (its last byte had left already)
   └───destroyed──▶ destroyed
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from pbxd.errors import FrameError, LedgerBroken
from pbxd.uplink.vocabulary import (
    CLASSES,
    REJECT_WHYS,
    Check,
    check_fields,
    hash64,
    identity,
    line,
    moment,
    one_of,
    parsed,
    text,
    whole,
)

LONGEST = 64 * 1024  # bytes of a line
TICKET_OPENED, TICKET_ENDED, TICKET_ALARM = "ticket-opened", "ticket-ended", "ticket-alarm"  # events of support
SLOTS = 400  # quarters of an hour of which it is remembered what was queued: four days


class State(IntEnum):
    """How an entry stands."""

    QUEUED = 0
    BEGUN = 1
    SENT = 2
    REJECTED = 3
    DESTROYED = 4
    CUT = 5  # destroyed while it was being sent


OPEN = (State.QUEUED, State.BEGUN)
STEPS: Mapping[str, Mapping[State, State]] = {
    "intent": {State.QUEUED: State.BEGUN},
    "sent": {State.BEGUN: State.SENT, State.CUT: State.SENT},
    "rejected": {State.BEGUN: State.REJECTED, State.CUT: State.REJECTED, State.SENT: State.REJECTED},
    "destroyed": {State.QUEUED: State.DESTROYED, State.BEGUN: State.CUT},
}


def truth(value: Any) -> None:  # noqa: ANN401 - JSON
    """Yes or no."""
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004 - the one error of a Check


def facts(value: Any) -> None:  # noqa: ANN401 - JSON
    """What is told of a support ticket or session: texts and whole numbers."""
    if not isinstance(value, dict):
        raise ValueError("an object")  # noqa: TRY004 - the one error of a Check
    for name, one in value.items():
        line(name)
        (text if isinstance(one, str) else whole)(one)


HEAD: Mapping[str, Check] = {"n": whole, "at": moment, "what": line}
# `result` is how far the link's results have been taken over with this line: it makes taking them over happen once.
LINES: Mapping[str, Mapping[str, Check]] = {
    "entry": {"number": whole, "class": one_of(CLASSES), "size": whole, "sha256": hash64, "slot": whole},
    "intent": {"number": whole, "result": whole},
    "sent": {"number": whole, "result": whole},
    "rejected": {"number": whole, "why": one_of(REJECT_WHYS), "result": whole},
    "destroyed": {"number": whole, "begun": truth, "by": line},
    "connection": {"since": moment, "sent": whole, "received": whole, "result": whole},
    "message": {"id": identity, "size": whole, "sha256": hash64},
    "switch": {"name": line, "value": line, "by": line},
    "support": {"event": line, "facts": facts},
}
OPTIONAL = frozenset({"slot"})


def encoded(fields: Mapping[str, Any]) -> bytes:
    """A line in its one right form, with its line feed."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode() + b"\n"


def decoded(raw: bytes) -> dict[str, Any]:
    """The fields of a line. LedgerBroken if it is not one, or not in its one right form."""
    if len(raw) > LONGEST or not raw.endswith(b"\n"):
        raise LedgerBroken("a line is longer than one may be, or has no end")
    try:
        found: dict[str, Any] = parsed(raw, "line")
        what = found.get("what") if isinstance(found, dict) else None
        wanted = LINES.get(what) if isinstance(what, str) else None
        if wanted is None:
            raise LedgerBroken(f"{str(what)[:40]!r} is no kind of line")
        present = {name: check for name, check in wanted.items() if name not in OPTIONAL or name in found}
        check_fields({**HEAD, **present}, found, str(what))
    except FrameError as error:
        raise LedgerBroken(str(error)) from error
    if encoded(found) != raw:
        raise LedgerBroken("a line is not written as the ledger writes it")
    return found


@dataclass(slots=True)
class Item:
    """One entry, as its line says."""

    number: int
    class_: str
    size: int
    sha256: str
    created: str
    slot: int | None = None


def item_of(fields: Mapping[str, Any]) -> Item:
    """The entry of its line."""
    return Item(
        fields["number"], fields["class"], fields["size"], fields["sha256"], fields["at"], fields.get("slot")
    )  # fmt: skip


class Book:
    """What the lines so far add up to. Memory: nine bytes an entry, and the open ones whole."""

    def __init__(self) -> None:
        self.lines = 0
        self.bytes = 0
        self.open: dict[int, Item] = {}  # entries that are queued or begun
        self.folded = 0  # how far the link's results have been taken over
        self.switches: dict[str, tuple[str, str]] = {}  # name -> (value, when)
        self.switched = 0  # lines up to the last switch, itself included
        self.slots: dict[int, str] = {}  # the latest quarters of an hour that were queued -> SHA-256 of the body
        self.last: dict[str, Item] = {}  # the latest entry of each class
        self.tickets: dict[str, Mapping[str, Any]] = {}  # every support ticket -> what was told of its opening
        self.tickets_ended: dict[str, str] = {}  # those that have ended -> why
        self._states = bytearray()
        self._places = array("Q")  # where the line of each entry begins

    @property
    def entries(self) -> int:
        """How many entries there are; the next one has this number."""
        return len(self._states)

    def state(self, number: int) -> State:
        """How an entry stands."""
        return State(self._states[number])

    def place(self, number: int) -> int:
        """Where the line of an entry begins."""
        return self._places[number]

    def count(self, state: State) -> int:
        """How many entries stand so."""
        return self._states.count(state)

    def apply(self, fields: Mapping[str, Any], length: int) -> None:
        """Take the next line in. LedgerBroken if it cannot stand here; then nothing is taken in."""
        if fields["n"] != self.lines:
            raise LedgerBroken(f"line {self.lines} says to be line {fields['n']}")
        what = fields["what"]
        if what == "entry":
            self._enter(fields)
        elif what in STEPS:
            self._step(what, fields["number"])
        elif what == "switch":
            self.switches[fields["name"]] = (fields["value"], fields["at"])
            self.switched = self.lines + 1
        elif what == "support":
            self._support(fields["event"], fields["facts"])
        self.folded = fields.get("result", self.folded)
        self.lines += 1
        self.bytes += length

    def _enter(self, fields: Mapping[str, Any]) -> None:
        number = fields["number"]
        if number != self.entries:
            raise LedgerBroken(f"line {self.lines}: entry {number} stands where {self.entries} should")
        item = item_of(fields)
        self._states.append(State.QUEUED)
        self._places.append(self.bytes)
        self.open[number] = self.last[item.class_] = item
        if item.slot is not None:
            self.slots.pop(item.slot, None)
            self.slots[item.slot] = item.sha256
            while len(self.slots) > SLOTS:
                del self.slots[next(iter(self.slots))]

    def _support(self, event: str, facts: Mapping[str, Any]) -> None:
        name = str(facts.get("ticket", ""))
        if event == TICKET_OPENED:
            self.tickets.setdefault(name, facts)  # the first counts: no later line makes a ticket longer
        elif event == TICKET_ENDED:
            self.tickets_ended.setdefault(name, str(facts.get("why", "")))

    def _step(self, what: str, number: int) -> None:
        after = STEPS[what].get(self.state(number)) if number < self.entries else None
        if after is None:
            raise LedgerBroken(f"line {self.lines}: entry {number} cannot be {what} now")
        self._states[number] = after
        if after not in OPEN:
            self.open.pop(number, None)
