"""How long messages stay where they are, and who is told of them, as the configuration says. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pbxd.voicemail.spool import Box, Message


@dataclass(frozen=True, slots=True)
class BoxRule:
    """What holds for one mailbox; times in seconds from when a message was left, None is never."""

    mail: tuple[str, ...] = ()  # addresses that are told of each new message
    sound: bool = False  # with the message itself
    archive_after: float | None = None
    keep: float | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for all of them."""

    general: BoxRule = BoxRule()
    boxes: Mapping[str, BoxRule] = field(default_factory=dict)  # by `101@default`
    archive_new: bool = False  # messages that nobody has heard go into the archive too
    server: Mapping[str, Any] | None = None  # the mail server, as pbxd.mail.server describes it
    sender: str = ""
    site: str = ""
    zone: str = "UTC"  # in which a notice says when a message was left

    def of(self, box: Box | str) -> BoxRule:
        """The rule of a mailbox."""
        return self.boxes.get(str(box), self.general)

    def to_archive(self, message: Message, now: float) -> bool:
        """Whether a message in the spool is to go into the archive at `now` (epoch seconds)."""
        after = self.of(message.box).archive_after
        if after is None or (message.new and not self.archive_new):
            return False
        return message.text.when + after <= now

    def expired(self, box: Box | str, when: float, now: float) -> bool:
        """Whether a message left at `when` has been kept long enough at `now` (epoch seconds)."""
        keep = self.of(box).keep
        return keep is not None and when + keep <= now

    def shortest_keep(self) -> float | None:
        """The shortest time that any mailbox's messages are kept, in seconds; None if all are kept for ever."""
        found = [rule.keep for rule in (self.general, *self.boxes.values()) if rule.keep is not None]
        return min(found, default=None)
