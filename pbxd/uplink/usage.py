"""What of the box's use is told, in coarse steps: counts of the last whole UTC day. No I/O, no clock.

Calls, queue visits and voice messages are counted in the store of statistics, so a restart changes nothing. Of recordings and
FastAGI sessions there are counters since pbxd's start: their last day is what they grew in it, to within a report's time.
"""

from __future__ import annotations

from collections.abc import Mapping

DAY = 86_400  # s


class Grown:
    """How much counters that only grow grew in the last whole day; in the first day after a start, as much as there is of it."""

    def __init__(self) -> None:
        self._day = -1  # of the last look, in days since the epoch
        self._before: Mapping[str, int] = {}  # the counters at the end of the day before it; none at the start
        self._last: Mapping[str, int] = {}  # and at the last look
        self._whole: dict[str, int] | None = None  # what they grew in the last whole day

    def look(self, counters: Mapping[str, int], now: float) -> dict[str, int]:
        """By the same names. `now` is epoch seconds; a clock that was set back begins its day anew."""
        day = int(now // DAY)
        if day != self._day:
            if self._day >= 0:
                whole = {name: count - self._before.get(name, 0) for name, count in self._last.items()}
                self._whole = whole if day == self._day + 1 else dict.fromkeys(counters, 0)
                self._before = self._last
            self._day = day
        self._last = dict(counters)
        if self._whole is not None:
            return dict(self._whole)
        return {name: count - self._before.get(name, 0) for name, count in counters.items()}
