"""The calls that the lab places, each with the record that it must become: the table that `bin/run` and the tests share.

EXPECTED, LEGS and QUEUES name fields of the call record (docs/call-record.md); a field that is not named is not judged here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.phones import Handset, Phones
from lab.sip import Called, Caller, Phone


@dataclass(frozen=True, slots=True)
class Scenario:
    """One call: who calls what, which phones are called, and what the record must say."""

    name: str
    title: str
    caller: Caller
    dial: str
    called: tuple[Phone, ...] = ()
    by_trunk: bool = False

    def place(self, phones: Phones) -> list[Handset]:
        """Start every phone of the call, the called ones first; the call is running when this returns."""
        provider = phones.asterisk.provider
        handsets = [phones.start(phone, address=provider if phone.number == "carrier" else "") for phone in self.called]
        address = provider if self.by_trunk else ""
        return [*handsets, phones.start(self.caller, self.dial, address=address)]


EXPECTED: dict[str, dict[str, object]] = {
    "answered": {
        "direction": "internal",
        "disposition": "answered",
        "caller_number": "101",
        "dialled": "111",
        "answered_by": "PJSIP/111",
        "hung_up_by": "caller",
    },
    "callee-hangs-up": {
        "direction": "internal",
        "disposition": "answered",
        "answered_by": "PJSIP/112",
        "hung_up_by": "called",
    },
    "no-answer": {
        "disposition": "no_answer",
        "reason": "no_answer",
        "answered_by": "",
        "talk_time": 0.0,
        "answer": None,
    },
    "busy": {"disposition": "busy", "cause": 17, "talk_time": 0.0},
    "refused": {"disposition": "no_answer", "reason": "declined", "cause": 21, "talk_time": 0.0},
    "cancelled": {"disposition": "no_answer", "reason": "cancelled", "hung_up_by": "caller", "talk_time": 0.0},
    "congestion": {"direction": "outbound", "disposition": "failed", "reason": "congestion", "cause": 34},
    "nothing-there": {"direction": "internal", "disposition": "failed", "reason": "congestion", "cause": 34},
    "no-phone": {"direction": "internal", "disposition": "failed", "reason": "no_route"},
    "queue": {"disposition": "answered", "answered_by": "PJSIP/108", "dialled": "300"},
    "abandoned": {"disposition": "abandoned", "talk_time": 0.0, "hung_up_by": "caller", "dialled": "301"},
    "voicemail": {"disposition": "voicemail", "mailbox": "101@default", "talk_time": 0.0},
    "no-answer-voicemail": {"disposition": "voicemail", "mailbox": "103@default", "talk_time": 0.0},
    "outbound": {
        "direction": "outbound",
        "disposition": "answered",
        "dialled": "95550100",
        "answered_by": "PJSIP/trunk-carrier",
    },
    "inbound": {
        "direction": "inbound",
        "disposition": "answered",
        "caller_number": "4930123",
        "caller_name": "Zoë Outside",
        "dialled": "555117",
        "answered_by": "PJSIP/117",
    },
    "inbound-queue": {
        "direction": "inbound",
        "disposition": "answered",
        "caller_number": "4930124",
        "answered_by": "PJSIP/108",
    },
    "blind-transfer": {
        "disposition": "answered",
        "caller_number": "107",
        "dialled": "118",
        "answered_by": "PJSIP/118",
        "hung_up_by": "caller",
    },
    "ring-group": {"disposition": "answered", "answered_by": "PJSIP/106", "dialled": "200"},
    "local": {"disposition": "answered", "answered_by": "PJSIP/111", "dialled": "6111"},
    "local-optimised": {"disposition": "answered", "answered_by": "PJSIP/112", "dialled": "7112"},
    "local-group": {"disposition": "answered", "answered_by": "PJSIP/106", "dialled": "201"},
    "application": {"disposition": "answered", "reason": "application", "answered_by": "", "talk_time": 0.0},
}
LEGS = {  # endpoints of the record's legs, sorted, each with whether it talked
    "blind-transfer": [("PJSIP/107", True), ("PJSIP/118", True), ("PJSIP/119", True)],
    "ring-group": [("PJSIP/101", True), ("PJSIP/105", False), ("PJSIP/106", True), ("PJSIP/107", False)],
    "local": [("PJSIP/110", True), ("PJSIP/111", True)],
    "local-optimised": [("PJSIP/110", True), ("PJSIP/112", True)],
    "local-group": [("PJSIP/105", False), ("PJSIP/106", True), ("PJSIP/110", True)],
    "queue": [("PJSIP/103", True), ("PJSIP/108", True)],
    "abandoned": [("PJSIP/104", False), ("PJSIP/109", False)],
}
QUEUES = {
    "queue": ("support", "answered"),
    "abandoned": ("sales", "abandoned"),
    "inbound-queue": ("support", "answered"),
}


def faults(name: str, record: Mapping[str, Any]) -> list[str]:
    """What is wrong with the record of the scenario `name`; empty if nothing is."""
    wrong = [
        f"{field} is {record[field]!r}, not {value!r}"
        for field, value in EXPECTED[name].items()
        if record[field] != value
    ]
    if name in LEGS:
        legs = [(leg["endpoint"], bool(leg["talked"])) for leg in record["legs"]]
        if sorted(legs) != LEGS[name]:
            wrong.append(f"legs are {legs}, not {LEGS[name]}")
    visits = [(visit["queue"], visit["outcome"]) for visit in record["queues"]]
    wanted = [QUEUES[name]] if name in QUEUES else []
    if visits != wanted:
        wrong.append(f"queue visits are {visits}, not {wanted}")
    transfers = [(transfer["kind"], transfer["to"]) for transfer in record["transfers"]]
    if transfers != ([("blind", "119")] if name == "blind-transfer" else []):
        wrong.append(f"transfers are {transfers}")
    return wrong


def table(audio: Path) -> tuple[Scenario, ...]:
    """Every scenario, with phones that speak `audio`."""
    tone = str(audio)

    def talks(number: str, milliseconds: int, name: str = "") -> Caller:
        return Caller(number, name).answered().speak(tone).wait(milliseconds).bye()

    def answers(number: str, ring: int = 300) -> Called:
        return Called(number).ring().wait(ring).answer().speak(tone).expect_bye()

    def rings(number: str) -> Called:
        return Called(number).ring().expect_cancel()

    return (
        Scenario("answered", "a phone calls a phone, which answers", talks("101", 1500), "111", (answers("111"),)),
        Scenario(
            "callee-hangs-up",
            "the called one hangs up first",
            Caller("102").answered().speak(tone).expect_bye(),
            "112",
            (Called("112").ring().wait(200).answer().speak(tone).wait(1200).bye(),),
        ),
        Scenario(
            "no-answer",
            "a phone rings and nobody answers",
            Caller("101").refused(603),
            "2113",
            (rings("113"),),
        ),
        Scenario(
            "busy",
            "the called phone is busy",
            Caller("102").refused(486),
            "114",
            (Called("114").reject(486, "Busy Here"),),
        ),
        Scenario(
            "refused",
            "the called phone declines",
            Caller("103").refused(403),
            "115",
            (Called("115").reject(603, "Decline"),),
        ),
        Scenario(
            "cancelled",
            "the caller gives up while it rings",
            Caller("104").ringing().wait(700).cancel(),
            "116",
            (rings("116"),),
        ),
        Scenario(
            "congestion",
            "the trunk has no line free",
            Caller("105").refused(503),
            "95550009",
            (Called("carrier").reject(503, "Service Unavailable"),),
        ),
        Scenario("nothing-there", "a number that ends in congestion", Caller("105").refused(503), "801"),
        Scenario("no-phone", "a phone that Asterisk does not know", Caller("105").refused(404), "199"),
        Scenario("queue", "the queue, answered by an agent", talks("103", 3500), "300", (answers("108", 800),)),
        Scenario("abandoned", "the queue, given up while waiting", talks("104", 2500), "301", (rings("109"),)),
        Scenario("voicemail", "straight to voicemail", talks("101", 4000), "401"),
        Scenario(
            "no-answer-voicemail",
            "nobody answers, then voicemail",
            talks("102", 11000),
            "5103",
            (rings("103"),),
        ),
        Scenario("outbound", "out by the trunk", talks("106", 1500), "95550100", (answers("carrier"),)),
        Scenario(
            "inbound",
            "in by the trunk",
            talks("4930123", 1500, "Zoë Outside"),
            "555117",
            (answers("117"),),
            by_trunk=True,
        ),
        Scenario(
            "inbound-queue",
            "in by the trunk, to the queue",
            talks("4930124", 3000),
            "555300",
            (answers("108"),),
            by_trunk=True,
        ),
        Scenario(
            "blind-transfer",
            "the called one transfers blindly to a third",
            Caller("107").answered().speak(tone).wait(3500).bye(),
            "118",
            (
                Called("118").ring().wait(200).answer().speak(tone).wait(1000).refer("119").wait(1500).bye(),
                answers("119"),
            ),
        ),
        Scenario(
            "ring-group",
            "a ring group, the second answers",
            talks("101", 1500),
            "200",
            (rings("105"), answers("106", 700), rings("107")),
        ),
        Scenario("local", "through a Local channel that stays", talks("110", 1500), "6111", (answers("111"),)),
        Scenario(
            "local-optimised",
            "through a Local channel that is optimised away",
            talks("110", 2500),
            "7112",
            (answers("112"),),
        ),
        Scenario(
            "local-group",
            "a ring group of Local channels",
            talks("110", 1500),
            "201",
            (rings("105"), answers("106", 700)),
        ),
        Scenario("application", "an application answers", talks("110", 1000), "800"),
    )
