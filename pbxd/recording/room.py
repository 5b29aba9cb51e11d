"""How much room the spool has. Recording stops before it is full; calls go on, and are recorded again when there is room.

Who else writes there may fill it to the last byte. Then not even the note could be written that a recording is complete, nothing
would leave the spool, and it would stay full. So a ballast lies in it, which is given up then: room for the notes of what goes on
and what has ended. (Encoding needs none: see `worker`.)
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import structlog

NAME = ".ballast"
BALLAST = 1024**2  # bytes: some hundred notes
NEARLY_NOTHING = BALLAST // 4  # bytes that are free when the ballast is given up
log = structlog.get_logger("pbxd.recording")


class Room:
    """Looks at the spool, again and again: with less than half of `reserve` bytes free it is short of room, until all is free."""

    def __init__(self, spool: Path, reserve: int) -> None:
        self.why = ""  # why nothing can be recorded now; empty while there is room
        self.free = 0  # bytes, at the last look
        self._spool = spool
        self._reserve = reserve

    def look(self) -> bool:
        """Measure it; whether the ballast was given up by this, so that what could not be written can be now."""
        try:
            free = self.free = shutil.disk_usage(self._spool).free
            given_up = self._ballast(free)
        except OSError as error:
            self.free, self.why = 0, f"the spool {self._spool} cannot be used: {error.strerror}"
            return False
        limit = self._reserve if self.why else self._reserve // 2
        self.why = f"the spool {self._spool} is full: {free} bytes are free" if free < limit else ""
        return given_up

    def _ballast(self, free: int) -> bool:
        path = self._spool / NAME
        if free < NEARLY_NOTHING and path.exists():
            path.unlink()
            log.error(
                "the spool of recordings is full to the last byte; its ballast is given up", spool=str(self._spool)
            )
            return True
        if free >= self._reserve + BALLAST and not path.exists():
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, BALLAST)
        return False
