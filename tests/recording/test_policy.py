"""Rules of recording, as tables: who is in the call, and what becomes of it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, time
from typing import Any

import pytest

from pbxd.calls.site import dial_pattern
from pbxd.recording.policy import CallFacts, Consent, Hours, Mode, Party, Rule, judge, lot

A = Party("PJSIP/101", "101", trunk=False)
B = Party("PJSIP/102", "102", trunk=False)
OUTSIDE = Party("PJSIP/trunk-a", "0301234", trunk=True)
MONDAY_NOON = datetime(2026, 11, 23, 12, 0)  # noqa: DTZ001 - the site's own time
WORK = Hours(frozenset(range(5)), time(8), time(18))
NIGHT = Hours(frozenset({0}), time(22), time(6))


def facts(*parties: Party, **more: Any) -> CallFacts:
    plain = CallFacts("1795485056.1", "internal", frozenset(), parties, MONDAY_NOON)
    return replace(plain, **more)


def rule(mode: Mode, **conditions: Any) -> Rule:
    return Rule(mode, **{"consent": Consent.NONE, **conditions})


ALWAYS = rule(Mode.ALWAYS)
OF_101 = {"extensions": (dial_pattern("101"),)}
OF_10X = {"extensions": (dial_pattern("10X"),)}


@pytest.mark.parametrize(
    ("rules", "call", "mode"),
    [
        ([], facts(A, B), Mode.NEVER),
        ([ALWAYS], facts(A, B), Mode.ALWAYS),
        ([rule(Mode.ALWAYS, **OF_101)], facts(A, B), Mode.ALWAYS),  # 102 has no say
        ([rule(Mode.ALWAYS, **OF_101)], facts(B, OUTSIDE), Mode.NEVER),
        ([rule(Mode.NEVER, **OF_101), ALWAYS], facts(A, B), Mode.NEVER),  # the strictest party wins
        ([rule(Mode.NEVER, **OF_101), ALWAYS], facts(B, OUTSIDE), Mode.ALWAYS),
        (
            [rule(Mode.ALWAYS, **OF_101), rule(Mode.NEVER, **OF_10X)],
            facts(A, OUTSIDE),
            Mode.ALWAYS,
        ),  # first rule of a party
        ([rule(Mode.ALWAYS, **OF_101), rule(Mode.NEVER, **OF_10X)], facts(A, B), Mode.NEVER),
        ([rule(Mode.ON_DEMAND), rule(Mode.ALWAYS)], facts(A, B), Mode.ON_DEMAND),
        ([rule(Mode.ALWAYS, queues=frozenset({"support"}))], facts(A, OUTSIDE), Mode.NEVER),
        (
            [rule(Mode.ALWAYS, queues=frozenset({"support"}))],
            facts(A, OUTSIDE, queues=frozenset({"support"})),
            Mode.ALWAYS,
        ),
        ([rule(Mode.ALWAYS, directions=frozenset({"inbound"}))], facts(A, OUTSIDE), Mode.NEVER),
        ([rule(Mode.ALWAYS, directions=frozenset({"inbound"}))], facts(A, OUTSIDE, direction="inbound"), Mode.ALWAYS),
        ([rule(Mode.ALWAYS, trunks=("PJSIP/trunk-*",))], facts(A, OUTSIDE), Mode.ALWAYS),
        ([rule(Mode.ALWAYS, trunks=("PJSIP/trunk-b",))], facts(A, OUTSIDE), Mode.NEVER),
        ([rule(Mode.NEVER, numbers=(dial_pattern("030."),)), ALWAYS], facts(A, OUTSIDE), Mode.NEVER),
        (
            [rule(Mode.NEVER, numbers=(re.compile("101"),)), ALWAYS],
            facts(A, OUTSIDE),
            Mode.ALWAYS,
        ),  # numbers are outside
        ([rule(Mode.ALWAYS, hours=(WORK,))], facts(A, B), Mode.ALWAYS),
        ([rule(Mode.ALWAYS, hours=(WORK,))], facts(A, B, at=MONDAY_NOON.replace(hour=18)), Mode.NEVER),
        ([rule(Mode.ALWAYS, hours=(WORK,))], facts(A, B, at=MONDAY_NOON.replace(day=22)), Mode.NEVER),  # Sunday
        ([rule(Mode.ALWAYS, hours=(NIGHT,))], facts(A, B, at=MONDAY_NOON.replace(hour=23)), Mode.ALWAYS),
        ([rule(Mode.ALWAYS, hours=(NIGHT,))], facts(A, B, at=MONDAY_NOON.replace(day=24, hour=5)), Mode.ALWAYS),
        ([rule(Mode.ALWAYS, hours=(NIGHT,))], facts(A, B, at=MONDAY_NOON.replace(hour=5)), Mode.NEVER),
    ],
)
def test_mode(rules: list[Rule], call: CallFacts, mode: Mode) -> None:
    assert judge(rules, call).mode is mode


@pytest.mark.parametrize(
    ("mode", "asked", "records"),
    [
        (Mode.NEVER, True, False),
        (Mode.ON_DEMAND, False, False),
        (Mode.ON_DEMAND, True, True),
        (Mode.ALWAYS, False, True),
    ],
)
def test_what_a_mode_means(mode: Mode, asked: bool, records: bool) -> None:
    assert judge([rule(mode)], facts(A, B)).records(asked=asked) is records


def test_consent_is_the_strictest_that_was_asked_for() -> None:
    rules = [rule(Mode.ALWAYS, consent=Consent.BEEP, **OF_101), rule(Mode.ALWAYS, consent=Consent.NONE)]
    assert judge(rules, facts(A, B)).consent is Consent.BEEP
    assert judge(rules, facts(B, OUTSIDE)).consent is Consent.NONE
    assert judge([Rule(Mode.ALWAYS)], facts(A, B)).consent is Consent.ANNOUNCEMENT  # unless the customer says otherwise


@pytest.mark.parametrize(
    ("rules", "call", "kinds"),
    [
        ([ALWAYS], facts(A, B), set()),
        ([rule(Mode.ALWAYS, kind="order")], facts(A, B), {"order"}),
        ([rule(Mode.ALWAYS, kind="order", **OF_101), ALWAYS], facts(A, B), {"order"}),  # one that names none has no say
        ([rule(Mode.ALWAYS, kind="order", **OF_101), ALWAYS], facts(B, OUTSIDE), set()),
        (
            [rule(Mode.ALWAYS, kind="order", **OF_101), rule(Mode.ALWAYS, kind="complaint")],
            facts(A, B),
            {"order", "complaint"},
        ),
        (
            [rule(Mode.ALWAYS, kind="complaint", queues=frozenset({"support"})), ALWAYS],
            facts(A, OUTSIDE, queues=frozenset({"support"})),
            {"complaint"},
        ),
    ],
)
def test_classes(rules: list[Rule], call: CallFacts, kinds: set[str]) -> None:
    assert judge(rules, call).kinds == kinds


def test_a_share_is_drawn_by_the_call() -> None:
    ids = [f"1795485056.{n}" for n in range(4000)]
    chosen = [
        name for name in ids if judge([rule(Mode.PERCENT, share=25.0)], facts(A, B, id=name)).records(asked=False)
    ]
    assert 0.22 < len(chosen) / len(ids) < 0.28
    assert all(lot(name) < 25 for name in chosen)
    two = [rule(Mode.PERCENT, share=100.0, **OF_101), rule(Mode.PERCENT, share=0.0)]
    assert not judge(two, facts(A, B)).records(asked=False)  # the smaller share is stricter
