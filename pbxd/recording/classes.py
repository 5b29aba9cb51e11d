"""The class of a recording, by which it is kept. Pure.

What the dialplan said of the call itself comes first, the last word of several. Else it is the class that the rules name by which
it was recorded. Of several rules, or of calls that have met, it is the one that is kept longest: what must be kept and is deleted
is lost, and a class can be changed. Else it is `call`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pbxd.recording.segments import Recording

FOREVER = float("inf")


@dataclass(slots=True)
class Classes:
    """What was said of calls that are up, which may not be recorded yet."""

    _said: dict[str, str] = field(default_factory=dict)  # uniqueid -> class

    def say(self, channels: Iterable[str], kind: str) -> None:
        """The call with these channels is of this class."""
        self._said |= dict.fromkeys(channels, kind)

    def forget(self, channels: Iterable[str]) -> None:
        """These are gone."""
        for channel in channels:
            self._said.pop(channel, None)

    def settle(self, recording: Recording, call: set[str], kinds: Iterable[str], kept: Mapping[str, float]) -> None:
        """Give a recording its class. `kinds`: of the rules that hold now; `kept`: how long each class is kept, in s."""
        if said := by_length({self._said[channel] for channel in call if channel in self._said}, kept):
            recording.said = said[0]  # of several: calls that each had theirs have met
            self.say(call, recording.said)  # whoever joins later, and goes on when the others have left
        recording.rules_classes = by_length({*kinds, *recording.rules_classes}, kept)


def by_length(kinds: Iterable[str], kept: Mapping[str, float]) -> list[str]:
    """Classes, those that are kept longest first."""
    return sorted(kinds, key=lambda kind: (-kept.get(kind, FOREVER), kind))


def unknown(kind: str, known: Iterable[str]) -> str:
    """What to say of a class that there is not."""
    return f"{kind[:40]!r} is no class of recordings; there are {', '.join(sorted(known))} (recording.classes)"
