"""What the link says of its work, a line each: `{"what": "intent", "number": 7, "at": …}`. The core takes them over.

The link may be broken into: the core takes only lines of this form, and of these only those that can be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pbxd.errors import FrameError
from pbxd.uplink.book import encoded
from pbxd.uplink.vocabulary import REJECT_WHYS, Check, check_fields, moment, one_of, parsed, whole

FILE, STATUS, CERTIFICATE = "results", "status.json", "certificate"
LONGEST = 4096  # bytes of a line

RESULTS: Mapping[str, Mapping[str, Check]] = {
    "intent": {"number": whole, "at": moment},
    "sent": {"number": whole, "at": moment},
    "rejected": {"number": whole, "why": one_of(REJECT_WHYS), "at": moment},
    "connection": {"since": moment, "sent": whole, "received": whole, "at": moment},
}


def result_line(what: str, **fields: Any) -> bytes:  # noqa: ANN401 - JSON
    """A result as a line."""
    return encoded({"what": what, **fields})


def result_of(raw: bytes) -> dict[str, Any]:
    """The result of a line. FrameError if it is none."""
    found: dict[str, Any] = parsed(raw[:LONGEST], "result")
    what = found.get("what") if isinstance(found, dict) else None
    if not isinstance(what, str) or what not in RESULTS:
        raise FrameError(f"{str(what)[:40]!r} is no result")
    check_fields({"what": one_of(tuple(RESULTS)), **RESULTS[what]}, found, what)
    return found
