"""Whether a ticket's file is what the ledger says of it: its writer does not say how long a ticket is open. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pbxd.uplink.support.ticket import Ticket
from pbxd.uplink.vocabulary import time_text

SLACK = 0.001  # s that are lost where two times of today are subtracted


def entered(ticket: Ticket) -> dict[str, str]:
    """What the ledger has of a ticket's opening. The note is not in it: the link's user reads the ledger."""
    return {
        "ticket": ticket.id,
        "scope": ticket.scope,
        "reason": ticket.reason,
        "by": ticket.by,
        "opened": _time(ticket.opened),
        "until": _time(ticket.until),
    }


def _time(at: float) -> str:
    return time_text(datetime.fromtimestamp(at, UTC))


def differs(ticket: Mapping[str, Any], line: Mapping[str, Any] | None) -> str:
    """How a ticket as `entered` gives it differs from its line; empty if it does not."""
    if line is None:
        return "the ledger has no opening of it"
    wrong = [f"{name} is {value}, and the ledger has {line.get(name)}" for name, value in ticket.items()
             if line.get(name) != value]  # fmt: skip
    return "; ".join(wrong)


def fault(ticket: Ticket, line: Mapping[str, Any] | None, ended: str | None, now: float) -> str:
    """How a ticket's file is not what the ledger says; empty if it is. `line`: its opening there; `ended`: why, if it has ended."""
    if wrong := differs(entered(ticket), line):
        return f"its file is not what the ledger says: {wrong}"
    if ended is not None and ticket.state(now) == "open":
        return f"its file says that it is open, and the ledger that it has ended: {ended}"
    return ""


def too_long(ticket: Ticket, longest: float) -> str:
    """What is wrong with how long a ticket is open, in seconds; empty if nothing is."""
    seconds = ticket.until - ticket.opened
    if seconds <= longest + SLACK:
        return ""
    return f"it is open for {seconds / 3600:.1f} h, and uplink.support_longest is {longest / 3600:.1f} h"
