"""How long recordings are kept: what is due, what must stay, and what goes first when the disk is full. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pbxd.recording.catalogue import Entry

SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Keep:
    """What the configuration says; seconds from a recording's end."""

    longest: float | None = None  # None is for ever
    classes: Mapping[str, float] = field(default_factory=dict)  # the same for classes that have their own
    shortest: float = 0.0  # nobody deletes it before that, not even root
    known: Collection[str] = frozenset({"call"})  # the classes that there are

    def due(self, entry: Entry) -> int | None:
        """When a recording is to be deleted, in µs; None is never."""
        keep = self.classes.get(entry.kind, self.longest)
        return None if keep is None else entry.end + int(max(keep, self.shortest) * SECOND)

    def refusal(self, entry: Entry, now: int) -> str | None:
        """Why a recording must not be deleted at `now` (µs); None if it may be."""
        if entry.hold is not None:
            return f"it is held: {entry.hold}"
        rest = entry.end + int(self.shortest * SECOND) - now
        return (
            f"it is kept for {rest / SECOND / 86400:.1f} more days at least (recording.keep_at_least)"
            if rest > 0
            else None
        )

    def oldest_kept(self, now: int) -> int:
        """Recordings that ended before this (µs) may be due; all others are not."""
        shortest = min((keep for keep in (self.longest, *self.classes.values()) if keep is not None), default=None)
        return 0 if shortest is None else now - int(max(shortest, self.shortest) * SECOND)
