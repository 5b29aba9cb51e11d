"""Between a CallRecord and its rows, both ways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pbxd.calls.record import CallRecord, Leg, Moment, QueueVisit, Transfer

CALL = [
    "call_id", "start", "answer", "end", "direction", "disposition", "reason", "cause", "hung_up_by", "caller_number",
    "caller_name", "caller_endpoint", "dialled", "answered_by", "account", "ring_time", "queue_time", "talk_time",
    "mailbox", "linkedids",
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
]
EVENT = ["at", "kind", "uniqueid", "detail"]
QUEUE = ["queue", "joined", "answer", "left", "agent", "outcome"]
TRANSFER = ["at", "kind", "by", "to"]

Rows = list[tuple[Any, ...]]


def call_row(key: int, box: int, record: CallRecord) -> tuple[Any, ...]:
    """The row of `calls`: its key and box, then the columns of CALL."""
    return (
        key, box, record.id, record.start, record.answer, record.end, record.direction, record.disposition, record.reason,
        record.cause, record.hung_up_by, record.caller_number, record.caller_name, record.caller_endpoint, record.dialled,
        record.answered_by, record.account, record.ring_time, record.queue_time, record.talk_time, record.mailbox,
        " ".join(record.linkedids),
    )  # fmt: skip


def leg_rows(key: int, record: CallRecord) -> Rows:
    """Rows of `call_legs`: call, position, then the columns of LEG."""
    return [
        (
            key, position, leg.uniqueid, leg.channel, leg.endpoint, leg.role, leg.number, leg.name, leg.trunk, leg.start,
            leg.answer, leg.end, " ".join(f"{start}-{end}" for start, end in leg.talked), leg.cause,
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
    own = {name: call[name] for name in CALL if name not in ("call_id", "linkedids")}
    return CallRecord(
        id=call["call_id"],
        linkedids=tuple(call["linkedids"].split()),
        legs=tuple(
            Leg(
                **{name: leg[name] for name in LEG if name not in ("talked", "trunk")},
                trunk=bool(leg["trunk"]),
                talked=tuple(_interval(part) for part in leg["talked"].split()),
            )
            for leg in legs
        ),
        timeline=tuple(Moment(**{name: event[name] for name in EVENT}) for event in events),
        queues=tuple(QueueVisit(**{name: visit[name] for name in QUEUE}) for visit in queues),
        transfers=tuple(Transfer(**{name: transfer[name] for name in TRANSFER}) for transfer in transfers),
        **own,
    )


def _interval(text: str) -> tuple[int, int]:
    start, _, end = text.partition("-")
    return int(start), int(end)
