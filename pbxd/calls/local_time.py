"""A wall clock without a zone, as databases keep it, put onto UTC. In autumn an hour comes twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SLACK = 5_000_000  # µs by which lines of different channels may be out of order


def since_epoch(aware: datetime) -> int:
    """Microseconds since the epoch, exact."""
    return (aware - EPOCH) // MICROSECOND


class LocalTime:
    """Times of one zone, told in the order in which they were written."""

    def __init__(self, zone: tzinfo) -> None:
        self.zone = zone
        self._newest = 0  # microseconds; the latest time so far

    def utc(self, naive: datetime, born: int) -> int:
        """`naive` as microseconds since the epoch; `born`, likewise, is when the event's channel came into being, 0 if unknown.

        In the hour that comes twice it is the first time, unless that would be before the channel was there, or go back behind
        what has been told.
        """
        local = naive.replace(tzinfo=self.zone, fold=0)
        at = since_epoch(local)
        again = local.replace(fold=1)
        if again.utcoffset() != local.utcoffset():
            later = since_epoch(again)
            if later > at and at < max(born, self._newest) - SLACK:
                at = later
        self._newest = max(self._newest, at)
        return at
