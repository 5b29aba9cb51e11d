"""From the lines of one call to its record. Each field is made in one place, by a function of its name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pbxd.calls.cel import CelEvent, id_order
from pbxd.calls.channels import AppRun, Channel, read_channels
from pbxd.calls.disposition import Facts, judge
from pbxd.calls.record import CallRecord, Leg, Moment, QueueVisit, Transfer
from pbxd.calls.site import Site
from pbxd.calls.talk import Interval, connected, length, minus, union

SAME_MOMENT = 50_000  # µs between the end of an application and the hang-up that ended it
CALLER_HUNG_UP = "caller"


def derive(events: Sequence[CelEvent], site: Site, *, cut: bool = False, known_as: Iterable[str] = ()) -> CallRecord:
    """The record of the call that consists of `events`, which are in order within each channel."""
    channels = read_channels(events)
    last = max(event.at for event in events)
    for channel in channels.values():
        channel.close(channel.end if channel.ended else last)
    parties = [channel for channel in channels.values() if not channel.local] or list(channels.values())
    caller = parties[0]
    talked = _talk(list(channels.values()), parties)
    visits = _queue_visits(channels, talked)
    legs = tuple(_leg(channel, caller, talked, site) for channel in parties)
    mailbox = _mailbox(caller, channels)
    hung_up_by = _hung_up_by(caller, parties)
    queue_outcome = visits[-1].outcome if visits else ""
    disposition, reason = judge(
        Facts(
            cut=cut,
            talked=caller.uniqueid in talked,
            mailbox=mailbox,
            queue_outcome=queue_outcome,
            dial_status=str(caller.hangup.get("dialstatus", "")),
            dialled_out=any(run.app == "dial" for run in caller.apps),
            answered=caller.answer is not None,
            cause=_cause(caller),
            by_caller=hung_up_by == CALLER_HUNG_UP,
        )
    )
    talk = union(interval for intervals in talked.values() for interval in intervals)
    queued = union((visit.joined, visit.answer or visit.left) for visit in visits)
    own_id = min(channels, key=id_order)
    return CallRecord(
        id=own_id,
        start=min(channel.first.at for channel in channels.values()),
        answer=caller.answer,
        end=max(channel.end for channel in channels.values()),
        direction=_direction(legs),
        disposition=disposition,
        reason=reason,
        cause=_cause(caller),
        hung_up_by=hung_up_by,
        caller_number=legs[0].number,
        caller_name=legs[0].name,
        caller_endpoint=caller.endpoint,
        dialled=caller.first.exten,
        answered_by=_answered_by(legs),
        account=caller.account,
        ring_time=length(minus(minus(_ringing(legs), talk), queued)),
        queue_time=sum(visit.wait for visit in visits),
        talk_time=length(talk),
        mailbox=mailbox,
        legs=legs,
        queues=visits,
        transfers=_transfers(events),
        timeline=_timeline(events, legs, visits),
        linkedids=tuple(sorted({event.linkedid for event in events}, key=id_order)),
        replaces=tuple(sorted(set(known_as) - {own_id})),
    )


def _talk(channels: Sequence[Channel], parties: Sequence[Channel]) -> dict[str, list[Interval]]:
    halves: dict[str, str] = {}
    pairs: dict[str, str] = {}
    for channel in channels:
        if channel.local:
            name = channel.channel.rpartition(";")[0]
            other = halves.setdefault(name, channel.uniqueid)
            if other != channel.uniqueid:
                pairs[other] = channel.uniqueid
                pairs[channel.uniqueid] = other
    stays = [stay for channel in channels for stay in channel.stays]
    return connected(stays, pairs, frozenset(party.uniqueid for party in parties))


def _leg(channel: Channel, caller: Channel, talked: dict[str, list[Interval]], site: Site) -> Leg:
    trunk = site.is_trunk(channel.endpoint)
    number = channel.number if trunk or channel is caller else site.number_of(channel.endpoint, channel.number)
    return Leg(
        uniqueid=channel.uniqueid,
        channel=channel.channel,
        endpoint=channel.endpoint,
        role="caller" if channel is caller else "called",
        number=number,
        name=channel.name,
        trunk=trunk,
        start=channel.first.at,
        answer=channel.answer,
        end=channel.end,
        talked=tuple(talked.get(channel.uniqueid, ())),
        cause=_cause(channel),
    )


def _cause(channel: Channel) -> int:
    cause = channel.hangup.get("hangupcause", 0)
    return cause if isinstance(cause, int) else 0


def _hung_up_by(caller: Channel, parties: Sequence[Channel]) -> str:
    """By the channel that Asterisk names as the source of the caller's hang-up; the dialplan and Asterisk itself are `system`."""
    source = caller.hangup.get("hangupsource", "")
    if source == caller.channel:
        return CALLER_HUNG_UP
    return "called" if any(source == party.channel for party in parties) else "system"


def _direction(legs: Sequence[Leg]) -> str:
    if legs[0].trunk:
        return "inbound"
    return "outbound" if any(leg.trunk for leg in legs[1:]) else "internal"


