"""What the configuration says of chats. Light: a daemon without chats loads no more of them than this."""

from __future__ import annotations

from dataclasses import dataclass, field

from pbxd.chat.rooms import Plan
from pbxd.comms.people import Directory


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """The same object for as long as the same configuration is in force."""

    people: Directory
    plan: Plan = field(default_factory=Plan)
    keep: float | None = None  # s; None is for ever
    longest: int = 16 * 1024  # bytes of a message
    attachment: int = 10 * 1024**2  # bytes
