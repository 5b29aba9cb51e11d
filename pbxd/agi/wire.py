"""FastAGI's wire, Asterisk's end of it: bytes to the environment, replies and HANGUP, and commands to bytes. Without I/O.

Source: Asterisk's res_agi.c. Asterisk sends `agi_…: value` lines up to an empty one, then one reply a command:

    200 result=1 (value) endpos=0     done; the value may span lines
    510 …, 511 …                      no such command; the channel is dead
    520-…, more lines, 520 End …      wrong arguments, with the usage
    100 …                             wait for the next

and between two of these a line `HANGUP` when the channel is gone. Where a value of many lines ends cannot be told from the text
alone: a caller's text may hold `)` and the look of a reply. So values are asked for with a mark of our own behind them
(`Wire.asked`), which nobody can guess, and which the value ends before.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from pbxd.errors import AGIUnknownError, CommandError

MAX_ENVIRONMENT = 64 * 1024  # bytes; real ones have about 600, with 127 arguments some kB
MAX_REPLY = 256 * 1024  # bytes; a usage has 2 kB, a variable's value is as long as a dialplan or a SIP MESSAGE made it
MAX_COMMAND = (
    2046  # bytes of a command's line; Asterisk's buffer takes 2,048 with the line break, and cuts longer ones in two
)
MAX_ASIDES = 100  # lines that answer nothing: HANGUP, `100 Trying`; real sessions have one or two
MAX_ARGUMENTS = 126  # words of a command; Asterisk takes 128
FORBIDDEN = frozenset("\r\n\0")
HANGUP_LINE = b"HANGUP"

BEGIN = b"agi_"
END = re.compile(rb"\n\r?\n")
PLAIN = re.compile(rb"200 result=[-0-9]*\n")
_HEAD = re.compile(r"200 result=(\S*)")
_WORDS = re.compile(r"(\w+)=(\S*)")


class Hangup(Enum):
    """The HANGUP line: the channel is gone, the connection is not."""

    HANGUP = "hangup"


class Environment:
    """What Asterisk says of the call at the start, as it came, with the empty line at its end. Read only when asked."""

    __slots__ = ("_values", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._values: dict[str, str] | None = None

    def get(self, name: str) -> str | None:
        """One value, by its name without `agi_`; None if it is not there. The last, if a name is there twice."""
        if self._values is not None:
            return self._values.get(name)
        start = (b"\n" + self.raw).rfind(f"\nagi_{name}:".encode())
        if start < 0:
            return None
        start += len(name) + len("agi_:")
        value = self.raw[start : self.raw.find(b"\n", start)]
        return value.decode("utf-8", "surrogateescape").removeprefix(" ").removesuffix("\r")

    @property
    def values(self) -> Mapping[str, str]:
        """All of it, by names without `agi_`. A line without a colon is none of it."""
        if self._values is None:
            self._values = {}
            for line in self.raw.decode("utf-8", "surrogateescape").split("\n"):
                name, colon, value = line.partition(":")
                if colon:
                    self._values[name.removeprefix("agi_")] = value.removeprefix(" ").removesuffix("\r")
        return self._values


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply. `raw` is as it came, without the line break at its end and without the mark."""

    code: int
    raw: bytes
    stray: bool = False  # nothing was asked: the rest of a value whose end was guessed wrongly

    @property
    def text(self) -> str:
        """The reply as text; what is not UTF-8 survives the way back."""
        return self.raw.decode("utf-8", "surrogateescape")

    @property
    def result(self) -> str:
        """What stands behind `result=`; empty if there is no such word."""
        found = _HEAD.match(self.text)
        return found[1] if found else ""

    @property
    def value(self) -> str | None:
        """What stands in parentheses behind the result, whole; None without any."""
        text = self.text
        start = text.find(" (")
        end = text.rfind(")")
        return text[start + 2 : end] if 0 <= start < end else None

    def word(self, name: str) -> str:
        """What stands behind `name=` after the value, as in `endpos=1600`; empty if there is no such word."""
        tail = self.text.rpartition(")")[2]
        words: dict[str, str] = dict(_WORDS.findall(tail))
        return words.get(name, "")


Event = Environment | Reply | Hangup


