"""Rows of other CEL backends as lines of ours; local times in the hours that are missing or come twice."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from pbxd.calls.cel import CelEvent, parse_line
from pbxd.calls.cel_columns import SAMPLES, Columns, is_header, known
from pbxd.calls.local_time import LocalTime
from pbxd.errors import LineError, SourceError

AT = 1_795_515_956_963_528  # 2026-11-24 10:25:56.963528 UTC
BERLIN = ZoneInfo("Europe/Berlin")
FEW = ("eventtype", "eventtime", "uniqueid", "linkedid", "userdeftype", "clid")


def read(time: object, kind: str = "CHAN_START", user: str = "", clid: str = "") -> CelEvent:
    return parse_line(Columns(FEW, BERLIN).line((kind, time, "1.1", "1.1", user, clid)))


@pytest.mark.parametrize(
    "time",
    [
        "1795515956.963528",
        "2026-11-24 11:25:56.963528",
        "2026-11-24T10:25:56.963528Z",
        "2026-11-24 05:25:56.963528-05:00",
        datetime(2026, 11, 24, 11, 25, 56, 963528),  # noqa: DTZ001 - as a database gives it
        datetime(2026, 11, 24, 10, 25, 56, 963528, tzinfo=UTC),
        1795515956.963528,
        Decimal("1795515956.963528"),
        b"1795515956.963528",
    ],
)
def test_times(time: object) -> None:
    assert read(time).at == AT


@pytest.mark.parametrize("time", ["", "noon", "0000-00-00 00:00:00", None])
def test_a_time_that_is_none_is_refused_with_its_line(time: object) -> None:
    with pytest.raises(LineError, match="the time"):
        read(time)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("CALLERID(num)", "cid_num"),
        ("${CSV_QUOTE(${CHANNEL(channame)})}", "channame"),
        ("${eventextra}", "extra"),
        ("BRIDGEPEER", "peer"),
        ("AcctCode", "accountcode"),
        ("My Literal", ""),
    ],
)
def test_other_names(name: str, column: str) -> None:
    assert known(name) == column


def test_headers_are_recognised() -> None:
    assert is_header(["id", "EventType", "eventtime", "cid_num", "uniqueid", "linkedid"])
    assert not is_header(["CHAN_START", "1795515956.963528", "", ""])


@pytest.mark.parametrize("count", SAMPLES)
def test_the_samples_have_what_is_needed(count: int) -> None:
    assert len(SAMPLES[count]) == count
    assert Columns(SAMPLES[count], UTC).count == count


def test_what_is_missing_is_told() -> None:
    with pytest.raises(SourceError, match="no column linkedid"):
        Columns(["eventtype", "eventtime", "uniqueid"], UTC)


def test_user_events_and_whole_caller_ids() -> None:
    event = read("1795515956.963528", "USER_DEFINED", "PBXD_TAG", '"Ann B." <101>')
    assert (event.type, event.user_type, event.cid_name, event.cid_num) == ("PBXD_TAG", "PBXD_TAG", "Ann B.", "101")


def test_the_hour_that_comes_twice() -> None:
    clock = LocalTime(BERLIN)
    summer = int(datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()) * 1_000_000
    half_past_two = datetime(2026, 10, 25, 2, 30)  # noqa: DTZ001 - that is what it is about
    assert clock.utc(half_past_two, 0) == summer
    assert clock.utc(half_past_two.replace(minute=29, second=58), 0) == summer - 2_000_000  # a little out of order
    assert clock.utc(half_past_two.replace(minute=50), 0) == summer + 20 * 60_000_000
    assert clock.utc(half_past_two.replace(minute=10), 0) == summer + 40 * 60_000_000  # time does not go back
    assert (
        LocalTime(BERLIN).utc(half_past_two, summer + 3600 * 1_000_000) == summer + 3600 * 1_000_000
    )  # the channel's birth


def test_the_hour_that_is_missing_goes_on_as_before() -> None:
    clock = LocalTime(BERLIN)
    at = clock.utc(datetime(2026, 3, 29, 2, 30), 0)  # noqa: DTZ001
    assert at == int(datetime(2026, 3, 29, 1, 30, tzinfo=UTC).timestamp()) * 1_000_000
