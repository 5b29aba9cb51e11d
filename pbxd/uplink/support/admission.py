"""Who is let in: decides about a certificate of the support CA. Every refusal has its own word and message. No I/O, no clock."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pbxd.uplink.support.ticket import Ticket

KEY_ID = re.compile(r"([A-Za-z0-9._@+-]{1,64}) ticket ([0-9a-f]{16})")
LONGEST = 86_400.0  # s that a certificate may be valid for: a longer one is not short-lived
CLOCK = 30 * 86_400.0  # s beside its validity from which on a certificate speaks of a wrong clock


@dataclass(frozen=True, slots=True)
class Presented:
    """What a certificate says whose signature is good. Times are seconds since the epoch."""

    authority: str  # the key that signed it, as an OpenSSH public key without its comment
    user: bool  # it is for a user, not for a host
    key_id: str
    principals: tuple[str, ...]
    after: float
    before: float
    limited: bool  # it says from which address or for which command it is good, which cannot be kept here


@dataclass(frozen=True, slots=True)
class Admission:
    """The person may come in."""

    person: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The person may not."""

    word: str
    message: str


def admit(
    cert: Presented, username: str, ticket: Ticket, *, tickets: Mapping[str, Ticket], authority: str, now: float
) -> Admission | Refusal:
    """Decide. `ticket` is what is open here, `tickets` all that this box has had, `authority` the support CA's public key."""
    if cert.authority.split()[:2] != authority.split()[:2]:
        return Refusal(
            "other-ca", "the certificate is signed by another CA than the support CA of this box's enrolment"
        )
    if not cert.user:
        return Refusal("not-a-person", "the certificate is a host's, not a person's")
    named = KEY_ID.fullmatch(cert.key_id)
    if named is None:
        return Refusal("key-id", f"the certificate's key id is {cert.key_id!r}, not `PERSON ticket TICKET`")
    person, about = named.groups()
    if cert.principals != (about,) or username != about:
        return Refusal(
            "principal",
            f"the certificate of {person} is for ticket {about}, its principals are {', '.join(cert.principals) or 'none'}, "
            f"and the user asked for is {username}: all three must be the ticket",
        )
    return (
        _of_ticket(person, about, ticket, tickets, now)
        or _of_time(cert, now)
        or (
            Refusal("limited", "the certificate has a source-address or force-command: not here")
            if cert.limited
            else None
        )
        or Admission(person)
    )


def _of_ticket(person: str, about: str, ticket: Ticket, tickets: Mapping[str, Ticket], now: float) -> Refusal | None:
    named = ticket if about == ticket.id else tickets.get(about)
    if named is None:
        return Refusal("unknown-ticket", f"the certificate of {person} names ticket {about}, which this box never had")
    state = named.state(now)
    if state == "expired":
        return Refusal("ticket-expired", f"ticket {about} expired at {when(named.until)}")
    if state == "ended":
        return Refusal("ticket-ended", f"ticket {about} was ended at {when(named.ended or 0)}: {named.why}")
    if about != ticket.id:
        return Refusal(
            "other-ticket", f"the certificate of {person} is for ticket {about}, and this is ticket {ticket.id}"
        )
    return None


def _of_time(cert: Presented, now: float) -> Refusal | None:
    """What is wrong with the certificate's time."""
    span = f"from {when(cert.after)} to {when(cert.before)}"
    off = cert.after - now if now < cert.after else now - cert.before
    if off > CLOCK:
        days = f"{off / 86_400:.0f} days"
        return Refusal(
            "clock", f"the certificate is good {span}, {days} from this box's clock ({when(now)}): which is right?"
        )
    if now < cert.after:
        return Refusal("not-yet-valid", f"the certificate is not good yet: {span}; it is {when(now)} here")
    if now >= cert.before:
        return Refusal("expired", f"the certificate has expired: it was good {span}; it is {when(now)} here")
    if cert.before - cert.after > LONGEST:
        return Refusal(
            "long-lived", f"the certificate is good {span}; here it may be good for {LONGEST / 3600:.0f} h at most"
        )
    return None


def when(seconds: float) -> str:
    """A time for a person to read; one beyond the calendar is told as the calendar's end."""
    return f"{datetime.fromtimestamp(min(max(seconds, 0), 253_402_300_799), UTC):%Y-%m-%d %H:%M:%S} UTC"
