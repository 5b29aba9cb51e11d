"""Tables of journal lines, captured from real calls, and the record that each must become."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab import scenarios
from lab.stages import ALL
from pbxd.calls.cel import CelEvent, parse_line
from pbxd.calls.interpreter import Interpreter, records
from pbxd.calls.record import CallRecord, as_json
from pbxd.calls.site import Site

JOURNALS = Path(__file__).parent / "journals"
SITE = Site(["PJSIP/trunk-*"], ["1XX"])
NAMES = sorted(path.stem for path in JOURNALS.glob("*.csv"))


def lines(name: str) -> list[bytes]:
    return (JOURNALS / f"{name}.csv").read_bytes().splitlines()


def read(name: str) -> list[CallRecord]:
    return list(records(lines(name), SITE))


STAGED = {scenario.name: scenario for scenario in ALL}


def faults(name: str, record: CallRecord) -> list[str]:
    if name in STAGED:
        return STAGED[name].faults(as_json(record))
    return scenarios.faults(name, as_json(record))


def test_every_scenario_of_the_lab_has_its_lines() -> None:
    assert set(NAMES) == set(scenarios.EXPECTED) | set(STAGED)


@pytest.mark.parametrize("name", NAMES)
def test_lines_become_the_record(name: str) -> None:
    (record,) = read(name)
    assert faults(name, record) == []


@pytest.mark.parametrize("path", sorted((JOURNALS.parent / "variants").glob("*.csv")), ids=lambda path: path.stem)
def test_what_asterisk_writes_now_and_then(path: Path) -> None:
    """The same scenarios as Asterisk tells them sometimes: a transfer after its effects, a target that is not named."""
    (record,) = records(path.read_bytes().splitlines(), SITE)
    assert faults(path.stem, record) == []


@pytest.mark.parametrize("name", NAMES)
def test_times_are_consistent(name: str) -> None:
    (record,) = read(name)
    assert record.start <= (record.answer or record.start) <= record.end
    assert record.ring_time + record.queue_time + record.talk_time <= record.duration
    assert 0 <= record.billed <= record.duration
    for leg in record.legs:
        assert record.start <= leg.start <= (leg.answer or leg.start) <= leg.end <= record.end
        assert all(leg.start <= start < end <= leg.end for start, end in leg.talked)
    assert [moment.at for moment in record.timeline] == sorted(moment.at for moment in record.timeline)


def shuffled_between_channels(events: list[CelEvent], seed: int) -> list[CelEvent]:
    """The same events, in order within each channel only; LINKEDID_END stays last, as its channel's last line."""
    queues: dict[str, list[CelEvent]] = {}
    for event in events:
        queues.setdefault(event.uniqueid, []).append(event)
    chance = random.Random(seed)
    mixed = []
    while queues:
        key = chance.choice(sorted(queues))
        mixed.append(queues[key].pop(0))
        if not queues[key]:
            del queues[key]
    return mixed


@given(name=st.sampled_from(NAMES), seed=st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_the_order_between_channels_does_not_matter(name: str, seed: int) -> None:
    (expected,) = read(name)
    interpreter = Interpreter(SITE)
    made: list[CallRecord] = []
    for event in shuffled_between_channels([parse_line(line) for line in lines(name)], seed):
        made += interpreter.take(event)
    made += interpreter.finish()
    last = made[-1]
    assert (last.id, last.legs, last.disposition, last.reason, last.talk_time, last.queues) == (
        expected.id,
        expected.legs,
        expected.disposition,
        expected.reason,
        expected.talk_time,
        expected.queues,
    )
    assert {record.id for record in made} - set(last.replaces) == {expected.id}


@given(name=st.sampled_from(NAMES), cut=st.integers(0, 50))
@settings(max_examples=150, deadline=None)
def test_any_prefix_is_read_without_an_error(name: str, cut: int) -> None:
    read = lines(name)[:cut]
    found = list(records(read, SITE))
    assert len(found) <= len({parse_line(line).uniqueid for line in read})


@given(order=st.permutations(NAMES))
@settings(max_examples=25, deadline=None)
def test_calls_that_overlap_are_kept_apart(order: list[str]) -> None:
    """Lines of several calls, interleaved: a record each. (The captured calls are minutes apart and share no channel.)"""
    interpreter = Interpreter(SITE)
    waiting = {name: lines(name) for name in order}
    made: list[CallRecord] = []
    while waiting:
        for name in [name for name in order if name in waiting]:
            made += interpreter.feed(waiting[name].pop(0))
            if not waiting[name]:
                del waiting[name]
    # A record that is given out again replaces itself: the last one counts.
    found = {record.id: record for record in made}
    for old in {old for record in made for old in record.replaces}:
        found.pop(old, None)
    wanted = {record.id: record for name in order for record in read(name)}
    assert {key: replace(record, replaces=()) for key, record in found.items()} == wanted


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("at", [1, 3, 7])
def test_saved_and_restored_in_the_middle(name: str, at: int) -> None:
    interpreter = Interpreter(SITE)
    made: list[CallRecord] = []
    for line in lines(name)[:at]:
        made += interpreter.feed(line)
    interpreter = Interpreter.restore(SITE, interpreter.save())
    for line in lines(name)[at:]:
        made += interpreter.feed(line)
    assert made == read(name)
