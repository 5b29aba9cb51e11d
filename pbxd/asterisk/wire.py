"""AMI's wire: bytes to messages and back, without I/O. Framing first; a header is looked for only when somebody asks for it.

A message is a run of `Name: value` lines up to an empty line. Source: Asterisk "AMI v2 Specification".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pbxd.errors import ActionError, MessageTooLarge

EOL = b"\r\n"
END = b"\r\n\r\n"
EVENT = b"Event: "
RESPONSE = b"Response: "
MAX_MESSAGE = 1024 * 1024  # bytes; the longest real ones are answers to Command, some ten kB
MAX_GREETING = 256  # bytes; "Asterisk Call Manager/11.0.0"
MAX_LINE = (
    1022  # bytes of an action's line; Asterisk's buffer takes 1,024 with the line break, and answers twice to more
)
GREETING = b"Asterisk Call Manager/"
FORBIDDEN = frozenset("\r\n\0")


_NEEDLES: dict[str, bytes] = {}  # header names as they stand in a message; only our own code asks, so they are few


def text(value: bytes) -> str:
    """Bytes from the wire as text; what is not UTF-8 survives the way back."""
    return value.decode("utf-8", "surrogateescape")


class Message:
    """One message, as the bytes that came. Names are matched without regard to case; text keeps bytes that are not UTF-8."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def __repr__(self) -> str:
        return f"Message({self.raw[:120]!r})"

    def get(self, name: str, default: str = "") -> str:
        """The value of the first header that is written `name`, or else of the first that differs in case only."""
        try:
            needle = _NEEDLES[name]
        except KeyError:
            needle = _NEEDLES.setdefault(name, f"\r\n{name}: ".encode())
        _, found, rest = self.raw.partition(needle)
        if not found:  # Asterisk writes names as documented: this is rare
            return self._get_any_case(name.lower().encode(), default)
        value = rest.partition(EOL)[0]
        try:
            return value.decode()  # a tenth of the whole faster than with an error handler
        except UnicodeDecodeError:
            return text(value)

    def _get_any_case(self, name: bytes, default: str) -> str:
        if name + b":" in self.raw.lower():  # the usual reason for being here is that it is not there at all
            for found, value in self._pairs():
                if found.lower() == name:
                    return text(value)
        return default

    def all(self, name: str) -> list[str]:
        """The values of every header `name`, in order."""
        wanted = name.lower().encode()
        return [text(value) for found, value in self._pairs() if found.lower() == wanted]

    def items(self) -> list[tuple[str, str]]:
        """All headers, in order; repeated ones stand repeated. A line without a colon is none."""
        return [(text(name), text(value)) for name, value in self._pairs()]

    def _pairs(self) -> Iterator[tuple[bytes, bytes]]:
        for line in self.raw.split(EOL):
            name, colon, value = line.partition(b":")
            if colon:
                yield name, value.removeprefix(b" ")

    @property
    def event(self) -> str:
        """The name of the event; empty for an answer to an action."""
        return text(event_name(self.raw)) if self.raw.startswith(EVENT) else self.get("Event")

    @property
    def response(self) -> str:
        """`Success`, `Error` or another outcome; empty for an event."""
        if self.raw.startswith(RESPONSE):
            return text(self.raw.split(EOL, 1)[0][len(RESPONSE) :])
        return "" if self.raw.startswith(EVENT) else self.get("Response")  # events may have a header of that name

    @property
    def action_id(self) -> str:
        """The id of the action that this answers; the first, where a dialplan's UserEvent has smuggled in a second."""
        return self.get("ActionID")


class Framer:
    """Cuts the stream into messages, in time that grows with the bytes only. After MessageTooLarge it is of no use any more.

    It never holds more than `max_message` bytes and one read.
    """

    def __init__(self, max_message: int = MAX_MESSAGE) -> None:
        self.max_message = max_message
        self._rest = bytearray()  # of a message whose end has not come yet
        self._searched = 0  # in `_rest`, up to here there is no end of a message
        self._broken = False

    def blocks(self, data: bytes) -> list[bytes]:
        """The raw messages that `data` completes. MessageTooLarge as soon as one passes the limit, and for ever after."""
        if self._broken:
            raise MessageTooLarge("the stream is lost since a message passed the limit")
        rest = self._rest
        if not rest:
            parts = data.split(END)
        else:
            rest += data
            if rest.find(END, max(0, self._searched - 3)) < 0:
                self._searched = len(rest)
                if len(rest) > self.max_message:
                    self._give_up()
                return []
            parts = bytes(rest).split(END)
            rest.clear()
        last = parts.pop()
        rest += last
        self._searched = len(last)
        if len(last) > self.max_message or (parts and max(map(len, parts)) > self.max_message):
            self._give_up()
        return parts

    def _give_up(self) -> None:
        self._broken = True
        self._rest.clear()
        raise MessageTooLarge(f"a message is longer than {self.max_message} bytes")

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes. MessageTooLarge as soon as one passes the limit."""
        return [Message(block) for block in map(unpadded, self.blocks(data)) if block]


def unpadded(block: bytes) -> bytes:
    """A block without the empty lines that some actions of Asterisk write too many."""
    return block.lstrip(EOL) if block.startswith(EOL) else block


def event_name(block: bytes) -> bytes:
    """The event's name in a raw message that begins with it, as every event of Asterisk does; else empty."""
    if not block.startswith(EVENT):
        return b""
    end = block.find(EOL)
    return block[len(EVENT) : end] if end >= 0 else block[len(EVENT) :]


def encode_action(headers: Iterable[tuple[str, str]]) -> bytes:
    """An action as bytes. ActionError for what Asterisk would not take as it is meant.

    A line break or NUL anywhere would end the header or begin another action; a line of more than MAX_LINE bytes is refused by
    Asterisk with two answers; text that has no bytes (a lone surrogate) cannot be sent.
    """
    lines = [_encode_header(name, value) for name, value in headers]
    if not lines:
        raise ActionError("an AMI action without headers is none")
    return b"".join(lines) + EOL


def _encode_header(name: str, value: str) -> bytes:
    if not name or ":" in name or FORBIDDEN.intersection(name) or FORBIDDEN.intersection(value):
        raise ActionError(f"the header {name!r} of an AMI action holds a line break, NUL or a bad name; it is not sent")
    try:
        line = f"{name}: {value}".encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ActionError(f"the header {name!r} of an AMI action holds what is no text; it is not sent") from error
    if len(line) > MAX_LINE:
        raise ActionError(f"the header {name!r} of an AMI action has {len(line)} bytes; Asterisk takes {MAX_LINE}")
    return line + EOL
