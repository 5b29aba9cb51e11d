"""AMI's wire: bytes to messages and back, without I/O. Framing first; a header is looked for only when somebody asks for it.

A message is a run of `Name: value` lines up to an empty line. Source: Asterisk "AMI v2 Specification".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pbxd.errors import ActionError, MessageTooLarge

END = b"\r\n\r\n"
MAX_MESSAGE = 1024 * 1024  # bytes; the longest real ones are answers to Command, some ten kB
MAX_GREETING = 256  # bytes; "Asterisk Call Manager/11.0.0"
GREETING = b"Asterisk Call Manager/"
FORBIDDEN = frozenset("\r\n\0")


_NEEDLES: dict[str, bytes] = {}  # header names as they stand in a message; only our own code asks, so they are few


def _needle(name: str) -> bytes:
    return _NEEDLES.setdefault(name, b"\r\n" + name.encode() + b": ")


class Message:
    """One message, as the bytes that came. Names are matched without regard to case; text keeps bytes that are not UTF-8."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def __repr__(self) -> str:
        return f"Message({self.raw[:120]!r})"

    def get(self, name: str, default: str = "") -> str:
        """The value of the first header `name`."""
        needle = _NEEDLES.get(name) or _needle(name)
        found = self.raw.split(needle, 1)  # Asterisk writes names as documented: nearly always a hit
        if len(found) == 1:
            return self._get_any_case(name.lower().encode(), default)
        value = found[1].partition(b"\r\n")[0]
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("utf-8", "surrogateescape")

    def _get_any_case(self, name: bytes, default: str) -> str:
        for found, value in self._pairs():
            if found.lower() == name:
                return value.decode("utf-8", "surrogateescape")
        return default

    def all(self, name: str) -> list[str]:
        """The values of every header `name`, in order."""
        wanted = name.lower().encode()
        return [value.decode("utf-8", "surrogateescape") for found, value in self._pairs() if found.lower() == wanted]

    def items(self) -> list[tuple[str, str]]:
        """All headers, in order; repeated ones stand repeated."""
        return [
            (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
            for name, value in self._pairs()
        ]

    def _pairs(self) -> Iterator[tuple[bytes, bytes]]:
        for line in self.raw.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if colon:
                yield name, value.removeprefix(b" ")

    @property
    def event(self) -> str:
        """The name of the event; empty for an answer to an action."""
        return self._first(b"Event: ") if self.raw.startswith(b"Event: ") else self.get("Event")

    @property
    def response(self) -> str:
        """`Success`, `Error` or another outcome; empty for an event."""
        return self._first(b"Response: ") if self.raw.startswith(b"Response: ") else self.get("Response")

    @property
    def action_id(self) -> str:
        """The id of the action that this answers; the first, where a dialplan's UserEvent has smuggled in a second."""
        return self.get("ActionID")

    def _first(self, name: bytes) -> str:
        end = self.raw.find(b"\r\n")
        return self.raw[len(name) : end if end >= 0 else None].decode("utf-8", "surrogateescape")


class Framer:
    """Cuts the stream into messages. After MessageTooLarge the stream is lost: close it."""

    def __init__(self, max_message: int = MAX_MESSAGE) -> None:
        self.max_message = max_message
        self._rest = bytearray()
        self._searched = 0  # in `_rest`, up to here there is no end of a message

    def blocks(self, data: bytes) -> list[bytes]:
        """The raw messages that `data` completes. MessageTooLarge as soon as one passes the limit."""
        rest = self._rest
        if not rest:
            parts = data.split(END)
            last = parts.pop()
        else:
            rest += data
            if rest.find(END, max(0, self._searched - 3)) < 0:
                self._searched = len(rest)
                if len(rest) > self.max_message:
                    raise MessageTooLarge(f"a message is longer than {self.max_message} bytes")
                return []
            parts = bytes(rest).split(END)
            last = parts.pop()
            rest.clear()
        rest += last
        self._searched = len(last)
        if len(last) > self.max_message or (parts and max(map(len, parts)) > self.max_message):
            raise MessageTooLarge(f"a message is longer than {self.max_message} bytes")
        return parts

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes. MessageTooLarge as soon as one passes the limit."""
        return [Message(block) for block in self.blocks(data) if block]


def event_name(block: bytes) -> bytes:
    """The event's name in a raw message that begins with it, as every event of Asterisk does; else empty."""
    if block[:7] != b"Event: ":
        return b""
    end = block.find(b"\r\n", 7)
    return block[7:end] if end > 0 else block[7:]


def encode_action(headers: Iterable[tuple[str, str]]) -> bytes:
    """An action as bytes. ActionError for a line break or NUL anywhere: it would end the header, or begin another action."""
    lines = []
    for name, value in headers:
        if not name or ":" in name or FORBIDDEN.intersection(name) or FORBIDDEN.intersection(value):
            raise ActionError(
                f"the header {name!r} of an AMI action holds a line break, NUL or a bad name; it is not sent"
            )
        lines.append(f"{name}: {value}\r\n")
    if not lines:
        raise ActionError("an AMI action without headers is none")
    return "".join(lines).encode("utf-8", "surrogateescape") + b"\r\n"
