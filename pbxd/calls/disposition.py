"""How a call ended for its caller: one table, read from the top; the first rule that holds decides.

The dispositions are the coarse answer (answered, no_answer, busy, failed, voicemail, abandoned, cut), the reasons the finer one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at."""

    cut: bool  # a channel never ended: Asterisk did, or the line that says so never came
    talked: bool  # the caller was connected with another party
    mailbox: str  # the mailbox whose greeting the caller came to
    queue_outcome: str  # of the last queue visit: answered | abandoned | left | "" (none)
    dial_status: str  # DIALSTATUS of the caller's last Dial
    dialled_out: bool  # the caller's channel ran Dial
    answered: bool  # the caller's channel was answered, by whatever
    cause: int  # Q.850
    by_caller: bool  # the caller hung up
    outgoing: bool = False  # a program placed the call: the caller's phone was called too


DIAL_STATUS = {
    "BUSY": ("busy", "busy"),
    "NOANSWER": ("no_answer", "no_answer"),
    "CANCEL": ("no_answer", "cancelled"),
    "CONGESTION": ("failed", "congestion"),
    "CHANUNAVAIL": ("failed", "unavailable"),
    "INVALIDARGS": ("failed", "dialplan"),
    "DONTCALL": ("failed", "screened"),
    "TORTURE": ("failed", "screened"),
}

CAUSE = {  # Q.850 causes of calls that no Dial explains
    17: ("busy", "busy"),
    18: ("no_answer", "no_answer"),
    19: ("no_answer", "no_answer"),
    21: ("no_answer", "declined"),
    34: ("failed", "congestion"),
    38: ("failed", "congestion"),
    41: ("failed", "congestion"),
    42: ("failed", "congestion"),
    44: ("failed", "congestion"),
    1: ("failed", "unallocated"),
    3: ("failed", "no_route"),
    20: ("failed", "unavailable"),
    27: ("failed", "unavailable"),
    28: ("failed", "unallocated"),
}

REJECTED = 21  # Q.850: call rejected

Rule = tuple[Callable[[Facts], bool], Callable[[Facts], tuple[str, str]]]

RULES: tuple[Rule, ...] = (
    (lambda f: f.cut, lambda _: ("cut", "cut")),
    (lambda f: f.talked, lambda _: ("answered", "answered")),
    (lambda f: bool(f.mailbox), lambda _: ("voicemail", "voicemail")),
    (lambda f: f.queue_outcome == "abandoned", lambda _: ("abandoned", "abandoned")),
    (lambda f: f.queue_outcome == "left", lambda _: ("no_answer", "queue_left")),
    (
        lambda f: f.dialled_out and f.dial_status == "NOANSWER" and f.cause == REJECTED,
        lambda _: ("no_answer", "declined"),
    ),
    (lambda f: f.dialled_out and f.dial_status in DIAL_STATUS, lambda f: DIAL_STATUS[f.dial_status]),
    (lambda f: f.answered, lambda _: ("answered", "application")),
    (lambda f: f.outgoing, lambda f: CAUSE.get(f.cause, ("no_answer", "no_answer"))),
    (lambda f: f.by_caller, lambda _: ("no_answer", "cancelled")),
    (lambda f: f.cause in CAUSE, lambda f: CAUSE[f.cause]),
    (lambda f: f.dialled_out, lambda _: ("no_answer", "no_answer")),
)


def judge(facts: Facts) -> tuple[str, str]:
    """Disposition and reason."""
    for holds, verdict in RULES:
        if holds(facts):
            return verdict(facts)
    return ("failed", "unknown")
