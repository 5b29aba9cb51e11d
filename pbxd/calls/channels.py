"""What a call's lines say of each of its channels: facts only, no judgement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pbxd.calls.cel import CelEvent, birth_order
from pbxd.calls.record import Quality
from pbxd.calls.talk import Stay
from pbxd.calls.voice import QUALITY, read_quality

OUTGOING = "(Outgoing Line)"  # what Asterisk writes as the application's data of a channel that it dialled


WHILE_IT_RUNS = frozenset({"BRIDGE_ENTER", "STREAM_BEGIN", "APP_END"})  # lines that name the application that runs then


@dataclass(slots=True)
class AppRun:
    """One run of a dialplan application that CEL tracks (Dial, Queue, VoiceMail …)."""

    app: str  # lower case
    data: str
    start: int
    end: int | None = None  # None while it runs


@dataclass(slots=True)
class Channel:
    """One channel, from its own lines."""

    first: CelEvent
    end: int
    answer: int | None = None
    ended: bool = False
    hangup: Mapping[str, Any] = field(default_factory=dict)  # hangupcause, hangupsource, dialstatus
    hangup_at: int | None = None
    number: str = ""
    name: str = ""
    account: str = ""
    stays: list[Stay] = field(default_factory=list)
    apps: list[AppRun] = field(default_factory=list)
    music: list[tuple[int, int]] = field(default_factory=list)  # music on hold was played to it, from when to when
    music_since: int | None = None
    parked: list[tuple[int, int]] = field(default_factory=list)  # in a parking lot, from when to when
    parked_since: int | None = None
    before: int = 0  # time of the line before this one
    outgoing: bool = False  # Asterisk dialled it: a phone or trunk that was called, by a call or by a program
    ran_at: str = ""  # extension at which it first ran an application
    in_bridge: dict[str, int] = field(default_factory=dict)  # bridge -> since when
    peers: set[str] = field(default_factory=set)  # names of channels that were in its bridges with it
    sent: Quality | None = None
    received: Quality | None = None
    rtt: float | None = None  # ms
    unentered: list[tuple[str, int]] = field(default_factory=list)  # bridges that it left without having entered
    unleft: list[Stay] = field(default_factory=list)  # stays that no line ended

    @property
    def uniqueid(self) -> str:
        """Asterisk's id of the channel."""
        return self.first.uniqueid

    @property
    def channel(self) -> str:
        """`PJSIP/101-00000000`."""
        return self.first.channel

    @property
    def endpoint(self) -> str:
        """`PJSIP/101`: the channel's name without its serial number."""
        return self.first.channel.rpartition("-")[0] or self.first.channel

    @property
    def dialled(self) -> str:
        """What was dialled on it; a channel that Asterisk dialled itself has dialled nothing."""
        return "" if self.outgoing else self.first.exten

    @property
    def local(self) -> bool:
        """Whether it is half of a Local channel: plumbing, not a party."""
        return self.first.channel.startswith("Local/")

    def take(self, event: CelEvent) -> None:
        """Add one of its lines, in the order in which Asterisk wrote them."""
        self.before = self.end
        self.end = max(self.end, event.at)
        if event.cid_num and not self.number:
            self.number = event.cid_num
        if event.cid_name and not self.name:
            self.name = event.cid_name
        if event.account:
            self.account = event.account
        if event.app_data == OUTGOING:
            self.outgoing = True
        if event.app == "Queue" and event.type in WHILE_IT_RUNS:
            self._is_in_queue(event)
        rule = _RULES.get(event.type)
        if rule is not None:
            rule(self, event)

    def _is_in_queue(self, event: CelEvent) -> None:
        """Notice a queue that was entered without a word.

        After a transfer Asterisk 22 reports neither the end of the application before nor the start of the one after it; the
        next line that is written tells which it is.
        """
        run = next((run for run in reversed(self.apps) if run.app == "queue" and run.end is None), None)
        if run is not None and run.data == event.app_data:
            return
        if run is not None:
            run.end = self.before
        self.apps.append(AppRun("queue", event.app_data, self.before))

    def close(self, at: int) -> None:
        """Its lines are over: what is still open ends at `at`."""
        for bridge, since in self.in_bridge.items():
            self.unleft.append(Stay(self.uniqueid, bridge, since, at))
        self.stays.extend(self.unleft)
        self.in_bridge.clear()
        self.stop_music(at)
        self.leave_lot(at)

    def stop_music(self, at: int) -> None:
        """No music on hold any more."""
        if self.music_since is not None:
            self.music.append((self.music_since, at))
            self.music_since = None

    def leave_lot(self, at: int) -> None:
        """Not parked any more."""
        if self.parked_since is not None:
            self.parked.append((self.parked_since, at))
            self.parked_since = None


