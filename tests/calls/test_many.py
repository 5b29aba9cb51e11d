"""Thousands of calls open at once, in the pure core."""

from __future__ import annotations

from pathlib import Path

from pbxd.calls.cel import CelEvent, parse_line
from pbxd.calls.interpreter import Interpreter
from pbxd.calls.record import CallRecord
from pbxd.calls.site import Site

CALLS = 5000
JOURNALS = Path(__file__).parent / "journals"
SITE = Site(["PJSIP/trunk-*"], ["1XX"])


def numbered(events: list[CelEvent], call: int) -> list[CelEvent]:
    """The same call, with ids, bridges and times of its own."""
    epoch = 1_795_600_000
    shift = (epoch + call // 100 - int(events[0].uniqueid.partition(".")[0])) * 1_000_000
    names = {
        name: f"{epoch + call // 100}.{call * 10 + n}"
        for n, name in enumerate(dict.fromkeys(e.uniqueid for e in events))
    }

    def moved(event: CelEvent) -> CelEvent:
        extra = event.extra
        for old, new in names.items():
            extra = extra.replace(f'"{old}"', f'"{new}"')
        return event._replace(
            at=event.at + shift,
            uniqueid=names[event.uniqueid],
            linkedid=names[event.linkedid],
            channel=f"{event.channel}{call}",
            extra=extra.replace('"bridge_id":"', f'"bridge_id":"{call}-'),
        )

    return [moved(event) for event in events]


def test_each_becomes_its_record() -> None:
    """All begin before the first ends; half-way everything is saved and restored."""
    source = [parse_line(line) for line in (JOURNALS / "blind-of-blind.csv").read_bytes().splitlines()]
    half = len(source) // 2
    calls = [numbered(source, call) for call in range(CALLS)]
    interpreter = Interpreter(SITE)
    made: list[CallRecord] = []
    for place in range(half):
        for events in calls:
            made += interpreter.take(events[place])
    assert made == []
    assert interpreter.open_calls == CALLS
    interpreter = Interpreter.restore(SITE, interpreter.save())
    for place in range(half, len(source)):
        for events in calls:
            made += interpreter.take(events[place])
    made += interpreter.finish()
    last = {record.id: record for record in made}
    assert len(last) == CALLS
    assert {(r.disposition, r.answered_by, len(r.legs), len(r.transfers), r.talk_time) for r in last.values()} == {
        (r.disposition, r.answered_by, len(r.legs), len(r.transfers), r.talk_time) for r in [made[0]]
    }
    assert made[0].answered_by.endswith("126")
