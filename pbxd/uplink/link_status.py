"""What the link says of itself, as the core sees it: whether it runs, the kernel says by a lock that the link holds."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from pbxd.uplink.results import FILE, STATUS
from pbxd.uplink.vocabulary import time_of

STALE = 60.0  # s without a word of the link after which its status says nothing


def link_status(state: Path) -> dict[str, Any]:
    """What the link whose folder is `state` says of itself, if one runs; `state` is none, starting or silent where it does not."""
    if not _runs(state / FILE):
        return {"state": "none"}
    try:
        found: dict[str, Any] = json.loads((state / STATUS).read_bytes()[:65536])
        fresh = time.time() - time_of(found["at"]).timestamp() < STALE or found["state"] != "connected"
    except (OSError, ValueError, KeyError, TypeError):
        return {"state": "starting"}
    return found if fresh else {**found, "state": "silent"}


def _runs(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return not os.path.samestat(os.fstat(opened.fileno()), file.stat())  # it has just begun another file
    except BlockingIOError:
        return True
    except OSError:
        return False
