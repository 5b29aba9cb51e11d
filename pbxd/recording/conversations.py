"""Who talks with whom, kept up to date channel by channel. Pure.

A conversation is what people hear of one another: the channels of a bridge, and of those that Local channels tie to it. A call
is more: all conversations whose channels have one linkedid (somebody asks back while another is on hold).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pbxd.calls.live import LiveChannel


@dataclass(slots=True)
class _Place:
    """Where a channel was put when it was last looked at."""

    bridge: str
    linkedid: str
    pair: str  # the name that both halves of a Local channel have; empty for others


class Conversations:
    """Finds the channels that belong together, without looking at any others."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}
        self._bridges: dict[str, set[str]] = {}
        self._linkedids: dict[str, set[str]] = {}
        self._pairs: dict[str, set[str]] = {}

    def take(self, uniqueid: str, channel: LiveChannel | None) -> None:
        """This channel is now like this; None: it is gone."""
        old = self._places.pop(uniqueid, None)
        if old is not None:
            for index, key in self._entries(old):
                index[key].discard(uniqueid)
                if not index[key]:
                    del index[key]
        if channel is None:
            return
        pair = channel.name.rpartition(";")[0] if is_local(channel.name) else ""
        place = self._places[uniqueid] = _Place(channel.bridge, channel.linkedid, pair)
        for index, key in self._entries(place):
            index.setdefault(key, set()).add(uniqueid)

    def _entries(self, place: _Place) -> Iterator[tuple[dict[str, set[str]], str]]:
        for index, key in (
            (self._bridges, place.bridge),
            (self._linkedids, place.linkedid),
            (self._pairs, place.pair),
        ):
            if key:
                yield index, key

    def conversation(self, uniqueid: str) -> set[str]:
        """The channels that hear one another with this one; it alone if it is in no bridge; empty if it is not known."""
        return self._reach(uniqueid, whole_call=False)

    def call(self, uniqueid: str) -> set[str]:
        """All channels of this one's call; empty if it is not known."""
        return self._reach(uniqueid, whole_call=True)

    def _reach(self, uniqueid: str, *, whole_call: bool) -> set[str]:
        if uniqueid not in self._places:
            return set()
        found: set[str] = set()
        waiting = [uniqueid]
        while waiting:
            at = waiting.pop()
            if at in found:
                continue
            found.add(at)
            place = self._places[at]
            waiting += self._bridges.get(place.bridge, ())
            waiting += self._pairs.get(place.pair, ())
            if whole_call:
                waiting += self._linkedids.get(place.linkedid, ())
        return found


def is_local(name: str) -> bool:
    """Whether a channel of this name is half of a Local channel: plumbing, not a party."""
    return name.startswith("Local/")
