"""From the lines of one call to its record. Each field is made in one place, by a function of its name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pbxd.calls.annotations import annotate
from pbxd.calls.cel import CelEvent, id_order
from pbxd.calls.channels import AppRun, Channel, hand_over, read_channels
from pbxd.calls.clock import steady
from pbxd.calls.disposition import Facts, judge
from pbxd.calls.queues import queue_visits
from pbxd.calls.record import CallRecord, Leg
from pbxd.calls.site import Site
from pbxd.calls.talk import Interval, Stay, connected, held, length, minus, union, without_held
from pbxd.calls.timeline import timeline
from pbxd.calls.transfers import transfers

UNTOLD = ("CBAnn/", "CBRec/", "Announcer/", "Recorder/")  # Asterisk's own ends in a bridge: CEL has no lines of them
CALLER_HUNG_UP = "caller"


def derive(events: Sequence[CelEvent], site: Site, *, cut: bool = False, known_as: Iterable[str] = ()) -> CallRecord:
    """The record of the call that consists of `events`, which are in order within each channel."""
    events, set_back = steady(events)
    linkedids = {event.linkedid for event in events}
    channels = read_channels(events)
    last = max(channel.end for channel in channels.values())
    for channel in channels.values():
        channel.close(channel.end if channel.ended else last)
    hand_over(channels.values())
    parties = [channel for channel in channels.values() if not channel.local] or list(channels.values())
    caller = parties[0]
    stays = [stay for channel in channels.values() for stay in channel.stays]
    music = {channel.uniqueid: channel.music for channel in channels.values() if channel.music}
    on_hold = held(stays, music) if music else {}
    talked = _talk(list(channels.values()), parties, without_held(stays, on_hold) if on_hold else stays)
    visits = queue_visits(channels, talked)
    moves = transfers(events, channels, site)
    told = annotate(events)
    legs = tuple(_leg(channel, caller, talked, on_hold, site) for channel in parties)
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
            outgoing=caller.outgoing,
        )
    )
    talk = union(interval for intervals in talked.values() for interval in intervals)
    queued = union((visit.joined, visit.answer or visit.left) for visit in visits)
    own_id = next(iter(channels))
    return CallRecord(
        id=own_id,
        start=min(channel.first.at for channel in channels.values()),
        answer=caller.answer,
        end=max(channel.end for channel in channels.values()),
        direction=_direction(legs, caller),
        disposition=disposition,
        reason=reason,
        cause=_cause(caller),
        hung_up_by=hung_up_by,
        caller_number=legs[0].number,
        caller_name=legs[0].name,
        caller_endpoint=caller.endpoint,
        dialled=_dialled(caller, channels),
        answered_by=_answered_by(legs),
        account=told.account or caller.account,
        ring_time=length(minus(minus(_ringing(legs), talk), queued)),
        queue_time=length(minus(queued, talk)),
        talk_time=length(talk),
        hold_time=length(union(interval for intervals in on_hold.values() for interval in intervals)),
        park_time=length(union(interval for channel in channels.values() for interval in channel.parked)),
        mailbox=mailbox,
        customer=told.customer,
        tags=told.tags,
        legs=legs,
        queues=visits,
        transfers=moves,
        timeline=timeline(events, legs, visits, moves, set_back),
        linkedids=tuple(sorted(linkedids, key=id_order)),
        whole=not cut and linkedids <= channels.keys() and _whole(channels),
        replaces=tuple(sorted(set(known_as) - {own_id})),
    )


def _whole(channels: dict[str, Channel]) -> bool:
    """Whether the lines have the beginning of each channel, and each channel that others met in a bridge.

    (A linkedid is the uniqueid of a channel too, of one that called.)
    """
    if any(channel.first.type != "CHAN_START" for channel in channels.values()):
        return False
    names = {channel.channel for channel in channels.values()}
    met = {peer for channel in channels.values() for peer in channel.peers} - names
    return all(peer.startswith(UNTOLD) for peer in met)


def _talk(channels: Sequence[Channel], parties: Sequence[Channel], stays: Sequence[Stay]) -> dict[str, list[Interval]]:
    halves: dict[str, str] = {}
    pairs: dict[str, str] = {}
    for channel in channels:
        if channel.local:
            name = channel.channel.rpartition(";")[0]
            other = halves.setdefault(name, channel.uniqueid)
            if other != channel.uniqueid:
                pairs[other] = channel.uniqueid
                pairs[channel.uniqueid] = other
    return connected(stays, pairs, frozenset(party.uniqueid for party in parties))


def _leg(
    channel: Channel,
    caller: Channel,
    talked: dict[str, list[Interval]],
    on_hold: dict[str, list[Interval]],
    site: Site,
) -> Leg:
    trunk = site.is_trunk(channel.endpoint)
    number = channel.number if trunk or channel is caller else site.number_of(channel.endpoint, channel.number)
    return Leg(
        uniqueid=channel.uniqueid,
        channel=channel.channel,
        endpoint=channel.endpoint,
        role="caller" if channel is caller or not channel.outgoing else "called",
        number=number,
        name=channel.name,
        trunk=trunk,
        start=channel.first.at,
        answer=channel.answer,
        end=channel.end,
        talked=tuple(talked.get(channel.uniqueid, ())),
        cause=_cause(channel),
        held=tuple(on_hold.get(channel.uniqueid, ())),
        sent=channel.sent,
        received=channel.received,
        rtt=channel.rtt,
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


def _direction(legs: Sequence[Leg], caller: Channel) -> str:
    if legs[0].trunk and not caller.outgoing:
        return "inbound"
    return "outbound" if any(leg.trunk for leg in legs) else "internal"


def _dialled(caller: Channel, channels: dict[str, Channel]) -> str:
    """What the caller dialled. In a call that a program placed: where the program sent the end that was called first.

    A program's Local channel has that extension on its first half; the second half only calls the phone.
    """
    if not caller.outgoing:
        return caller.first.exten
    halves = [channel for channel in channels.values() if channel.channel.endswith(";1")]
    return next((channel.ran_at for channel in (caller, *halves) if channel.ran_at), "")


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
