"""What a person of support may say in a session: a closed vocabulary, and a line to type it on. No I/O, no clock."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from pbxd.uplink.support.ticket import Scope

LOOKING = {
    "help": "these words",
    "status": "state of every part of pbxd",
    "doctor": "what is wrong on this box, and the remedy",
    "metrics": "all metrics, in Prometheus' text format",
    "live": "how many calls are in progress, queues and endpoints; no numbers and no names",
    "config": "the configuration in force, where it is plain: no secrets, people, numbers, addresses, paths: config, or config KEY",
    "exit": "end the session",
}
CHANGING = {
    "propose": "propose KEY VALUE [REASON]: ask the customer for a change of the configuration",
    "proposals": "what was proposed in this ticket, and what became of it",
}
LONGEST_LINE = 4096  # bytes of a line
CONTROL_C, CONTROL_D, CONTROL_U, BACKSPACES = 0x03, 0x04, 0x15, (0x08, 0x7F)


@dataclass(frozen=True, slots=True)
class Command:
    """One thing that was asked for."""

    word: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something that there is not, and what to tell."""

    message: str


def vocabulary(scope: Scope) -> dict[str, str]:
    """The words of a scope, each with what it does."""
    return LOOKING if scope == "diagnose" else LOOKING | CHANGING


def understand(line: str, scope: Scope) -> Command | Unknown | None:
    """What a line asks for; None for an empty one."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        return Unknown(f"the line cannot be understood: {error}")
    if not words:
        return None
    word, arguments = words[0], tuple(words[1:])
    if word in CHANGING and scope == "diagnose":
        return Unknown(f"{word}: this ticket's scope is diagnose: look, and change nothing")
    if word not in vocabulary(scope):
        return Unknown(f"{word}: there is no such word here; there are {', '.join(vocabulary(scope))}")
    least, most = {"config": (0, 1), "propose": (2, 3)}.get(word, (0, 0))
    if not least <= len(arguments) <= most:
        return Unknown(f"{word}: {vocabulary(scope)[word]}")
    return Command(word, arguments)


class Prompt:
    """A line as it is typed: bytes of the person in; echo and whole lines out."""

    def __init__(self) -> None:
        self._line = bytearray()

    def typed(self, data: bytes) -> Iterator[tuple[bytes, str | None]]:
        """What to show for each key, and the line that it ended; a line of None is the wish to go."""
        for key in data:
            if key in (0x0D, 0x0A):
                line, self._line = self._line.decode("utf-8", "replace"), bytearray()
                yield b"\r\n", line
            elif key == CONTROL_D and not self._line:
                yield b"\r\n", "exit"
            elif key == CONTROL_C:
                self._line.clear()
                yield b"^C\r\n", ""
            elif key == CONTROL_U:
                yield b"\b \b" * len(self._line.decode("utf-8", "replace")), None
                self._line.clear()
            elif key in BACKSPACES:
                if self._line:
                    text = self._line.decode("utf-8", "replace")[:-1]
                    self._line = bytearray(text.encode())
                    yield b"\b \b", None
            elif key >= 0x20 and len(self._line) < LONGEST_LINE:
                self._line.append(key)
                yield bytes((key,)), None


class Lines:
    """Lines of a session without a terminal. A line may be as long as LONGEST_LINE; what is longer is cut there."""

    def __init__(self) -> None:
        self._rest = b""

    def received(self, data: bytes) -> list[str]:
        """The lines that are whole now."""
        *whole, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:LONGEST_LINE]
        return [line[:LONGEST_LINE].decode("utf-8", "replace").rstrip("\r") for line in whole]

    def ended(self) -> list[str]:
        """The last line, which had no end."""
        rest, self._rest = self._rest, b""
        return [rest.decode("utf-8", "replace")] if rest else []
