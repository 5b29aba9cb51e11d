"""What a dialplan adds to the record by `CELGenUserEvent(PBXD_…,text)`: tags, an account, a customer number.

Asterisk writes such an event under its own name as the event type, and the text as `{"extra": text}`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pbxd.calls.cel import CelEvent

TAG, ACCOUNT, CUSTOMER = "PBXD_TAG", "PBXD_ACCOUNT", "PBXD_CUSTOMER"
LONGEST = 200  # characters of one annotation that are kept: the record is no place for documents
MOST_TAGS = 50  # of one call: a dialplan that loops must not fill the store


@dataclass(frozen=True, slots=True)
class Annotations:
    """What the dialplan told of a call. Of account and customer the last one told counts; tags are in order, each once."""

    tags: tuple[str, ...] = ()
    account: str = ""
    customer: str = ""


def annotate(events: Iterable[CelEvent]) -> Annotations:
    """The annotations among the lines of a call."""
    told = sorted((event.at, event.type, text(event)) for event in events if event.type.startswith("PBXD_"))
    tags = dict.fromkeys(value for _, kind, value in told if kind == TAG and value)
    account = [value for _, kind, value in told if kind == ACCOUNT]
    customer = [value for _, kind, value in told if kind == CUSTOMER]
    return Annotations(tuple(tags)[:MOST_TAGS], account[-1] if account else "", customer[-1] if customer else "")


def text(event: CelEvent) -> str:
    """The text of a user event, without the quotation marks that a dialplan needs around a comma."""
    found = str(event.details().get("extra", "")).strip()
    if len(found) > 1 and found[0] == found[-1] == '"':
        found = found[1:-1]
    return found[:LONGEST]
