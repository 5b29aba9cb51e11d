"""The calls that the lab places, each with the record that it must become: the table that `bin/run` and the tests share.

`expect` names fields of the call record (docs/call-record.md) and their values; a field that is not named is not judged here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
    expect: Mapping[str, object] = field(default_factory=dict)

    def place(self, phones: Phones) -> list[Handset]:
        """Start every phone of the call, the called ones first; the call is running when this returns."""
        provider = phones.asterisk.provider
        handsets = [phones.start(phone, address=provider if phone.number == "carrier" else "") for phone in self.called]
        address = provider if self.by_trunk else ""
        return [*handsets, phones.start(self.caller, self.dial, address=address)]


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
        Scenario("voicemail", "straight to voicemail", talks("101", 9000), "401"),
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
            (Called("118").ring().wait(200).answer().speak(tone).wait(1000).refer("119").wait(1500).bye(), answers("119")),
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
