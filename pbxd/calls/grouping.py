"""Which channels are one call: union-find over what CEL says of who met whom, fed line by line.

Two channels are one call when they share a linkedid, a bridge in which people talk, a Local pair, or a transfer, a pickup or an
optimisation that names both. A call has ended when each of its channels has (CHAN_END) and Asterisk has retired each of its
linkedids (LINKEDID_END, which also comes when a linkedid is overwritten: alone it ends nothing).

All decisions depend on the lines alone, never on a clock or on how they are cut into reads: that is what makes reading them
again give the same calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from pbxd.calls.cel import CelEvent, id_order

KEPT_CLOSED = 512  # ended calls that a late line can still reach
SETTLE = 5_000_000  # µs without a line; ends a call whose last LINKEDID_END, or a CHAN_END, never reached the journal
LATE = 10_000_000  # µs after its end in which a call may get another line: the dialplan's hangup handlers
RESTART_SLACK = 1  # s; two threads can swap number and second when they make channels at once
NAMED_IN_EXTRA = (
    "transferee_channel_uniqueid", "channel2_uniqueid", "local_two_uniqueid", "pickup_channel_uniqueid",
    "transfer_target_channel_uniqueid",
)  # fmt: skip
MEETS = frozenset(
    {"BRIDGE_ENTER", "BLINDTRANSFER", "ATTENDEDTRANSFER", "PICKUP", "LOCAL_OPTIMIZE_BEGIN", "LOCAL_OPTIMIZE"}
)


@dataclass(slots=True, eq=False)
class Group:
    """The lines of one call so far."""

    events: list[CelEvent] = field(default_factory=list)
    channels: dict[str, bool] = field(default_factory=dict)  # uniqueid -> whether it is still there
    linkedids: dict[str, bool] = field(default_factory=dict)  # linkedid -> whether Asterisk still uses it
    places: set[str] = field(default_factory=set)  # bridges, Local pairs, and channels that were named before they came
    up: int = 0  # channels still there
    used: int = 0  # linkedids still used
    closed: bool = False
    cut: bool = False  # ended because Asterisk does not run it any more, not by its own lines
    known_as: list[str] = field(default_factory=list)  # ids under which it was given out already

    @property
    def began(self) -> bool:
        """Whether the journal has the beginning of any of its channels; without it nothing right can be said of the call."""
        return any(event.type == "CHAN_START" for event in self.events)

    @property
    def last(self) -> int:
        """Time of the latest line, in microseconds."""
        return max(event.at for event in self.events)


class Grouper:
    """Takes events in the order of the journal; gives back the groups that they complete."""

    def __init__(self) -> None:
        self._by_channel: dict[str, Group] = {}
        self._by_linkedid: dict[str, Group] = {}
        self._by_place: dict[str, Group] = {}
        self._open: dict[Group, None] = {}  # in the order in which they began
        self._recent: deque[Group] = deque()
        self._settling: deque[tuple[int, Group]] = deque()
        self.newest = (0, 0)  # second and number of the newest channel: a number that falls is a restart

    @property
    def open(self) -> list[Group]:
        """Calls that have not ended, oldest first."""
        return list(self._open)

    def ended_lately(self) -> list[Group]:
        """Calls that ended by their own lines and that a late line may still reach, in the order of their ends."""
        ended = [(group.last, group) for group in self._recent if group.closed and group.events and not group.cut]
        newest = max((last for last, _ in ended), default=0)
        lately = {id(group): group for last, group in ended if last >= newest - LATE}
        return [group for group in lately.values() if self._by_channel.get(group.events[0].uniqueid) is group]

    def recall(self, uniqueid: str, known_as: list[str]) -> None:
        """The call of this channel was given out already, under these ids."""
        self._by_channel[uniqueid].known_as = known_as

    def feed(self, event: CelEvent) -> list[Group]:
        """Add one event. The groups that end with it, or before it by a restart."""
        ended: list[Group] = []
        if event.type == "CHAN_START" and self._is_restart(event):
            ended.extend(self.cut_open())
        if self._settling:
            ended.extend(self._settled(event.at))
        group = self._find(event)
        group.events.append(event)
        self._account(group, event)
        if group.closed:
            group.cut = group.cut and group.up > 0
            ended.append(group)  # a late line: the call is given out again, with it
        elif group.up == 0 and group.used == 0:
            self._close(group)
            ended.append(group)
        elif group.up == 0 or group.used == 0:
            self._settling.append((event.at, group))
        return ended

    def cut_open(self, before: int | None = None, alive: Collection[str] = ()) -> list[Group]:
        """End each open call that Asterisk does not run any more.

        Spared are calls with a channel in `alive` (uniqueids), and calls with a line at or after `before` (microseconds).
        """
        cut = [
            group
            for group in self._open
            if (before is None or group.last < before) and not any(channel in alive for channel in group.channels)
        ]
        for group in cut:
            group.cut = group.up > 0
            self._close(group)
        return cut

    def _is_restart(self, event: CelEvent) -> bool:
        """Asterisk numbers its channels from 0 at each start: a number that falls while time goes on is a new process."""
        second, number, _ = id_order(event.uniqueid)
        if second == 1 << 62:
            return False
        newest_second, newest_number = self.newest
        if number > newest_number or self.newest == (0, 0):
            self.newest = (max(second, newest_second), number)
            return False
        if second <= newest_second + RESTART_SLACK:
            return False
        self.newest = (second, number)
        return True

    def _settled(self, now: int) -> Iterator[Group]:
        while self._settling:
            since, group = self._settling[0]
            if not group.closed and now - since <= SETTLE:
                return
            self._settling.popleft()
            if not group.closed and group.last <= since and (group.up == 0 or group.used == 0):
                self._close(group)
                yield group

    def _find(self, event: CelEvent) -> Group:
        """The group of this event; groups that it brings together are merged."""
        found = self._by_channel.get(event.uniqueid)
        other = self._by_linkedid.get(event.linkedid)
        if found is None:
            found = self._by_place.get(event.uniqueid)
        if found is None:
            found = other
        if found is None:
            found = Group()
            self._open[found] = None
        elif other is not None and other is not found:
            found = self._merge(found, other)
        if event.type in MEETS or event.channel.startswith("Local/"):
            found = self._meet(found, event)
        return found

    def _meet(self, group: Group, event: CelEvent) -> Group:
        """Merge in whatever else this event names: a bridge, the other half of a Local channel, the party of a transfer."""
        places = []
        if event.channel.startswith("Local/"):
            places.append(event.channel.rpartition(";")[0])
        details = event.details() if event.type in MEETS else {}
        if event.type == "BRIDGE_ENTER" and details.get("bridge_technology") != "holding_bridge":
            places.append(str(details.get("bridge_id", "")))
        for place in filter(None, places):
            other = self._by_place.setdefault(place, group)
            group.places.add(place)
            if other is not group:
                group = self._merge(group, other)
        for name in NAMED_IN_EXTRA:
            uniqueid = str(details.get(name, ""))
            named = self._by_channel.get(uniqueid)
            if named is None and uniqueid.partition(".")[0].isdecimal():
                named = self._by_place.setdefault(uniqueid, group)  # the journal is in order within a channel only
                group.places.add(uniqueid)
            if named is not None and named is not group:
                group = self._merge(group, named)
        return group

    def _account(self, group: Group, event: CelEvent) -> None:
        """Keep count of what is still up. A channel or linkedid that has ended stays ended."""
        if event.uniqueid not in group.channels:
            group.channels[event.uniqueid] = True
            group.up += 1
            self._by_channel[event.uniqueid] = group
        if event.linkedid not in group.linkedids:
            group.linkedids[event.linkedid] = True
            group.used += 1
            self._by_linkedid[event.linkedid] = group
        if event.type == "CHAN_END" and group.channels[event.uniqueid]:
            group.channels[event.uniqueid] = False
            group.up -= 1
        elif event.type == "LINKEDID_END" and group.linkedids[event.linkedid]:
            group.linkedids[event.linkedid] = False
            group.used -= 1
        if group.closed and group.up > 0:
            self._reopen(group)  # a channel that was not known of, or that was not dead: the call goes on after all

    def _merge(self, one: Group, two: Group) -> Group:
        """Make one group of two; the larger keeps its identity."""
        if len(one.events) < len(two.events):
            one, two = two, one
        one.events.extend(two.events)
        one.channels.update(two.channels)
        for linkedid, used in two.linkedids.items():
            one.linkedids[linkedid] = used and one.linkedids.get(linkedid, True)
        one.places |= two.places
        one.known_as.extend(two.known_as)
        one.up = sum(one.channels.values())
        one.used = sum(one.linkedids.values())
        for index, keys in self._indexes(two):
            for key in keys:
                index[key] = one
        self._open.pop(two, None)
        if one.closed and not two.closed:
            self._reopen(one)
        two.closed = True
        return one

    def _reopen(self, group: Group) -> None:
        group.closed = False
        group.cut = False
        self._open[group] = None

    def _close(self, group: Group) -> None:
        group.closed = True
        self._open.pop(group, None)
        self._recent.append(group)
        if len(self._recent) > KEPT_CLOSED:
            self._forget(self._recent.popleft())

    def _forget(self, group: Group) -> None:
        if not group.closed:
            return  # it was opened again
        for index, keys in self._indexes(group):
            for key in keys:
                if index.get(key) is group:
                    del index[key]

    def _indexes(self, group: Group) -> tuple[tuple[dict[str, Group], list[str]], ...]:
        return (
            (self._by_channel, list(group.channels)),
            (self._by_linkedid, list(group.linkedids)),
            (self._by_place, list(group.places)),
        )
