"""Ties a process that pbxd starts to pbxd's own life: nobody works on, or complains, beside the next run."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with(parent: int) -> None:
    """Be killed when the process `parent`, which started this one, is."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def to_parent(data: bytes) -> None:
    """Write to standard output, at once. SystemExit if nobody reads it any more: the parent is gone, or wants no more of it."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(1, rest) :]
    except BrokenPipeError:
        sys.exit(0)
