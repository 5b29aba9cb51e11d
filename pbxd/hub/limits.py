"""What is let in at the door: how many connections, how many of them signing in, how fast from one address. No I/O, no clock."""

from __future__ import annotations

from collections import OrderedDict

ADDRESSES = 10_000  # that are remembered; the one longest quiet is forgotten


class Door:
    """Counts who comes in. Times are seconds of any clock that only goes forward."""

    def __init__(self, connections: int, signing_in: int, rate: float, burst: int) -> None:
        self.connections = connections
        self.signing_in = signing_in
        self.rate = rate  # a second, of one address
        self.burst = burst
        self.inside = 0
        self.at_the_door = 0  # of those inside, how many have not signed in
        self.refused = {"connections": 0, "signing_in": 0, "rate": 0}
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address -> (what is left, when)

    def enter(self, address: str, at: float) -> bool:
        """Whether a connection may begin; if so it is inside, and signing in."""
        if not self._may_begin(address, at):
            return self._refuse("rate")
        if self.inside >= self.connections:
            return self._refuse("connections")
        if self.at_the_door >= self.signing_in:
            return self._refuse("signing_in")
        self.inside += 1
        self.at_the_door += 1
        return True

    def signed_in(self) -> None:
        """One of those at the door has signed in."""
        self.at_the_door -= 1

    def leave(self, *, signed_in: bool) -> None:
        """A connection that was inside has ended."""
        self.inside -= 1
        self.at_the_door -= not signed_in

    def _refuse(self, why: str) -> bool:
        self.refused[why] += 1
        return False

    def _may_begin(self, address: str, at: float) -> bool:
        left, since = self._buckets.pop(address, (float(self.burst), at))
        left = min(float(self.burst), left + (at - since) * self.rate)
        good = left >= 1
        self._buckets[address] = (left - 1 if good else left, at)
        if len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        return good
