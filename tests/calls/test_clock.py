"""Clocks that are set back, as tables of times; and the lines of real calls while the clock did what clocks do."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.wallclock import CLOCKED, Clocked
from pbxd.calls.cel import CelEvent, parse_line
from pbxd.calls.clock import steady
from pbxd.calls.interpreter import Interpreter, records
from pbxd.calls.record import as_json
from pbxd.calls.site import Site

CLOCKS = Path(__file__).parent / "clocks"
SITE = Site(["PJSIP/trunk-*"], ["1XX"])
HOUR = 3_600_000_000


def lines(*told: tuple[str, float]) -> list[CelEvent]:
    """Lines of channels by their number and second."""
    blank = CelEvent._make(["", 0, *[""] * 18])
    begun: set[str] = set()
    made = []
    for number, at in told:
        kind = "" if number in begun else "CHAN_START"
        begun.add(number)
        made.append(blank._replace(type=kind, uniqueid=f"1795555000.{number}", at=round(at * 1_000_000)))
    return made


def seconds(events: list[CelEvent]) -> list[float]:
    return [round(event.at / 1_000_000, 1) for event in steady(events)[0]]


@pytest.mark.parametrize(
    ("told", "steadied"),
    [
        ([("1", 10), ("2", 11), ("1", 12)], [10, 11, 12]),
        ([("1", 10), ("2", 9.9), ("1", 12)], [10, 9.9, 12]),  # threads differ: no step
        ([("1", 10), ("1", 5), ("1", 6)], [10, 10, 11]),
        ([("1", 10), ("2", 11), ("1", 5), ("2", 5.5), ("1", 6)], [10, 11, 10.5, 11, 11.5]),
        ([("1", 10), ("2", 4), ("2", 5)], [10, 10, 11]),  # made after the step
        ([("1", 10), ("1", 5), ("1", 3), ("1", 4)], [10, 10, 10, 11]),  # two steps
    ],
)
def test_times_do_not_run_back(told: list[tuple[str, float]], steadied: list[float]) -> None:
    assert seconds(lines(*told)) == steadied


@pytest.mark.parametrize("clocked", CLOCKED, ids=lambda clocked: clocked.name)
def test_lines_become_the_record(clocked: Clocked) -> None:
    interpreter = Interpreter(SITE)
    lines = (CLOCKS / f"{clocked.name}.csv").read_bytes().splitlines()
    record = [record for line in lines for record in interpreter.feed(line)][-1]
    assert interpreter.open_calls == 0
    assert clocked.faults(as_json(record)) == []


@pytest.mark.parametrize("name", ["answered", "queue", "attended-then-blind", "park-retrieved", "conference"])
@pytest.mark.parametrize("at", [3, 7, 11, 15, 25])
def test_a_step_anywhere_leaves_one_record_with_times_in_order(name: str, at: int) -> None:
    """The clock is set back by an hour behind line `at` of a real call."""
    text = (Path(__file__).parent / "journals" / f"{name}.csv").read_bytes().splitlines()
    moved = [parse_line(line) for line in text]
    moved = [event if n < at else event._replace(at=event.at - HOUR) for n, event in enumerate(moved)]
    (expected,) = records(text, SITE)
    interpreter = Interpreter(SITE)
    made = [record for event in moved for record in interpreter.take(event)] + interpreter.finish()
    record = made[-1]
    assert {r.id for r in made} - set(record.replaces) == {expected.id}
    assert (record.disposition, record.answered_by, len(record.legs)) == (
        expected.disposition,
        expected.answered_by,
        len(expected.legs),
    )
    assert record.start <= record.end <= expected.end + 1_000_000
    assert all(leg.start <= leg.end for leg in record.legs)
    assert as_json(record)["talk_time"] <= as_json(expected)["talk_time"] + 0.01
