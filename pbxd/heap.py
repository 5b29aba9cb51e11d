"""Keeps what was freed for a while, where large buffers come and go: for the two ends of the uplink.

By itself the C library gives freed memory back at once and is given it anew, page by page, for the next piece of a body: half
of the processor time of an upload went there.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
KEPT = 16 * 1024 * 1024  # bytes of free memory that are kept
LARGE = 4 * 1024 * 1024  # bytes of one buffer that is given back at once


def keep_freed_memory() -> None:
    """For this process, from now on. Where the C library has no such setting nothing changes."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, LARGE)
        library.mallopt(M_TRIM_THRESHOLD, KEPT)
