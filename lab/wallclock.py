"""Calls while the clock on Asterisk's wall does what clocks do: midnight, summer time, steps; and an Asterisk that is restarted.

Asterisk has a clock of its own here (libfaketime); ours, the phones' and pbxd's go on as ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from lab.box import Box
from lab.desk import Desk
from lab.transfers import connect

DAY = 86_400
BERLIN = ZoneInfo("Europe/Berlin")
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Clocked:
    """A call of 121 with 122, of some two seconds of ours."""

    name: str
    title: str
    at: datetime | None  # what the clock shows at its beginning; None: the real time
    then: float | None  # seconds from ours that the clock is set to in its middle; None: it stays
    right: Callable[[Record], Iterator[bool]]  # what must hold of its record, beside what must hold of each
    restart: bool = False  # whether Asterisk is restarted in its middle, which ends it

    def faults(self, record: Record) -> list[str]:
        """What is wrong with its record; empty if nothing is."""
        found = [f"condition {n} of {self.name}" for n, holds in enumerate(self.right(record)) if not holds]
        return found if _consistent(record) else [*found, "not one answered call with its times in order"]


def _consistent(record: Record) -> bool:
    talk = record["legs"][0]["talked"]
    times = [record["start"], record["answer"], talk[0][0], talk[-1][1], record["end"]]
    return times == sorted(times) and record["disposition"] == "answered" and len(record["legs"]) == 2


def _when(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _over_midnight(record: Record) -> Iterator[bool]:
    yield (_when(record["start"]).day, _when(record["end"]).day) == (31, 1)
    yield 1.5 <= record["talk_time"] < 30


def _over_summer_time(record: Record) -> Iterator[bool]:
    start, end = _when(record["start"]), _when(record["end"])
    yield start.astimezone(BERLIN).utcoffset() != end.astimezone(BERLIN).utcoffset()
    yield abs(record["duration"] - (end - start).total_seconds()) < 1e-5
    yield 1.5 <= record["talk_time"] < 30


def _set_back(record: Record) -> Iterator[bool]:
    yield 0 < record["talk_time"] < 30
    yield [moment["kind"] for moment in record["timeline"]].count("clock_set_back") == 1


def _long(record: Record) -> Iterator[bool]:
    yield DAY + 3600 < record["talk_time"] < DAY + 3700


def _restarted(record: Record) -> Iterator[bool]:
    yield record["hung_up_by"] == "system"


CLOCKED = (
    Clocked("over-midnight", "over midnight", datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), None, _over_midnight),
    Clocked("summer-time-begins", "over the beginning of summer time", datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC), None,
            _over_summer_time),
    Clocked("summer-time-ends", "over the end of summer time", datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC), None,
            _over_summer_time),
    Clocked("clock-set-back", "over a clock that is set back by an hour", None, -3600, _set_back),
    Clocked("longer-than-a-day", "for longer than a day", None, DAY + 3600, _long),
    Clocked("asterisk-restarted", "with Asterisk restarted in its middle", None, None, _restarted, restart=True),
)  # fmt: skip


class Office:
    """A box with a clock of its own and two people who talk."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.desk = Desk(box.asterisk)

    def play(self, clocked: Clocked) -> dict[str, Any]:
        """Its record, when the call is over and committed."""
        now = time.time()
        self.box.asterisk.set_clock(0 if clocked.at is None else clocked.at.timestamp() - now)
        known = {record["id"] for record in self.box.pbxd.records()}
        a, _ = connect(self.desk, "121", "122")
        if clocked.restart:
            self.box.asterisk.command("core restart now")
        else:
            if clocked.then is not None:
                self.box.asterisk.set_clock(clocked.then)
            self.desk.pause(1.5)
            a.hang_up()
        self.desk.quiet(["121", "122"])
        self.box.wait_for_calls(len(known) + 1)
        (record,) = [record for record in self.box.pbxd.records() if record["id"] not in known]
        return record