def _answer(channel: Channel, event: CelEvent) -> None:
    if channel.answer is None:
        channel.answer = event.at


def _enter(channel: Channel, event: CelEvent) -> None:
    if event.peer:
        channel.peers.update(event.peer.split(","))
    channel.in_bridge[str(event.details().get("bridge_id", ""))] = event.at


def _exit(channel: Channel, event: CelEvent) -> None:
    bridge = str(event.details().get("bridge_id", ""))
    since = channel.in_bridge.pop(bridge, None)
    if since is None:
        channel.unentered.append((bridge, event.at))
    else:
        channel.stays.append(Stay(channel.uniqueid, bridge, since, event.at))


def _app_start(channel: Channel, event: CelEvent) -> None:
    channel.ran_at = channel.ran_at or event.exten
    channel.apps.append(AppRun(event.app.lower(), event.app_data, event.at))


def _app_end(channel: Channel, event: CelEvent) -> None:
    for run in reversed(channel.apps):
        if run.app == event.app.lower() and run.end is None:
            run.end = event.at
            return
    channel.apps.append(AppRun(event.app.lower(), event.app_data, channel.before, event.at))  # see _is_in_queue


def _hangup(channel: Channel, event: CelEvent) -> None:
    channel.hangup = event.details()
    channel.hangup_at = event.at


def _end(channel: Channel, event: CelEvent) -> None:
    channel.ended = True
    channel.end = event.at


def _stream_begin(channel: Channel, event: CelEvent) -> None:
    if event.user_type == "MOH_STREAM_BEGIN" and channel.music_since is None:
        channel.music_since = event.at


def _stream_end(channel: Channel, event: CelEvent) -> None:
    if event.user_type == "MOH_STREAM_END":
        channel.stop_music(event.at)


def _park_start(channel: Channel, event: CelEvent) -> None:
    channel.parked_since = event.at


def _park_end(channel: Channel, event: CelEvent) -> None:
    channel.leave_lot(event.at)


_RULES = {
    "ANSWER": _answer,
    "BRIDGE_ENTER": _enter,
    "BRIDGE_EXIT": _exit,
    "APP_START": _app_start,
    "APP_END": _app_end,
    "STREAM_BEGIN": _stream_begin,
    "STREAM_END": _stream_end,
    "PARK_START": _park_start,
    "PARK_END": _park_end,
    "HANGUP": _hangup,
    "CHAN_END": _end,
}


def hand_over(channels: Iterable[Channel]) -> None:
    """Give the place of a channel in a bridge to the one that was put there instead of it.

    A transfer to an application swaps two channels under their names: the one has entered the bridge, the other leaves it, and no
    line tells of the moment between. It is the end of the one that entered.
    """
    channels = list(channels)
    for taker in channels:
        for bridge, left in taker.unentered:
            since = [
                stay.end for giver in channels for stay in giver.unleft if stay.bridge == bridge and stay.end <= left
            ]
            if since:
                taker.stays.append(Stay(taker.uniqueid, bridge, max(since), left))


def read_channels(events: Iterable[CelEvent]) -> dict[str, Channel]:
    """Each channel of the call by its uniqueid, the oldest first. The order of lines matters only within a channel."""
    channels: dict[str, Channel] = {}
    quality: list[CelEvent] = []
    for event in events:
        if event.type == "LINKEDID_END":
            continue  # of the call, not of the channel that happened to be its last
        if event.type == QUALITY:
            quality.append(event)  # from another journal, which may be read before this one
            continue
        channel = channels.get(event.uniqueid)
        if channel is None:
            channel = channels[event.uniqueid] = Channel(event, event.at)
        channel.take(event)
    for event in quality:
        if (channel := channels.get(event.uniqueid)) is not None:
            channel.sent, channel.received, channel.rtt = read_quality(event)
    return dict(sorted(channels.items(), key=lambda item: birth_order(item[0])))
