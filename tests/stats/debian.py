"""Debian's packages that a test needs."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

LOCK = Path(tempfile.gettempdir()) / "pbxd-tests-apt.lock"


def install(package: str, there: Callable[[], bool]) -> None:
    """Install `package` unless it is `there`; one process at a time, for tests run beside each other."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if there():
            return
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-q"], check=True, env=quiet, capture_output=True)
        words = ["apt-get", "install", "-y", "-q", "--no-install-recommends", package]
        subprocess.run(words, check=True, env=quiet, capture_output=True)
