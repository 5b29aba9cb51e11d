"""What the link says of its work, a line each: `{"what": "intent", "number": 7, "at": …}`. The core takes them over.

The link may be broken into: the core takes only lines of this form, and of these only those that can be.

They stand in one file, `results`. Once the core has taken over all of it, which the ledger says, and it is large, the link begins
another, whose first line `{"base": N}` says how many bytes the files before it had: places are counted over all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pbxd.errors import FrameError
from pbxd.uplink.book import encoded
from pbxd.uplink.vocabulary import REJECT_WHYS, Check, check_fields, moment, one_of, parsed, whole

FILE, STATUS, CERTIFICATE = "results", "status.json", "certificate"
LONGEST = 4096  # bytes of a line
LARGEST = 1024 * 1024  # bytes of a file of results that is not followed by another yet

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


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a file of results stands among all that the link ever said."""

    base: int  # bytes of the files before it
    head: int  # bytes of its first line, if that says so; the results stand behind it
    size: int  # its bytes

    @classmethod
    def of(cls, first: bytes, size: int) -> Extent:
        """From the first line of a file and its size. A first line that says nothing of it is a result."""
        try:
            found = parsed(first[:LONGEST], "result")
            check_fields({"base": whole}, found, "base")
        except FrameError:
            return cls(0, 0, size)
        return cls(found["base"], len(first), size)

    def start(self, folded: int) -> int:
        """The byte of the file from which on nothing was taken over, if all before the place `folded` was.

        A place that is not in this file was one of another: the link's folder was made anew, or the ledger. Then all of it is new.
        """
        place = folded - self.base
        return max(place, self.head) if place <= self.size else self.head

    def ends(self, folded: int, largest: int = LARGEST) -> bool:
        """Whether another file may follow: all of it was taken over, and it is large."""
        return self.size > largest and folded == self.base + self.size


def first_line(base: int) -> bytes:
    """The first line of a file that follows others of `base` bytes."""
    return encoded({"base": base})
