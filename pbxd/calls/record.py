"""The record of one call. docs/call-record.md defines each field for those who read it as JSON or CSV.

Times are UTC microseconds since the epoch, lengths are microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Quality:
    """How a leg sounded in one direction, over the whole leg."""

    loss: float  # fraction of packets
    jitter: float  # ms
    mos: float | None  # 1 to 4.5, by the E-model; None for a codec that it has no values for


@dataclass(frozen=True, slots=True)
class Leg:
    """One party's channel in the call. Local channels are plumbing, not legs."""

    uniqueid: str
    channel: str
    endpoint: str  # "PJSIP/101"
    role: str  # caller | called
    number: str
    name: str
    trunk: bool
    start: int
    answer: int | None
    end: int
    talked: tuple[tuple[int, int], ...]  # from when to when it was connected with another party
    cause: int  # Q.850, 0 if Asterisk gave none
    held: tuple[tuple[int, int], ...] = ()  # from when to when it was on hold
    sent: Quality | None = None  # what the party heard, as its own reports say; None if it sent none
    received: Quality | None = None  # what Asterisk heard of the party
    rtt: float | None = None  # ms, there and back between Asterisk and the party


@dataclass(frozen=True, slots=True)
class QueueVisit:
    """One stay in a queue."""

    queue: str
    joined: int
    answer: int | None
    left: int
    agent: str  # the endpoint that answered, or ""
    outcome: str  # answered | abandoned | left (timeout, key, full, empty)

    @property
    def wait(self) -> int:
        """From joining to the agent, or to the end of waiting."""
        return (self.answer or self.left) - self.joined


@dataclass(frozen=True, slots=True)
class Transfer:
    """One transfer: who made it, and where it went."""

    at: int
    kind: str  # blind | attended
    by: str  # uniqueid of the leg that transferred
    to: str  # number that it went to


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline."""

    at: int
    kind: str
    uniqueid: str
    detail: str


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call, from its first channel to its last."""

    id: str  # uniqueid of its first channel
    start: int
    answer: int | None  # when the caller was first answered: by a person, a queue or an application
    end: int
    direction: str  # internal | inbound | outbound
    disposition: str  # answered | no_answer | busy | failed | voicemail | abandoned | cut
    reason: str  # finer than the disposition
    cause: int
    hung_up_by: str  # caller | called | system
    caller_number: str
    caller_name: str
    caller_endpoint: str
    dialled: str
    answered_by: str  # endpoint of the first party that the caller talked with
    account: str
    ring_time: int
    queue_time: int
    talk_time: int
    hold_time: int
    park_time: int
    mailbox: str
    customer: str  # as the dialplan told: PBXD_CUSTOMER
    tags: tuple[str, ...]  # as the dialplan told: PBXD_TAG
    legs: tuple[Leg, ...]
    queues: tuple[QueueVisit, ...]
    transfers: tuple[Transfer, ...]
    timeline: tuple[Moment, ...]
    linkedids: tuple[str, ...]
    whole: bool = field(default=True, compare=False)  # the lines had the beginning and the end of each of its channels
    replaces: tuple[str, ...] = ()  # ids of records, given out before, that turned out to be part of this call

    @property
    def duration(self) -> int:
        """From the first channel to the last."""
        return self.end - self.start

    @property
    def billed(self) -> int:
        """From the answer to the end, as a CDR's billsec; 0 if never answered."""
        return 0 if self.answer is None else self.end - self.answer


def iso(at: int | None) -> str | None:
    """`2026-11-24T10:28:19.827847Z`: UTC, always six decimals."""
    if at is None:
        return None
    moment = datetime.fromtimestamp(at // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at % 1_000_000:06d}Z"


def seconds(length: int) -> float:
    """Microseconds as seconds."""
    return length / 1_000_000


def as_json(record: CallRecord) -> dict[str, Any]:
    """The record as docs/call-record.md defines it: times in ISO 8601 UTC, lengths in seconds."""
    return {
        "id": record.id,
        "start": iso(record.start),
        "answer": iso(record.answer),
        "end": iso(record.end),
        "direction": record.direction,
        "disposition": record.disposition,
        "reason": record.reason,
        "cause": record.cause,
        "hung_up_by": record.hung_up_by,
        "caller_number": record.caller_number,
        "caller_name": record.caller_name,
        "caller_endpoint": record.caller_endpoint,
        "dialled": record.dialled,
        "answered_by": record.answered_by,
        "account": record.account,
        "duration": seconds(record.duration),
        "billed": seconds(record.billed),
        "ring_time": seconds(record.ring_time),
        "queue_time": seconds(record.queue_time),
        "talk_time": seconds(record.talk_time),
        "hold_time": seconds(record.hold_time),
        "park_time": seconds(record.park_time),
        "mailbox": record.mailbox,
        "customer": record.customer,
        "tags": list(record.tags),
        "linkedids": list(record.linkedids),
        "legs": [_leg(leg) for leg in record.legs],
        "queues": [_visit(visit) for visit in record.queues],
        "transfers": [{"at": iso(t.at), "kind": t.kind, "by": t.by, "to": t.to} for t in record.transfers],
        "timeline": [
            {"at": iso(m.at), "kind": m.kind, "uniqueid": m.uniqueid, "detail": m.detail} for m in record.timeline
        ],
    }


def _leg(leg: Leg) -> dict[str, Any]:
    return {
        "uniqueid": leg.uniqueid,
        "channel": leg.channel,
        "endpoint": leg.endpoint,
        "role": leg.role,
        "number": leg.number,
        "name": leg.name,
        "trunk": leg.trunk,
        "start": iso(leg.start),
        "answer": iso(leg.answer),
        "end": iso(leg.end),
        "talked": [[iso(start), iso(end)] for start, end in leg.talked],
        "talk_time": seconds(sum(end - start for start, end in leg.talked)),
        "held": [[iso(start), iso(end)] for start, end in leg.held],
        "sent": _quality(leg.sent),
        "received": _quality(leg.received),
        "rtt": leg.rtt,
        "cause": leg.cause,
    }


def _quality(quality: Quality | None) -> dict[str, float | None] | None:
    return None if quality is None else {"loss": quality.loss, "jitter": quality.jitter, "mos": quality.mos}


def _visit(visit: QueueVisit) -> dict[str, Any]:
    return {
        "queue": visit.queue,
        "joined": iso(visit.joined),
        "answer": iso(visit.answer),
        "left": iso(visit.left),
        "wait": seconds(visit.wait),
        "agent": visit.agent,
        "outcome": visit.outcome,
    }