class Wire:
    """Cuts one session's stream into events. It never holds more than a limit and one read.

    After AGIUnknownError it is of no use any more. `pending` is whether a reply is owed; who sends a command calls `asked`
    first.
    """

    __slots__ = (
        "_asides",
        "_begun",
        "_broken",
        "_environment",
        "_lines",
        "_mark",
        "_max_environment",
        "_max_reply",
        "_rest",
        "pending",
    )

    def __init__(self, max_environment: int = MAX_ENVIRONMENT, max_reply: int = MAX_REPLY) -> None:
        self._max_environment = max_environment
        self._max_reply = max_reply
        self._rest = bytearray()  # of a line, or of the environment, whose end has not come yet
        self._environment = False  # it has come whole
        self._begun: list[bytes] = []  # lines of a reply whose end has not come yet
        self._lines = 0  # bytes in `_begun`
        self._mark: bytes | None = None
        self._asides = 0
        self._broken = False
        self.pending = False

    def asked(self, mark: bytes | None = None) -> None:
        """A command is sent; `mark` is what its value is to end with. AGIUnknownError if the last one is not answered yet."""
        if self.pending:
            raise AGIUnknownError("a command is sent while another has no answer yet")
        self.pending = True
        self._mark = mark

    def plain(self, data: bytes) -> Reply | None:
        """The whole and only event of `data`, if that is the usual short answer; else `receive` has to look at it."""
        if not self.pending or self._rest or self._begun or PLAIN.fullmatch(data) is None:
            return None
        self.pending = False
        return Reply(200, data[:-1])

    def receive(self, data: bytes) -> list[Event]:
        """The events that `data` completes. AGIUnknownError if a limit is passed or the peer speaks something else."""
        if self._broken:
            raise AGIUnknownError("the stream is lost")
        try:
            return self._cut(data)
        except AGIUnknownError:
            self._broken = True
            self._rest.clear()
            self._begun.clear()
            raise

    def _cut(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        if not self._environment:
            whole = self._whole_environment(data)
            if whole is None:
                return events
            found, data = whole
            events.append(Environment(found))
            self._environment = True
        if b"\n" not in data:
            self._rest += data
        else:
            if self._rest:
                data = bytes(self._rest) + data
                self._rest.clear()
            *lines, rest = data.split(b"\n")
            self._rest += rest
            for line in lines:
                event = self._line(line)
                if event is not None:
                    events.append(event)
        if len(self._rest) + self._lines > self._max_reply:
            raise AGIUnknownError(f"a reply is longer than {self._max_reply} bytes")
        return events

    def _whole_environment(self, data: bytes) -> tuple[bytes, bytes] | None:
        """The environment and what came behind it, if `data` completes it."""
        rest = self._rest
        if not rest and data.startswith(BEGIN) and data.find(b"\n\n") == len(data) - 2 < self._max_environment:
            return data, b""  # as it comes from Asterisk, nearly always
        searched = max(0, len(rest) - 2)
        rest += data
        if rest[: len(BEGIN)] != BEGIN[: len(rest)]:
            raise AGIUnknownError("the peer does not begin with agi_: it is not Asterisk")
        found = END.search(rest, searched)
        if (found.end() if found else len(rest)) > self._max_environment:
            raise AGIUnknownError(f"the environment is longer than {self._max_environment} bytes")
        if found is None:
            return None
        whole, behind = bytes(rest[: found.end()]), bytes(rest[found.end() :])
        rest.clear()
        return whole, behind

    def _line(self, line: bytes) -> Event | None:
        """The event that one more line completes."""
        if not self._begun:
            if line.rstrip(b"\r") == HANGUP_LINE:
                self._aside()
                return Hangup.HANGUP
            if not self.pending:
                return Reply(0, line, stray=True)
            if line.startswith(b"100"):
                self._aside()
                return None
        self._begun.append(line)
        self._lines += len(line) + 1
        if not self._whole(self._begun[0], line):
            if self._lines > self._max_reply:
                raise AGIUnknownError(f"a reply is longer than {self._max_reply} bytes")
            return None
        raw = b"\n".join(self._begun) if len(self._begun) > 1 else line
        self._begun.clear()
        self._lines = 0
        self.pending = False
        return reply(raw, self._mark)

    def _aside(self) -> None:
        self._asides += 1
        if self._asides > MAX_ASIDES:
            raise AGIUnknownError(f"more than {MAX_ASIDES} lines that answer nothing")

    def _whole(self, first: bytes, last: bytes) -> bool:
        """Whether a reply that begins with the line `first` ends with the line `last`."""
        if first.startswith(b"520-"):
            return last.startswith(b"520 ")
        if not first.startswith(b"200 "):
            return True
        if self._mark is not None and b" (" in first:
            return last.rstrip(b"\r").endswith(self._mark + b")")
        opened = first.find(b" (")
        # No mark: a guess. The first line whose parenthesis is closed at its end, or before words such as `endpos=0`.
        return opened < 0 or _closed(last[opened + 2 :] if last is first else last)


def _closed(line: bytes) -> bool:
    """Whether a value ends in this line."""
    end = line.rfind(b")")
    if end < 0:
        return False
    return all(b"=" in word for word in line[end + 1 :].split())


def reply(raw: bytes, mark: bytes | None = None) -> Reply:
    """A whole reply, the mark taken off. AGIUnknownError if it begins with no code."""
    if not raw[:3].isdigit():
        raise AGIUnknownError(f"the peer's answer is none: {raw[:80]!r}")
    raw = raw.removesuffix(b"\r")
    if mark is not None and raw.endswith(mark + b")"):
        raw = raw[: -len(mark) - 1] + b")"
    return Reply(int(raw[:3]), raw)


def quote(argument: str) -> str:
    """An argument as Asterisk reads it back (`parse_args` in res_agi.c). CommandError for a line break or NUL."""
    if FORBIDDEN.intersection(argument):
        raise CommandError("an argument of an AGI command holds a line break or NUL; it is not sent")
    return '"' + argument.replace("\\", "\\\\").replace('"', '\\"') + '"'


@functools.lru_cache(64)  # our own code has some twenty
def encode_bare(command: str) -> bytes:
    """A command without arguments; CommandError as `encode`."""
    if FORBIDDEN.intersection(command):
        raise CommandError("an AGI command holds a line break or NUL; it is not sent")
    return command.encode() + b"\n"


def encode(command: str, *arguments: str | int) -> bytes:
    """A command as bytes; texts are quoted. CommandError for what Asterisk would not take as it is meant."""
    if not arguments:
        return encode_bare(command)
    if FORBIDDEN.intersection(command):
        raise CommandError("an AGI command holds a line break or NUL; it is not sent")
    if len(arguments) > MAX_ARGUMENTS:
        raise CommandError(f"{command} has {len(arguments)} arguments; Asterisk takes {MAX_ARGUMENTS}")
    words = [str(word) if isinstance(word, int) else quote(word) for word in arguments]
    try:
        line = " ".join([command, *words]).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise CommandError(f"an argument of {command} holds what is no text; it is not sent") from error
    if len(line) > MAX_COMMAND:
        raise CommandError(f"{command} has {len(line)} bytes; Asterisk takes {MAX_COMMAND}")
    return line + b"\n"
