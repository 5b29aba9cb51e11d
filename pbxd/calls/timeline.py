"""The timeline of a call: every moment that a reader would want to see, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pbxd.calls.annotations import text
from pbxd.calls.cel import CelEvent
from pbxd.calls.record import Leg, Moment, QueueVisit, Transfer

TOLD = {  # lines that go into the timeline as they are, and the column that says more
    "PICKUP": "channel",
    "PARK_START": "channel",
    "PARK_END": "channel",
    "FORWARD": "channel",
}


def timeline(
    events: Sequence[CelEvent],
    legs: Sequence[Leg],
    visits: Sequence[QueueVisit],
    moves: Sequence[Transfer],
    set_back: int,
) -> tuple[Moment, ...]:
    """All moments of a call, in order of time. `set_back` is by how many µs the clock was set back during it."""
    moments = [Moment(legs[0].start, "start", legs[0].uniqueid, legs[0].endpoint)]
    for leg in legs:
        moments.extend(_of_leg(leg, first=leg is legs[0]))
    for visit in visits:
        moments.extend(_of_visit(visit))
    moments.extend(Moment(move.at, f"{move.kind}_transfer", move.by, move.to) for move in moves)
    for event in events:
        moments.extend(_of_event(event))
    if set_back:
        moments.append(Moment(max(leg.end for leg in legs), "clock_set_back", "", f"{set_back / 1_000_000:.6f} s"))
    return tuple(sorted(moments, key=lambda moment: moment.at))


def _of_leg(leg: Leg, *, first: bool) -> Iterator[Moment]:
    if not first:
        yield Moment(leg.start, "dial" if leg.role == "called" else "call", leg.uniqueid, leg.endpoint)
    if leg.answer is not None:
        yield Moment(leg.answer, "answer", leg.uniqueid, leg.endpoint)
    for start, end in leg.held:
        yield Moment(start, "hold", leg.uniqueid, leg.endpoint)
        yield Moment(end, "unhold", leg.uniqueid, leg.endpoint)
    yield Moment(leg.end, "hangup", leg.uniqueid, leg.endpoint)


def _of_visit(visit: QueueVisit) -> Iterator[Moment]:
    yield Moment(visit.joined, "queue_join", "", visit.queue)
    if visit.answer is None:
        yield Moment(visit.left, f"queue_{visit.outcome}", "", visit.queue)
    else:
        yield Moment(visit.answer, "queue_answer", "", visit.agent)
        yield Moment(visit.left, "queue_done", "", visit.queue)


def _of_event(event: CelEvent) -> Iterator[Moment]:
    if event.type in TOLD:
        yield Moment(event.at, event.type.lower(), event.uniqueid, str(getattr(event, TOLD[event.type])))
    elif event.type == "APP_START" and event.app.lower() == "voicemail":
        yield Moment(event.at, "voicemail", event.uniqueid, event.app_data.partition(",")[0])
    elif event.user_type == event.type:  # CELGenUserEvent writes its name in both columns
        yield Moment(event.at, "user_event", event.uniqueid, f"{event.type} {text(event)}".rstrip())
