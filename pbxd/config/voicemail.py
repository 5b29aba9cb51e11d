"""The keys of `voicemail`."""

from __future__ import annotations

from pathlib import Path

from pbxd.config.part import Part, at_start
from pbxd.config.values import AbsolutePath


class Voicemail(Part):
    """Voice messages, which Asterisk takes and keeps."""

    spool: AbsolutePath = at_start(Path("/var/spool/asterisk/voicemail"), "Folder in which Asterisk keeps them.")
