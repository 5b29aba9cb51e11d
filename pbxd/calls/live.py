"""Calls in progress, from AMI events. A picture for people and pages; records are made from the journal, never from here.

Pure: an event and a time in, state out. An event about a channel that is not known (it ended before we connected) changes nothing,
and all that is known of a channel goes with its Hangup, so nothing can pile up. An event may come twice, or tell what a
snapshot told already: the state after it is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pbxd.calls.cel import HOOK, id_order

# Asterisk's words for a phone or trunk as a whole (DeviceState of PJSIPShowEndpoints, PeerStatus) that say it cannot be called
UNREACHABLE = frozenset({"unavailable", "invalid", "unreachable", "unregistered", "rejected"})
HOLDING = "holding_bridge"
STATES = {"Up": "up", "Ringing": "ringing", "Ring": "dialing", "Down": "new", "Dialing": "dialing", "Busy": "busy"}


class Event(Protocol):
    """What is needed of a message: its name and its headers."""

    @property
    def event(self) -> str:
        """Name of the event."""

    def get(self, name: str, default: str = "") -> str:
        """Value of a header."""


@dataclass(slots=True)
class LiveChannel:
    """One channel that is up."""

    uniqueid: str
    linkedid: str
    name: str
    number: str
    caller_name: str
    exten: str
    state: str
    since: float  # epoch seconds
    bridge: str = ""
    queue: str = ""
    held: bool = False


@dataclass(frozen=True, slots=True)
class LiveCall:
    """One call in progress."""

    id: str
    caller: str
    name: str
    dialled: str
    state: str  # dialing | ringing | queued | up | held
    since: float
    channels: tuple[str, ...]


@dataclass(slots=True)
class LiveQueue:
    """One queue."""

    name: str
    waiting: set[str] = field(default_factory=set)  # uniqueids
    members: dict[str, dict[str, Any]] = field(default_factory=dict)  # interface -> name, paused, status


class LiveState:
    """Channels, queues and endpoints as they are now."""

    def __init__(self) -> None:
        self.channels: dict[str, LiveChannel] = {}
        self.queues: dict[str, LiveQueue] = {}
        self.endpoints: dict[str, str] = {}  # name -> reachable | unreachable | unknown

    def handlers(self, now: Callable[[], float]) -> dict[str, Callable[[Event], None]]:
        """For each event its handler, with the clock that the caller has."""

        def bound(rule: Rule) -> Callable[[Event], None]:
            return lambda event: rule(self, event, now())

        return {name: bound(rule) for name, rule in RULES.items()}

    def apply(self, event: Event, now: float) -> None:
        """Take one event; ones that mean nothing here are ignored."""
        rule = RULES.get(event.event)
        if rule is not None:
            rule(self, event, now)

    def clear(self) -> None:
        """Nothing is known any more: the link to Asterisk is down."""
        self.channels.clear()
        self.queues.clear()
        self.endpoints.clear()

    def replace(
        self,
        channels: Iterable[Event],
        bridges: Mapping[str, Sequence[str]],
        queues: Iterable[Event],
        endpoints: Iterable[Event],
        now: float,
    ) -> None:
        """Take over what Asterisk told when it was asked. Events that come later find it as they expect."""
        self.clear()
        for row in channels:
            _new_channel(self, row, now - _duration(row.get("Duration")))
        for bridge, members in bridges.items():
            for uniqueid in members:
                if uniqueid in self.channels:
                    self.channels[uniqueid].bridge = bridge
        for row in queues:
            self.apply(row, now)
        for row in endpoints:
            self.endpoints[row.get("ObjectName")] = _reachability(row.get("DeviceState"))

    def queue(self, name: str) -> LiveQueue:
        """The queue `name`, known from now on."""
        return self.queues.setdefault(name, LiveQueue(name))

    def calls(self) -> list[LiveCall]:
        """The calls in progress, oldest first: channels that share a linkedid, a bridge or a Local pair."""
        top: dict[str, str] = {}

        def find(key: str) -> str:
            while top.setdefault(key, key) != key:
                key = top[key]
            return key

        for channel in self.channels.values():
            own = find(channel.uniqueid)
            pair = channel.name.rpartition(";")[0] if channel.name.startswith("Local/") else ""
            for key in (f"linkedid {channel.linkedid}", f"bridge {channel.bridge}" if channel.bridge else "", pair):
                if key:
                    top[find(key)] = own
        groups: dict[str, list[LiveChannel]] = {}
        for channel in self.channels.values():
            groups.setdefault(find(channel.uniqueid), []).append(channel)
        calls = [_call(channels) for channels in groups.values()]
        return sorted(calls, key=lambda call: id_order(call.id))


def _call(channels: list[LiveChannel]) -> LiveCall:
    channels.sort(key=lambda channel: id_order(channel.uniqueid))
    first = channels[0]
    if any(channel.queue for channel in channels):
        state = "queued"
    elif any(channel.held for channel in channels):
        state = "held"
    elif any(channel.bridge for channel in channels) or (len(channels) == 1 and first.state == "up"):
        state = "up"
    else:
        state = "ringing" if any(channel.state == "ringing" for channel in channels) else "dialing"
    names = tuple(channel.name for channel in channels)
    since = min(channel.since for channel in channels)
    return LiveCall(first.uniqueid, first.number, first.caller_name, first.exten, state, since, names)


def _duration(text: str) -> float:
    """`01:02:03` as seconds."""
    parts = text.split(":")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        return 0.0
    return float(int(parts[0]) * 3600 + int(parts[1]) * 60 + int(parts[2]))


def _new_channel(live: LiveState, event: Event, now: float) -> None:
    uniqueid = event.get("Uniqueid")
    if uniqueid and uniqueid not in live.channels and event.get("Context") != HOOK:
        live.channels[uniqueid] = LiveChannel(
            uniqueid,
            event.get("Linkedid"),
            event.get("Channel"),
            event.get("CallerIDNum"),
            event.get("CallerIDName"),
            event.get("Exten"),
            STATES.get(event.get("ChannelStateDesc"), "new"),
            now,
        )


def _new_state(live: LiveState, event: Event, _now: float) -> None:
    channel = live.channels.get(event.get("Uniqueid"))
    if channel is not None:
        channel.state = STATES.get(event.get("ChannelStateDesc"), channel.state)
        channel.linkedid = event.get("Linkedid") or channel.linkedid
        channel.number = event.get("CallerIDNum")  # the dialplan may have looked up a better one since
        channel.caller_name = event.get("CallerIDName")


def _rename(live: LiveState, event: Event, _now: float) -> None:
    channel = live.channels.get(event.get("Uniqueid"))
    if channel is not None:
        channel.name = event.get("Newname")


def _hangup(live: LiveState, event: Event, _now: float) -> None:
    channel = live.channels.pop(event.get("Uniqueid"), None)
    if channel is not None:
        _wait_in(live, channel, "")


def _held(live: LiveState, event: Event, _now: float) -> None:
    channel = live.channels.get(event.get("Uniqueid"))
    if channel is not None:
        channel.held = event.event == "Hold"


def _bridge_enter(live: LiveState, event: Event, _now: float) -> None:
    channel = live.channels.get(event.get("Uniqueid"))
    if channel is not None:
        # In a holding bridge (a parking lot) callers wait side by side; they are not connected with one another.
        channel.bridge = "" if event.get("BridgeTechnology") == HOLDING else event.get("BridgeUniqueid")
        channel.linkedid = event.get("Linkedid") or channel.linkedid


def _bridge_leave(live: LiveState, event: Event, _now: float) -> None:
    channel = live.channels.get(event.get("Uniqueid"))
    if channel is not None:
        channel.bridge = ""


def _wait_in(live: LiveState, channel: LiveChannel, queue: str) -> None:
    """The caller waits in `queue` and in no other; in none if it is empty."""
    if channel.queue:
        live.queue(channel.queue).waiting.discard(channel.uniqueid)
    channel.queue = queue
    if queue:
        live.queue(queue).waiting.add(channel.uniqueid)


def _queue_join(live: LiveState, event: Event, _now: float) -> None:
    channel = live.channels.get(event.get("Uniqueid"))
    if channel is not None:
        _wait_in(live, channel, event.get("Queue"))


def _queue_leave(live: LiveState, event: Event, _now: float) -> None:
    channel = live.channels.get(event.get("Uniqueid"))
    if channel is not None and channel.queue == event.get("Queue"):
        _wait_in(live, channel, "")


def _queue_params(live: LiveState, event: Event, _now: float) -> None:
    live.queue(event.get("Queue"))


def _member(live: LiveState, event: Event, _now: float) -> None:
    interface = event.get("Interface") or event.get("Location")
    live.queue(event.get("Queue")).members[interface] = {
        "name": event.get("MemberName") or event.get("Name"),
        "paused": event.get("Paused") == "1",
        "status": event.get("Status"),
    }


def _member_gone(live: LiveState, event: Event, _now: float) -> None:
    live.queue(event.get("Queue")).members.pop(event.get("Interface"), None)


def _peer(live: LiveState, event: Event, _now: float) -> None:
    name = event.get("Peer").partition("/")[2]
    if name:
        live.endpoints[name] = _reachability(event.get("PeerStatus"))


def _reachability(word: str) -> str:
    word = word.lower()
    if word in ("", "unknown"):
        return "unknown"
    return "unreachable" if word in UNREACHABLE else "reachable"


Rule = Callable[[LiveState, Event, float], None]
RULES: dict[str, Rule] = {
    "Newchannel": _new_channel,
    "Newstate": _new_state,
    "Rename": _rename,
    "Hangup": _hangup,
    "Hold": _held,
    "Unhold": _held,
    "BridgeEnter": _bridge_enter,
    "BridgeLeave": _bridge_leave,
    "QueueCallerJoin": _queue_join,
    "QueueCallerLeave": _queue_leave,
    "QueueParams": _queue_params,
    "QueueEntry": _queue_join,
    "QueueMember": _member,
    "QueueMemberAdded": _member,
    "QueueMemberPause": _member,
    "QueueMemberStatus": _member,
    "QueueMemberRemoved": _member_gone,
    "PeerStatus": _peer,
}
