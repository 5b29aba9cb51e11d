"""Low priority for work that can wait: calls come first."""

from __future__ import annotations

import os
import threading

import structlog

NICE = 15
log = structlog.get_logger("pbxd.vault")


def lower_this_thread() -> None:
    """Run the calling thread behind all others. On Linux each thread has a nice value of its own (setpriority(2))."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
    except OSError as error:
        log.warning("the priority cannot be lowered", error=error.strerror)
