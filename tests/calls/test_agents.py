"""Agents' time from queue_log: tables of lines, and the time that they must become."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxd.asterisk.queue_log import parse_queue_line
from pbxd.calls.agents import QUARTER, AgentTime, AgentTracker
from tests.stats import synthetic

T = 1_795_000_500  # a quarter of an hour begins
SCENARIOS = {
    "logged in, a call, logged out": (
        ["0|NONE|support|Ann|ADDMEMBER|", "10|1.1|support|Ann|CONNECT|5|1.2|3", "70|1.1|support|Ann|COMPLETECALLER|5|60|1",
         "100|NONE|support|Ann|REMOVEMEMBER|"],
        ["Ann support ring 7 10", "Ann support talk 10 70", "Ann support wrapup 70 90", "Ann support login 0 100",
         "Ann - login 0 100"],
    ),
    "a wrap-up is cut short by the next call": (
        ["0|1.1|support|Ann|CONNECT|5|1.2|0", "10|1.1|support|Ann|COMPLETEAGENT|5|10|1", "15|1.3|support|Ann|CONNECT|5|1.4|0",
         "25|1.3|support|Ann|BLINDTRANSFER|102|default|5|10|1", "60|NONE|NONE|NONE|CONFIGRELOAD|"],
        ["Ann support talk 0 10", "Ann support wrapup 10 15", "Ann support talk 15 25", "Ann support wrapup 25 45"],
    ),
    "paused in one of two queues is not paused": (
        ["0|NONE|support|Ann|ADDMEMBER|", "0|NONE|sales|Ann|ADDMEMBER|", "10|NONE|support|Ann|PAUSE|lunch",
         "20|NONE|sales|Ann|PAUSE|lunch", "30|NONE|support|Ann|UNPAUSE|", "40|NONE|NONE|Ann|UNPAUSEALL|",
         "50|NONE|NONE|NONE|QUEUESTART|"],
        ["Ann support pause lunch 10 30", "Ann sales pause lunch 20 40", "Ann - pause lunch 20 30", "Ann support login 0 40",
         "Ann sales login 0 40", "Ann - login 0 40"],
    ),
    "cut at the quarter of an hour": (
        ["890|NONE|support|Ann|ADDMEMBER|", "910|NONE|support|Ann|REMOVEMEMBER|"],
        ["Ann support login 890 900", "Ann support login 900 910", "Ann - login 890 900", "Ann - login 900 910"],
    ),
    "Asterisk ended some time before it started again": (
        ["0|NONE|support|Ann|ADDMEMBER|", "100|NONE|support|Bob|RINGNOANSWER|15000", "2000|NONE|NONE|NONE|QUEUESTART|"],
        ["Ann support login 0 100", "Ann - login 0 100", "Bob support ring 85 100"],
    ),
    "static members have no login": (
        ["0|NONE|support|Ann|PAUSE|", "50|NONE|support|Ann|UNPAUSE|"],
        ["Ann support pause 0 50", "Ann - pause 0 50"],
    ),
}  # fmt: skip


def told(time: AgentTime) -> str:
    start, end = (at // 1_000_000 - T for at in (time.start, time.end))
    reason = [time.reason] if time.reason and time.kind == "pause" else []
    return " ".join([time.agent, time.queue or "-", time.kind, *reason, str(start), str(end)])


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenarios(name: str) -> None:
    lines, expected = SCENARIOS[name]
    tracker = AgentTracker(20_000_000)
    found = []
    for line in lines:
        at, _, rest = line.partition("|")
        found += tracker.feed(parse_queue_line(f"{T + int(at)}|{rest}".encode()))
    assert sorted(map(told, found)) == sorted(expected)


@given(seed=st.integers(0, 10**6), place=st.integers(0, 200))
def test_saved_anywhere_and_gone_on(seed: int, place: int) -> None:
    lines = synthetic.queue_log(seed, 200, T * 1_000_000, 5 * QUARTER)
    whole = AgentTracker(20_000_000)
    expected = [time for line in lines for time in whole.feed(line)]
    first = AgentTracker(20_000_000)
    found = [time for line in lines[:place] for time in first.feed(line)]
    second = AgentTracker.restore(20_000_000, first.save())
    found += [time for line in lines[place:] for time in second.feed(line)]
    assert sorted(found) == sorted(expected)


@given(seed=st.integers(0, 10**6))
def test_no_moment_is_given_out_twice(seed: int) -> None:
    tracker = AgentTracker(20_000_000)
    found = [t for line in synthetic.queue_log(seed, 300, T * 1_000_000, 9 * QUARTER) for t in tracker.feed(line)]
    by_kind: dict[tuple[str, str, str, str], list[AgentTime]] = {}
    for time in found:
        assert time.start // QUARTER == (time.end - 1) // QUARTER
        if time.kind != "ring":
            by_kind.setdefault((time.agent, time.queue, time.kind, time.reason), []).append(time)
    for times in by_kind.values():
        times.sort(key=lambda time: time.start)
        assert all(one.end <= other.start for one, other in pairwise(times))