def _answered_by(legs: Sequence[Leg]) -> str:
    """The first party that was connected with the caller."""
    talkers = [leg for leg in legs[1:] if leg.talked]
    return min(talkers, key=lambda leg: leg.talked[0]).endpoint if talkers and legs[0].talked else ""


def _ringing(legs: Sequence[Leg]) -> list[Interval]:
    """When at least one called leg was ringing: from its start to its answer, or to its end if it never answered."""
    return union((leg.start, leg.answer or leg.end) for leg in legs if leg.role == "called")


def _runs(channel: Channel, app: str) -> list[AppRun]:
    return [run for run in channel.apps if run.app == app]


def _mailbox(caller: Channel, channels: dict[str, Channel]) -> str:
    """The mailbox that the caller came to, on its own channel or at the far end of a Local channel that dialled on."""
    for channel in (caller, *(other for other in channels.values() if other.local)):
        for run in _runs(channel, "voicemail"):
            return run.data.partition(",")[0].partition("&")[0]
    return ""


def _queue_visits(channels: dict[str, Channel], talked: dict[str, list[Interval]]) -> tuple[QueueVisit, ...]:
    visits = [
        _queue_visit(channel, run, channels, talked) for channel in channels.values() for run in _runs(channel, "queue")
    ]
    return tuple(sorted(visits, key=lambda visit: visit.joined))


def _queue_visit(
    channel: Channel, run: AppRun, channels: dict[str, Channel], talked: dict[str, list[Interval]]
) -> QueueVisit:
    left = run.end if run.end is not None else channel.end
    entered = [stay for stay in channel.stays if run.start <= stay.start <= left]
    first = min(entered, key=lambda stay: stay.start, default=None)
    agent = ""
    if first is not None:
        others = [stay for other in channels.values() for stay in other.stays if stay.bridge == first.bridge]
        agents = [channels[stay.channel] for stay in others if stay.channel != channel.uniqueid]
        agents.sort(key=lambda other: other.uniqueid not in talked)
        agent = agents[0].endpoint if agents else ""
    if first is not None:
        outcome = "answered"
    elif _left_by_hanging_up(channel, left):
        outcome = "abandoned"
    else:
        outcome = "left"
    answer = None if first is None else first.start
    return QueueVisit(run.data.partition(",")[0], run.start, answer, left, agent, outcome)


def _left_by_hanging_up(channel: Channel, left: int) -> bool:
    """Asterisk stamps the end of an application and the hang-up that caused it with the same time."""
    if channel.hangup_at is None:
        return True
    return str(channel.hangup.get("hangupsource", "")) == channel.channel and channel.hangup_at - left <= SAME_MOMENT


def _transfers(events: Sequence[CelEvent]) -> tuple[Transfer, ...]:
    transfers = []
    for event in events:
        details = event.details() if event.type in ("BLINDTRANSFER", "ATTENDEDTRANSFER") else {}
        if event.type == "BLINDTRANSFER":
            transfers.append(Transfer(event.at, "blind", event.uniqueid, str(details.get("extension", ""))))
        elif event.type == "ATTENDEDTRANSFER":
            to = (
                details.get("transfer_target_channel_uniqueid")
                or details.get("channel2_uniqueid")
                or details.get("app")
            )
            transfers.append(Transfer(event.at, "attended", event.uniqueid, str(to or "")))
    return tuple(sorted(transfers, key=lambda transfer: (transfer.at, id_order(transfer.by))))


TOLD = {  # lines that go into the timeline as they are, and the column that says more
    "PICKUP": "channel",
    "PARK_START": "channel",
    "PARK_END": "channel",
    "FORWARD": "channel",
    "USER_DEFINED": "user_type",
}


def _timeline(events: Sequence[CelEvent], legs: Sequence[Leg], visits: Sequence[QueueVisit]) -> tuple[Moment, ...]:
    moments = [Moment(legs[0].start, "start", legs[0].uniqueid, legs[0].endpoint)]
    for leg in legs:
        if leg.role == "called":
            moments.append(Moment(leg.start, "dial", leg.uniqueid, leg.endpoint))
        if leg.answer is not None:
            moments.append(Moment(leg.answer, "answer", leg.uniqueid, leg.endpoint))
        moments.append(Moment(leg.end, "hangup", leg.uniqueid, leg.endpoint))
    for visit in visits:
        moments.append(Moment(visit.joined, "queue_join", "", visit.queue))
        if visit.answer is not None:
            moments.append(Moment(visit.answer, "queue_answer", "", visit.agent))
        moments.append(
            Moment(
                visit.left,
                f"queue_{visit.outcome}" if visit.answer is None else "queue_done",
                "",
                visit.queue,
            )
        )
    moments.extend(Moment(move.at, f"{move.kind}_transfer", move.by, move.to) for move in _transfers(events))
    for event in events:
        if event.type in TOLD:
            moments.append(Moment(event.at, event.type.lower(), event.uniqueid, str(getattr(event, TOLD[event.type]))))
        elif event.type == "APP_START" and event.app.lower() == "voicemail":
            moments.append(Moment(event.at, "voicemail", event.uniqueid, event.app_data.partition(",")[0]))
    return tuple(sorted(moments, key=lambda moment: moment.at))
