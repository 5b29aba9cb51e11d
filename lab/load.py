"""Many calls at a steady rate: in by the trunk, each from a number of its own, to one phone that answers them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.phones import Handset, Phones
from lab.sip import Called, Caller

PREFIX = "49"  # caller numbers are 491, 492 … in the order in which the calls are placed
PHONE = "111"
SIPP_SLACK = ("-l", "20000")  # never hold back a call because many are up


@dataclass(slots=True)
class Load:
    """Calls that are being placed."""

    calls: int
    caller: Handset
    called: Handset

    def finish(self, seconds: float = 120) -> None:
        """Return when all calls are over; a LabError if one of them failed."""
        self.caller.finish(seconds)
        self.called.stop()


def place(phones: Phones, calls: int, rate: float, talk: int) -> Load:
    """Begin to place `calls` calls, `rate` a second, each answered at once and `talk` milliseconds long."""
    count = ("-m", str(calls), *SIPP_SLACK)
    called = phones.start(Called(PHONE).ring().answer().expect_bye(), options=count)
    caller = Caller(f"{PREFIX}[call_number]").answered().wait(talk).bye()
    address = phones.asterisk.provider
    start = phones.start(caller, f"555{PHONE}", address=address, options=("-r", str(rate), *count))
    return Load(calls, start, called)


def wrong(records: list[dict[str, Any]], calls: int) -> list[str]:
    """What is wrong with the records of such a load: calls without one, with two, or with one that is not right."""
    faults = []
    numbers = [record["caller_number"] for record in records]
    missing = {f"{PREFIX}{n}" for n in range(1, calls + 1)} - set(numbers)
    if missing:
        faults.append(f"{len(missing)} calls have no record: {sorted(missing)[:5]}")
    if len(numbers) != len(set(numbers)):
        faults.append(f"{len(numbers) - len(set(numbers))} records too many")
    good = {
        "direction": "inbound",
        "disposition": "answered",
        "dialled": f"555{PHONE}",
        "answered_by": f"PJSIP/{PHONE}",
        "hung_up_by": "caller",
        "cause": 16,
    }
    for record in records:
        bad = [name for name, value in good.items() if record[name] != value]
        if bad or len(record["legs"]) != 2 or record["talk_time"] <= 0:
            faults.append(f"{record['id']}: {[(name, record[name]) for name in bad]}, {len(record['legs'])} legs")
    return faults
