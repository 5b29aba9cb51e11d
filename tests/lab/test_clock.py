"""Calls while the clock on Asterisk's wall does what clocks do: midnight, summer time, steps; and an Asterisk that is restarted.

Asterisk has a clock of its own here (libfaketime); ours, the phones' and pbxd's go on as ever.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from lab.box import Box
from lab.desk import Desk
from lab.transfers import connect
from tests.conftest import say

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
DAY = 86_400
BERLIN = ZoneInfo("Europe/Berlin")


class Office:
    """A box with a clock of its own and two people who talk."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.desk = Desk(box.asterisk)

    def set_to(self, moment: datetime) -> None:
        self.box.asterisk.set_clock(moment.timestamp() - time.time())

    def call(self, *, then: float | None = None) -> dict[str, Any]:
        """A call of some two seconds; in its middle the clock is set to `then` seconds from ours, if given. Its record."""
        known = {record["id"] for record in self.box.pbxd.records()}
        a, _ = connect(self.desk, "121", "122")
        if then is not None:
            self.box.asterisk.set_clock(then)
        self.desk.pause(1.5)
        a.hang_up()
        self.desk.quiet(["121", "122"])
        self.box.wait_for_calls(len(known) + 1)
        (record,) = [record for record in self.box.pbxd.records() if record["id"] not in known]
        return record


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("clock")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    box = Box(folder, say, own_clock=True)
    try:
        box.start()
        office = Office(box)
        yield office
        office.desk.close()
    finally:
        box.stop()


def when(text: str) -> datetime:
    return datetime.fromisoformat(text)


def consistent(record: dict[str, Any]) -> bool:
    """One answered call with times in order."""
    talk = record["legs"][0]["talked"]
    times = [record["start"], record["answer"], talk[0][0], talk[-1][1], record["end"]]
    return times == sorted(times) and record["disposition"] == "answered" and len(record["legs"]) == 2


def test_over_midnight(office: Office) -> None:
    office.set_to(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC))
    record = office.call()
    assert consistent(record)
    assert (when(record["start"]).day, when(record["end"]).day) == (31, 1)
    assert 1.5 <= record["talk_time"] < 30


@pytest.mark.parametrize(("hour", "month", "day"), [(1, 3, 29), (1, 10, 25)])
def test_over_a_change_of_summer_time(office: Office, hour: int, month: int, day: int) -> None:
    change = datetime(2026, month, day, hour, tzinfo=UTC)
    office.set_to(datetime.fromtimestamp(change.timestamp() - 1, UTC))
    record = office.call()
    assert consistent(record)
    start, end = when(record["start"]), when(record["end"])
    assert start < change < end
    assert start.astimezone(BERLIN).utcoffset() != end.astimezone(BERLIN).utcoffset()
    assert record["duration"] == pytest.approx((end - start).total_seconds(), abs=1e-5)
    assert 1.5 <= record["talk_time"] < 30


def test_over_a_clock_that_is_set_back(office: Office) -> None:
    office.box.asterisk.set_clock(0)
    record = office.call(then=-3600)
    assert consistent(record)
    assert 0 < record["talk_time"] < 30
    assert [moment["kind"] for moment in record["timeline"]].count("clock_set_back") == 1


def test_longer_than_a_day(office: Office) -> None:
    office.box.asterisk.set_clock(0)
    record = office.call(then=DAY + 3600)
    assert consistent(record)
    assert DAY + 3600 < record["talk_time"] < DAY + 3700
    office.box.asterisk.set_clock(0)


def test_asterisk_restarted_in_the_middle(office: Office) -> None:
    known = {record["id"] for record in office.box.pbxd.records()}
    connect(office.desk, "121", "122")
    office.box.asterisk.command("core restart now")
    office.desk.quiet(["121", "122"])
    office.box.wait_for_calls(len(known) + 1)
    (record,) = [record for record in office.box.pbxd.records() if record["id"] not in known]
    assert consistent(record)
    assert record["hung_up_by"] == "system"
