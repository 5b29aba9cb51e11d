"""Which calls are recorded: the customer's rules, and the strictest of them that speaks for any party of the call.

Pure: facts in, a verdict out. A party's rule is the first one all of whose conditions hold for the call and for that party; a party
for which none holds has no say. Of the parties' rules the strictest wins: never, then on demand, then a share, then always; and of
what they ask before a recording, an announcement before a beep before nothing. If no party has a rule, nothing is recorded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from enum import IntEnum
from fnmatch import fnmatchcase
from re import Pattern


class Mode(IntEnum):
    """How a call is recorded; a smaller one is stricter."""

    NEVER = 0
    ON_DEMAND = 1
    PERCENT = 2
    ALWAYS = 3


class Consent(IntEnum):
    """What the parties must hear first; a smaller one is stricter."""

    ANNOUNCEMENT = 0
    BEEP = 1
    NONE = 2


@dataclass(frozen=True, slots=True)
class Hours:
    """Times of the week, in the site's own time; `end` is not in it, and may be before `start`: then it is over midnight."""

    days: frozenset[int]  # Monday is 0
    start: time
    end: time

    def hold(self, at: datetime) -> bool:
        """Whether `at`, in the site's time, is in them."""
        now = at.time()
        if self.start <= self.end:
            return at.weekday() in self.days and self.start <= now < self.end
        before = at.weekday() in self.days and now >= self.start
        return before or ((at.weekday() - 1) % 7 in self.days and now < self.end)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the customer's. An empty condition holds for every call."""

    mode: Mode
    share: float = 100.0  # percent of the calls, for Mode.PERCENT
    consent: Consent = Consent.ANNOUNCEMENT
    directions: frozenset[str] = frozenset()  # inbound, outbound, internal
    queues: frozenset[str] = frozenset()
    trunks: tuple[str, ...] = ()  # globs on TECH/name
    extensions: tuple[Pattern[str], ...] = ()  # of the party
    numbers: tuple[Pattern[str], ...] = ()  # of an outside party
    hours: tuple[Hours, ...] = ()
    kind: str = ""  # class of what is recorded by it; empty names none


@dataclass(frozen=True, slots=True)
class Party:
    """One who takes part in a call."""

    endpoint: str
    number: str
    trunk: bool
    name: str = ""


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What rules may ask of a call."""

    id: str
    direction: str
    queues: frozenset[str]
    parties: Sequence[Party]
    at: datetime  # when it began, in the site's time


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say of a call with these parties."""

    mode: Mode = Mode.NEVER
    consent: Consent = Consent.ANNOUNCEMENT
    chosen: bool = field(default=False)  # for PERCENT: whether this call is in the share
    kinds: frozenset[str] = frozenset()  # the classes that the parties' rules name

    def records(self, *, asked: bool) -> bool:
        """Whether it is to be recorded now; `asked`: somebody wants it to be."""
        return (
            self.mode is Mode.ALWAYS
            or (self.mode is Mode.PERCENT and (self.chosen or asked))
            or (self.mode is Mode.ON_DEMAND and asked)
        )


def judge(rules: Iterable[Rule], call: CallFacts) -> Verdict:
    """The verdict on a call."""
    rules = [rule for rule in rules if _holds_for_call(rule, call)]
    said = [rule for party in call.parties if (rule := _rule_of(rules, party)) is not None]
    if not said:
        return Verdict()
    mode = min(rule.mode for rule in said)
    share = min((rule.share for rule in said if rule.mode is Mode.PERCENT), default=100.0)
    kinds = frozenset(rule.kind for rule in said if rule.kind)
    return Verdict(mode, min(rule.consent for rule in said), lot(call.id) < share, kinds)


def lot(call: str) -> float:
    """A number from 0 to 100 that is drawn by the call's id: the same one whenever it is asked for."""
    return int.from_bytes(hashlib.sha256(call.encode()).digest()[:8]) / 2**64 * 100


def _holds_for_call(rule: Rule, call: CallFacts) -> bool:
    if rule.directions and call.direction not in rule.directions:
        return False
    if rule.queues and not rule.queues & call.queues:
        return False
    trunks = [party.endpoint for party in call.parties if party.trunk]
    if rule.trunks and not any(fnmatchcase(trunk, pattern) for trunk in trunks for pattern in rule.trunks):
        return False
    return not rule.hours or any(hours.hold(call.at) for hours in rule.hours)


def _rule_of(rules: Iterable[Rule], party: Party) -> Rule | None:
    """The first rule that speaks of this party."""
    return next((rule for rule in rules if _speaks_of(rule, party)), None)


def _speaks_of(rule: Rule, party: Party) -> bool:
    if not rule.extensions and not rule.numbers:
        return True
    patterns = rule.numbers if party.trunk else rule.extensions
    return any(pattern.fullmatch(party.number) for pattern in patterns)
