"""The keys of `comms`: where recordings, voicemail and chats are kept, and with which key."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from pbxd.config.part import Part, at_start
from pbxd.config.values import AbsolutePath, Duration


class Comms(Part):
    """The store of communications."""

    folder: AbsolutePath = at_start(Path("/var/lib/pbxd/comms"), "Folder of the store; everything in it is encrypted.")
    key_file: AbsolutePath = at_start(
        Path("/var/lib/pbxd/keys/comms.key"),
        "The store's key, an age identity, made at the first start. "
        "Not in the store's folder; the systemd credential comms-key goes first.",
    )
    keep_audit: Duration | None = Field(
        None, description="Rows of the audit log are deleted after this time; empty is never."
    )
