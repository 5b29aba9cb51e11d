"""A clock on the wall for processes of a test: ours, and so many seconds more; it can be moved while they run (libfaketime)."""

from __future__ import annotations

from pathlib import Path

from lab.tree import ensure_host_packages

LIBRARIES = Path("/usr/lib")


class MovedClock:
    """What it says is in a file, which each process reads again whenever it asks for the time. Timers go on as ever."""

    def __init__(self, file: Path) -> None:
        ensure_host_packages(print, {"faketime": "faketime"})
        self._file = file
        self.set(0)
        (library,) = LIBRARIES.glob("*/faketime/libfaketimeMT.so.1")
        self.environment = {
            "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
        }  # fmt: skip

    def set(self, offset: float) -> None:
        """From now on it is so many seconds before or behind ours."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset:+.0f}\n")
        new.chmod(0o644)
        new.rename(self._file)
