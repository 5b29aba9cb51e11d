"""The keys of `voicemail`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pbxd.config.part import Part, at_start
from pbxd.config.values import AbsolutePath, Duration, MailAddress


def mailbox(value: Any) -> str:  # noqa: ANN401 - whatever stands in the file
    """`101`, or `101@context`; always with its context from here on."""
    name = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.+*#-]{1,80}(@[A-Za-z0-9_.+*#-]{1,80})?", name):
        raise ValueError("a mailbox is written '101', or '101@context'")
    return name if "@" in name else f"{name}@default"


Mailbox = Annotated[str, BeforeValidator(mailbox)]


class MailboxEntry(Part):
    """One mailbox that differs from the others."""

    box: Mailbox = Field(description="Which: 101, or 101@context.")
    mail: tuple[MailAddress, ...] = Field((), description="Who is told of each new message, by reports.mail.")
    notice: Literal["text", "sound"] = Field("text", description="With the message itself in the mail, or without.")
    archive_after: Duration | None = Field(None, description="voicemail.archive_after of this box.")
    keep: Duration | None = Field(None, description="voicemail.keep of this box.")


class Voicemail(Part):
    """Voice messages, which Asterisk takes and keeps."""

    enabled: bool = at_start(
        default=False, text="Give out and look after voice messages; each use is in the audit log of the store."
    )
    spool: AbsolutePath = at_start(Path("/var/spool/asterisk/voicemail"), "Folder in which Asterisk keeps them.")
    archive_after: Duration | None = Field(
        None, description="Messages that were heard go from there into the store after this time; empty is never."
    )
    archive_new: bool = Field(default=False, description="Messages that nobody has heard too.")
    keep: Duration | None = Field(
        None, description="Messages are deleted this long after they were left, wherever they lie; empty is never."
    )
    boxes: tuple[MailboxEntry, ...] = Field((), description="Mailboxes that differ, and who is told of new messages.")

    @model_validator(mode="after")
    def fits(self) -> Voicemail:
        """A box is named once, and nothing is asked for that is switched off."""
        names = [entry.box for entry in self.boxes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the mailbox {twice[0]} stands here twice")
        if not self.enabled and (self.boxes or self.archive_after or self.archive_new or self.keep):
            raise ValueError("boxes, archive_after, archive_new and keep need voicemail.enabled: true")
        return self
