"""Stays in queues, from the runs of the Queue application."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pbxd.calls.channels import AppRun, Channel
from pbxd.calls.record import QueueVisit
from pbxd.calls.talk import Interval

SAME_MOMENT = 50_000  # µs between the end of an application and the hang-up, or the transfer, that ended it


def queue_visits(channels: Mapping[str, Channel], talked: Mapping[str, list[Interval]]) -> tuple[QueueVisit, ...]:
    """The stays of a call in queues, in the order of joining. `talked` names the channels that are parties."""
    visits = [
        _visit(channel, run, channels, talked)
        for channel in channels.values()
        for run in channel.apps
        if run.app == "queue"
    ]
    return tuple(_handed_on(sorted(visits, key=lambda visit: (visit.joined, visit.left))))


def _visit(
    channel: Channel, run: AppRun, channels: Mapping[str, Channel], talked: Mapping[str, list[Interval]]
) -> QueueVisit:
    left = run.end if run.end is not None else channel.end
    entered = [stay for stay in channel.stays if run.start <= stay.start <= left]
    first = min(entered, key=lambda stay: stay.start, default=None)
    queue = run.data.partition(",")[0]
    if first is None:
        outcome = "abandoned" if _left_by_hanging_up(channel, left) else "left"
        return QueueVisit(queue, run.start, None, left, "", outcome)
    others = [
        channels[stay.channel]
        for other in channels.values()
        for stay in other.stays
        if stay.bridge == first.bridge and stay.channel != channel.uniqueid
    ]
    others.sort(key=lambda other: other.uniqueid not in talked)
    return QueueVisit(queue, run.start, first.start, left, others[0].endpoint if others else "", "answered")


def _left_by_hanging_up(channel: Channel, left: int) -> bool:
    """Asterisk stamps the end of an application and the hang-up that caused it with the same time."""
    if channel.hangup_at is None:
        return True
    return str(channel.hangup.get("hangupsource", "")) == channel.channel and channel.hangup_at - left <= SAME_MOMENT


def _handed_on(visits: list[QueueVisit]) -> list[QueueVisit]:
    """A place in a queue that was handed to another by an attended transfer is one stay: it began with who joined."""
    kept: list[QueueVisit] = []
    for visit in visits:
        giver = next((other for other in kept if _gave(other, visit)), None)
        if giver is None:
            kept.append(visit)
        else:
            kept[kept.index(giver)] = replace(visit, joined=giver.joined)
    return kept


def _gave(giver: QueueVisit, taker: QueueVisit) -> bool:
    return giver.queue == taker.queue and giver.answer is None and abs(taker.joined - giver.left) <= SAME_MOMENT
