"""Between a CallRecord and its rows, both ways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pbxd.calls.record import CallRecord, Leg, Moment, Quality, QueueVisit, Transfer

CALL = [
    "call_id", "start", "answer", "end", "direction", "disposition", "reason", "cause", "hung_up_by", "caller_number",
    "caller_name", "caller_endpoint", "dialled", "answered_by", "account", "ring_time", "queue_time", "talk_time",
    "hold_time", "park_time", "mailbox", "customer", "tags", "linkedids",
]  # fmt: skip
LEG = [
    "uniqueid",
    "channel",
    "endpoint",
    "role",
    "number",
    "name",
    "trunk",
    "start",
    "answer",
    "end",
    "talked",
    "cause",
    "held",
    "sent_loss",
    "sent_jitter",
    "sent_mos",
    "received_loss",
    "received_jitter",
    "received_mos",
    "rtt",
]
PLAIN_LEG = [
    *LEG[: LEG.index("trunk")],
    "start",
    "answer",
    "end",
    "cause",
    "rtt",
]  # columns that are fields as they stand
EVENT = ["at", "kind", "uniqueid", "detail"]
QUEUE = ["queue", "joined", "answer", "left", "agent", "outcome"]
TRANSFER = ["at", "kind", "by", "to"]

Rows = list[tuple[Any, ...]]


def call_row(key: int, box: int, record: CallRecord) -> tuple[Any, ...]:
    """The row of `calls`: its key and box, then the columns of CALL."""
    return (
        key, box, record.id, record.start, record.answer, record.end, record.direction, record.disposition, record.reason,
        record.cause, record.hung_up_by, record.caller_number, record.caller_name, record.caller_endpoint, record.dialled,
        record.answered_by, record.account, record.ring_time, record.queue_time, record.talk_time, record.hold_time,
        record.park_time, record.mailbox, record.customer, "\n".join(record.tags), " ".join(record.linkedids),
    )  # fmt: skip


def leg_rows(key: int, record: CallRecord) -> Rows:
    """Rows of `call_legs`: call, position, then the columns of LEG."""
    return [
        (
            key, position, leg.uniqueid, leg.channel, leg.endpoint, leg.role, leg.number, leg.name, leg.trunk, leg.start,
            leg.answer, leg.end, _intervals(leg.talked), leg.cause, _intervals(leg.held), *_quality(leg.sent),
            *_quality(leg.received), leg.rtt,
        )
        for position, leg in enumerate(record.legs)
    ]  # fmt: skip


def event_rows(key: int, record: CallRecord) -> Rows:
    """Rows of `call_events`: call, position, then the columns of EVENT."""
    return [
        (key, n, moment.at, moment.kind, moment.uniqueid, moment.detail) for n, moment in enumerate(record.timeline)
    ]


def queue_rows(key: int, record: CallRecord) -> Rows:
    """Rows of `call_queues`: call, position, then the columns of QUEUE, then the caller's number."""
    return [
        (key, n, visit.queue, visit.joined, visit.answer, visit.left, visit.agent, visit.outcome, record.caller_number)
        for n, visit in enumerate(record.queues)
    ]


def transfer_rows(key: int, record: CallRecord) -> Rows:
    """Rows of `call_transfers`: call, position, then the columns of TRANSFER."""
    return [
        (key, n, transfer.at, transfer.kind, transfer.by, transfer.to) for n, transfer in enumerate(record.transfers)
    ]


def record_of(
    call: Mapping[str, Any],
    legs: Iterable[Mapping[str, Any]],
    events: Iterable[Mapping[str, Any]],
    queues: Iterable[Mapping[str, Any]],
    transfers: Iterable[Mapping[str, Any]],
) -> CallRecord:
    """The record again, from its rows (each ordered by position)."""
    own = {name: call[name] for name in CALL if name not in ("call_id", "tags", "linkedids")}
    return CallRecord(
        id=call["call_id"],
        linkedids=tuple(call["linkedids"].split()),
        tags=tuple(call["tags"].splitlines()),
        legs=tuple(_leg(leg) for leg in legs),
        timeline=tuple(Moment(**{name: event[name] for name in EVENT}) for event in events),
        queues=tuple(QueueVisit(**{name: visit[name] for name in QUEUE}) for visit in queues),
        transfers=tuple(Transfer(**{name: transfer[name] for name in TRANSFER}) for transfer in transfers),
        **own,
    )


def _leg(leg: Mapping[str, Any]) -> Leg:
    return Leg(
        **{name: leg[name] for name in PLAIN_LEG},
        trunk=bool(leg["trunk"]),
        talked=_read_intervals(leg["talked"]),
        held=_read_intervals(leg["held"]),
        sent=_read_quality(leg, "sent"),
        received=_read_quality(leg, "received"),
    )


def _intervals(intervals: Iterable[tuple[int, int]]) -> str:
    return " ".join(f"{start}-{end}" for start, end in intervals)


def _read_intervals(text: str) -> tuple[tuple[int, int], ...]:
    pairs = (part.partition("-") for part in text.split())
    return tuple((int(start), int(end)) for start, _, end in pairs)


def _quality(quality: Quality | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if quality is None else (quality.loss, quality.jitter, quality.mos)


def _read_quality(leg: Mapping[str, Any], way: str) -> Quality | None:
    loss = leg[f"{way}_loss"]
    return None if loss is None else Quality(loss, leg[f"{way}_jitter"], leg[f"{way}_mos"])
