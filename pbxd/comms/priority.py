"""Low priority for work that can wait: calls come first."""

from __future__ import annotations

import contextlib
import os
import threading

NICE = 15


def lower_this_thread() -> None:
    """Run the calling thread behind all others, if that is allowed. On Linux each has a nice value of its own."""
    with contextlib.suppress(PermissionError):  # a unit that forbids it takes calls as seriously as we can
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
