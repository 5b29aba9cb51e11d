"""The recording of a session: asciicast v2, each piece on the disk before it is shown (https://docs.asciinema.org/manual/asciicast/v2/)."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any, Literal

from pbxd.errors import RecordingStopped

SUFFIX = ".cast"
SPARE = 64 * 1024  # bytes that have to be free for a session to begin


class Cast:
    """One recording that is being written."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        """Begin the file, which must not be there yet. RecordingStopped if it cannot be written."""
        self.path = path
        self._started = time.monotonic()
        self._decoders = {kind: codecs.getincrementaldecoder("utf-8")("replace") for kind in ("o", "i")}
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise RecordingStopped(f"{path} cannot be made: {error.strerror}") from error
        try:
            os.posix_fallocate(self._file, 0, SPARE)
            os.ftruncate(self._file, 0)
            _sync_folder(path.parent)
        except OSError as error:
            self.close()
            raise RecordingStopped(f"there is no room to record in {path.parent}: {error.strerror}") from error
        self._put(json.dumps({"version": 2, **header}) + "\n")

    def shown(self, data: bytes) -> None:
        """Write down what is about to be shown. RecordingStopped if it cannot be: then it must not be shown."""
        self._event("o", data)

    def typed(self, data: bytes) -> None:
        """Write down what the person sent. RecordingStopped as above."""
        self._event("i", data)

    def resized(self, width: int, height: int) -> None:
        """Write down the terminal's new size."""
        self._line("r", f"{width}x{height}")

    def close(self) -> None:
        """No more is written."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _event(self, kind: Literal["o", "i"], data: bytes) -> None:
        if text := self._decoders[kind].decode(data):
            self._line(kind, text)

    def _line(self, kind: str, text: str) -> None:
        self._put(json.dumps([round(time.monotonic() - self._started, 6), kind, text], ensure_ascii=False) + "\n")

    def _put(self, line: str) -> None:
        data = line.encode("utf-8", "surrogatepass")
        try:
            written = os.write(self._file, data)
            if written != len(data):
                raise RecordingStopped(f"{self.path} took {written} of {len(data)} bytes: the disk is full")
            os.fdatasync(self._file)
        except OSError as error:
            raise RecordingStopped(f"{self.path} cannot be written: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def measure(path: Path) -> tuple[int, str]:
    """Length in bytes and SHA-256 of a recording on the disk."""
    data = path.read_bytes()
    return len(data), hashlib.sha256(data).hexdigest()
