"""How long the link waits before it tries again. No I/O, no clock.

Each wait is drawn from a whole range, for a hub that restarts has many boxes: they are cut at one moment, and come back spread over
`first` seconds; those for which there was no room then, over twice as many, and so on up to `longest`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from pbxd.backoff import backoff
from pbxd.errors import FrameError, HubAway, LedgerError, UplinkError

DISK = 5.0  # s to the next try after our own disk failed, at least


class Reconnect:
    """The waits of one link, in seconds."""

    def __init__(self, first: float, longest: float, uniform: Callable[[float, float], float] = random.uniform) -> None:
        """`first` and `longest`: most seconds of the first wait, and of any."""
        self._first = first
        self._longest = longest
        self._uniform = uniform
        self._waits = self._anew()

    def _anew(self) -> Iterator[float]:
        return backoff(self._first, self._longest, uniform=self._uniform)

    def failed(self) -> float:
        """There was no connection, or it was cut before it had proved to be one."""
        return next(self._waits)

    def stayed(self) -> float:
        """A connection that stayed up has ended: only this starts the waiting anew."""
        self._waits = self._anew()
        return self._uniform(0, self._first)

    def refused(self) -> float:
        """The hub does not want us, or is not the hub: no try in haste will mend it."""
        return self._uniform(self._longest / 2, self._longest)

    def after(self, error: Exception, *, stayed: bool) -> float:
        """What came of a try decides; `stayed`: there was a connection, and it was up for so long that it had proved to be one."""
        if isinstance(error, LedgerError):
            return self.disk()
        if isinstance(error, UplinkError) and not isinstance(error, HubAway | FrameError):
            return self.refused()
        return self.stayed() if stayed else self.failed()

    def disk(self) -> float:
        """Our own disk failed, so nothing may be sent."""
        return min(self._longest, DISK + next(self._waits))
