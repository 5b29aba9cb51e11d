"""A support ticket: the customer's leave to look at this box, for a while and for a reason. No I/O, no clock."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from pbxd.errors import SupportError

Scope = Literal["diagnose", "configure", "shell"]
Reason = Literal["request", "terms", "law"]
State = Literal["open", "expired", "ended"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
REASONS: dict[Reason, str] = {  # docs/privacy.md, P4: there is no other reason
    "request": "a support request that the customer started",
    "terms": "a suspected violation of the terms",
    "law": "as the law requires",
}
ID = re.compile(r"[0-9a-f]{16}")
LONGEST_NOTE = 500  # characters
LAST = 253_402_300_799.0  # the last second of the calendar, since the epoch
SHELL_WARNING = (
    "THIS SHELL RUNS AS PBXD'S OWN USER. WHO USES IT CAN SEE ALL COMMUNICATIONS ON THIS BOX: "
    "RECORDINGS, VOICEMAIL, CHATS, CALLERS' NUMBERS AND NAMES; AND CAN DO ALL THAT PBXD CAN: STOP IT, CHANGE ITS FILES, ITS "
    "LEDGER AND THE RECORDING OF THIS SESSION. WHAT TELLS OF THAT IS ONLY WHAT HAS LEFT THIS BOX: CHECKPOINTS OF THE LEDGER."
)


@dataclass(frozen=True, slots=True)
class Ticket:
    """One leave. Times are seconds since the epoch."""

    id: str  # 16 lower-case hex digits, random
    scope: Scope
    reason: Reason
    note: str
    by: str  # user of this machine who opened it
    opened: float
    until: float
    ended: float | None = None
    why: str = ""  # it ended before its time

    def state(self, now: float) -> State:
        """How it stands."""
        if self.ended is not None:
            return "ended"
        return "open" if now < self.until else "expired"


def as_json(ticket: Ticket) -> dict[str, Any]:
    """For a file and for the API."""
    return asdict(ticket)


def from_json(value: dict[str, Any]) -> Ticket:
    """The ticket of a file. SupportError if it is none."""
    if set(value) != {field.name for field in fields(Ticket)} or not ID.fullmatch(str(value["id"])):
        raise SupportError("a ticket's file has other fields than a ticket")
    if value["scope"] not in SCOPES or value["reason"] not in REASONS:
        raise SupportError(f"the ticket {value['id']} has a scope or a reason that there is not")
    if not all(_is_time(value[name]) for name in ("opened", "until")):
        raise SupportError(f"the ticket {value['id']} has a time that is none")
    if not (value["ended"] is None or _is_time(value["ended"])):
        raise SupportError(f"the ticket {value['id']} has an end that is no time")
    if not all(isinstance(value[name], str) for name in ("note", "by", "why")):
        raise SupportError(f"the ticket {value['id']} has a text that is none")
    return Ticket(**value)


def _is_time(value: Any) -> bool:  # noqa: ANN401 - JSON
    return isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= LAST


def checked(
    scope: str, reason: str, note: str, seconds: float, longest: float, *, shell_allowed: bool
) -> tuple[Scope, Reason]:
    """Scope and reason of a ticket that may be opened; `shell_allowed` by the configuration. SupportError says what is wrong."""
    if scope not in SCOPES:
        raise SupportError(f"there is no scope {scope!r}; there are {', '.join(SCOPES)}")
    if reason not in REASONS:
        told = "; ".join(f"{name} ({text})" for name, text in REASONS.items())
        raise SupportError(f"{reason!r} is no reason for access; the reasons are {told}")
    if not 0 < seconds <= longest:
        raise SupportError(f"a ticket is open for at most {longest / 3600:g} hours: uplink.support_longest")
    if scope == "shell" and not shell_allowed:
        raise SupportError("no shell: uplink.allow_shell is false on this box")
    if len(note) > LONGEST_NOTE or not note.isprintable():
        raise SupportError(f"a note is one line of at most {LONGEST_NOTE} characters")
    return scope, reason


def forbidden(scope: str, *, shell_allowed: bool, off: str) -> str:
    """Why no ticket of this scope may be open as things stand now; empty if one may. `off`: why the uplink is off, if so."""
    if off:
        return f"the uplink is off ({off})"
    if scope == "shell" and not shell_allowed:
        return "uplink.allow_shell is false"
    return ""
