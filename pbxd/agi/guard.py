"""Stops the guessing of PINs over many calls. No I/O; the time is an argument."""

from __future__ import annotations

from dataclasses import dataclass, field

TRIES = 5  # wrong PINs in a row, over all calls
LOCKED = 300.0  # s for which no PIN is right after them
LIMIT = 10_000  # names that are remembered; the oldest are forgotten, and they are names of the configuration only


@dataclass(slots=True)
class Guard:
    """Counts wrong tries by name."""

    _wrong: dict[str, tuple[int, float]] = field(default_factory=dict)  # tries in a row, and when the last was

    def open(self, name: str, now: float) -> bool:
        """Whether a PIN for `name` is to be looked at now."""
        tries, last = self._wrong.get(name, (0, 0.0))
        return tries < TRIES or now - last > LOCKED

    def wrong(self, name: str, now: float) -> None:
        """A PIN was wrong."""
        tries, last = self._wrong.pop(name, (0, 0.0))
        self._wrong[name] = (1 if now - last > LOCKED else tries + 1, now)
        if len(self._wrong) > LIMIT:
            del self._wrong[next(iter(self._wrong))]

    def right(self, name: str) -> None:
        """A PIN was right: begin to count again."""
        self._wrong.pop(name, None)
