"""When reports are due: whole local days, weeks and months, each delivered once, whatever clocks do."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxd.reports.schedule import EPOCH, Due, Period, latest, upcoming

BERLIN = ZoneInfo("Europe/Berlin")
SEVEN = time(7)
HOUR = 3_600_000_000


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> int:
    return (datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold) - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("period", "now", "due", "start", "end"),
    [
        ("day", "2025-11-26T07:00", "2025-11-26T07:00", "2025-11-25T00:00", "2025-11-26T00:00"),
        ("day", "2025-11-26T06:59", "2025-11-25T07:00", "2025-11-24T00:00", "2025-11-25T00:00"),
        ("week", "2025-11-26T12:00", "2025-11-24T07:00", "2025-11-17T00:00", "2025-11-24T00:00"),
        ("week", "2025-11-24T06:00", "2025-11-17T07:00", "2025-11-10T00:00", "2025-11-17T00:00"),
        ("month", "2025-11-26T12:00", "2025-11-01T07:00", "2025-10-01T00:00", "2025-11-01T00:00"),
        ("month", "2026-01-01T07:00", "2026-01-01T07:00", "2025-12-01T00:00", "2026-01-01T00:00"),
        ("month", "2026-03-01T06:00", "2026-02-01T07:00", "2026-01-01T00:00", "2026-02-01T00:00"),
    ],
)
def test_the_latest(period: Period, now: str, due: str, start: str, end: str) -> None:
    assert latest(at(now), period, SEVEN, BERLIN) == Due(at(due), at(start), at(end))


@pytest.mark.parametrize(
    ("period", "now", "due"),
    [
        ("day", "2025-11-26T07:00", "2025-11-27T07:00"),
        ("day", "2025-11-26T06:59", "2025-11-26T07:00"),
        ("week", "2025-11-24T06:59", "2025-11-24T07:00"),
        ("week", "2025-11-24T07:00", "2025-12-01T07:00"),
        ("month", "2025-12-31T23:59", "2026-01-01T07:00"),
        ("month", "2026-01-31T12:00", "2026-02-01T07:00"),
    ],
)
def test_the_next(period: Period, now: str, due: str) -> None:
    assert upcoming(at(now), period, SEVEN, BERLIN).at == at(due)


@pytest.mark.parametrize(("day", "hours"), [("2025-03-30", 23), ("2025-10-26", 25), ("2025-11-26", 24)])
def test_a_day_has_the_hours_that_it_has(day: str, hours: int) -> None:
    found = latest(at(day) + 40 * HOUR, "day", SEVEN, BERLIN)
    assert (found.start, found.end - found.start) == (at(day), hours * HOUR)


@pytest.mark.parametrize(
    ("clock", "zone", "first", "expected"),
    [
        # 02:30 is skipped on 30 March: it is due at 03:30 on that day
        (time(2, 30), "Europe/Berlin", date(2025, 3, 28), [(2, 30), (2, 30), (3, 30), (2, 30)]),
        # 02:30 comes twice on 26 October: the first of them
        (time(2, 30), "Europe/Berlin", date(2025, 10, 24), [(2, 30)] * 4),
        # midnight itself is skipped on 25 April
        (time(0), "Africa/Cairo", date(2025, 4, 23), [(0, 0), (0, 0), (1, 0), (0, 0)]),
        # midnight comes twice on 2 November
        (time(0), "America/Havana", date(2025, 10, 31), [(0, 0)] * 4),
    ],
)
def test_once_a_day_whatever_clocks_do(clock: time, zone: str, first: date, expected: list[tuple[int, int]]) -> None:
    where = ZoneInfo(zone)
    moment = at(f"{first - timedelta(days=1)}T12:00", where)
    found = []
    for _ in range(5):
        due = upcoming(moment, "day", clock, where)
        local = (EPOCH + timedelta(microseconds=due.at)).astimezone(where)
        found.append((local.date(), (local.hour, local.minute)))
        moment = due.at
    days = [first + timedelta(days=n) for n in range(5)]
    assert [day for day, _ in found] == days
    assert [clock for _, clock in found][:4] == expected


ZONES = st.sampled_from(
    ["Europe/Berlin", "UTC", "America/Havana", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo"]
)
PERIODS: st.SearchStrategy[Period] = st.sampled_from(["day", "week", "month"])


@given(st.integers(0, 4 * 10**15), PERIODS, st.times(), ZONES)
def test_each_follows_the_one_before_without_gap(moment: int, period: Period, clock: time, name: str) -> None:
    zone, clock = ZoneInfo(name), clock.replace(tzinfo=None, fold=0)
    before, after = latest(moment, period, clock, zone), upcoming(moment, period, clock, zone)
    assert before.at <= moment < after.at
    assert before.end == after.start
    assert before.start < before.end <= before.at
    assert latest(after.at, period, clock, zone) == after
    assert upcoming(before.at, period, clock, zone) == after
