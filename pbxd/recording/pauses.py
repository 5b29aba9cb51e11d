"""Why nothing of a call is kept for a while: somebody asked for it, keys are pressed, or somebody pays. Pure: no I/O, no clock.

What is asked for lasts until somebody takes it back. Keys count from a moment before the first is told of until a while after the
last was let go. A payment belongs to the call, not to its recording: it may begin before there is one, goes over to whoever joins,
and no `resume` ends it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pbxd.recording.commands import Listen
from pbxd.recording.segments import Recording

ASKED, DIGITS, PAYMENT = "asked", "digits", "payment"


@dataclass(slots=True)
class Pauses:
    """The keys and payments of the calls that go on."""

    _paying: set[str] = field(default_factory=set)  # uniqueids of calls in which somebody pays
    _listened: set[str] = field(default_factory=set)  # uniqueids on which Asterisk was told to listen for keys
    _keys: dict[str, int | None] = field(default_factory=dict)  # recording -> end of its digits; None: a key is down

    # Keys

    def key(self, recording: Recording, now: int, over: int | None) -> bool:
        """A key was pressed, or let go, so that the digits are over at `over`; whether that began a pause, at `now`."""
        self._keys[recording.id] = over
        if DIGITS in recording.pauses:
            return False
        recording.pause(DIGITS, now)
        return True

    def listen(self, recording: Recording) -> list[Listen]:
        """Have Asterisk go on telling of keys on the channels that are recorded; once is enough for a channel's life."""
        told = [one for one in recording.segments if one.going_on and one.uniqueid not in self._listened]
        self._listened |= {one.uniqueid for one in told}
        return [Listen(one) for one in told]

    def let_go_unseen(self, recording: Recording, over: int) -> None:
        """AMI was away: of a key that was down it is not known when it was let go."""
        if DIGITS in recording.pauses and self._keys.get(recording.id) is None:
            self._keys[recording.id] = over

    @property
    def deadline(self) -> int | None:
        """When the first digits are over, in microseconds; None: not before something happens."""
        return min((at for at in self._keys.values() if at is not None), default=None)

    def over(self, now: int) -> list[str]:
        """The recordings whose digits are over by now, each told once."""
        found = [name for name, at in self._keys.items() if at is not None and at <= now]
        for name in found:
            del self._keys[name]
        return found

    # Payments

    def pay(self, call: Iterable[str], *, begins: bool) -> None:
        """Somebody pays in the call of these channels, or no longer does."""
        if begins:
            self._paying.update(call)
        else:
            self._paying.difference_update(call)

    def settle(self, recording: Recording, call: set[str], now: int) -> None:
        """Pause the recording of a call in which somebody pays, or go on with it."""
        if call & self._paying:
            self._paying |= call  # who joins now pays too, and goes on when the one who began it has left
            recording.pause(PAYMENT, now)
        else:
            recording.resume(PAYMENT, now)

    # Calls come and go

    def adopt(self, recording: Recording) -> None:
        """A recording that an earlier run of pbxd began."""
        if PAYMENT in recording.pauses:
            self._paying |= recording.channels

    def reconnected(self) -> None:
        """AMI was away: whether Asterisk was still told is not known."""
        self._listened.clear()

    def unite(self, first: Recording, other: Recording) -> None:
        """`other` turned out to be of the same call as `first`."""
        if other.id in self._keys:
            self._keys[first.id] = self._keys.pop(other.id)

    def left(self, uniqueid: str) -> None:
        """A channel is gone."""
        self._paying.discard(uniqueid)
        self._listened.discard(uniqueid)

    def finished(self, recording: Recording) -> None:
        """A recording's call is over; one that was taken over has channels that were never seen."""
        self._keys.pop(recording.id, None)
        self._paying -= recording.channels
