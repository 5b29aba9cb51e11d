"""The journal that pbxd writes itself: what Asterisk tells by AMI only, and a record needs. Lines are in the form of CEL."""

from __future__ import annotations

import os
from pathlib import Path

from pbxd.calls.cel import CelEvent, format_line
from pbxd.errors import JournalError


class OwnJournal:
    """Appends lines. A line is one write: a kill -9 leaves all of it or nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._torn = False  # a full disk took part of the last line

    def prepare(self) -> None:
        """Make its folder. JournalError if it cannot be made."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(f"{self.path.parent} cannot be made: {error.strerror}") from error

    def append(self, event: CelEvent) -> None:
        """Add a line. JournalError if the disk does not take it.

        The file is opened for each line, so that it can be rotated at any time.
        """
        line = ("\n" if self._torn else "") + format_line(event).replace("\n", " ") + "\n"
        data = line.encode("utf-8", "surrogateescape")
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                self._torn = os.write(file, data) < len(data)
            finally:
                os.close(file)
        except OSError as error:
            raise JournalError(f"{self.path} cannot be written: {error.strerror}") from error
        if self._torn:
            raise JournalError(f"{self.path} took part of a line: the disk is full")
