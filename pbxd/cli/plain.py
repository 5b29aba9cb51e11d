"""What a command prints is text, and nothing that acts on a terminal: callers and others choose themselves what they are called.

All of it goes through here, because it is the stream that is watched and not each listing. A control character is written as JSON
writes it, `\\u001b`: JSON stays what it was, and in a listing it is seen. `support watch`, which may move the cursor, uses `raw`.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Controls but tab and the ends of lines; marks that turn the direction of writing; halves of surrogate pairs.
ACTS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]|\r(?!\n)"
)


def plain(text: str) -> str:
    """A text without anything that acts."""
    return ACTS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def called(text: str) -> str:
    """What somebody is called, on one line: in a listing it cannot look like another line."""
    return " ".join(text.split())


class PlainText(io.TextIOWrapper):
    """A stream that is written plainly. It says to be no terminal, so that nobody colours it; its buffer says what it is."""

    def write(self, text: str) -> int:
        """How many characters of `text` were written: all."""
        super().write(plain(text))
        return len(text)

    def isatty(self) -> bool:
        """No."""
        return False


@contextmanager
def plainly() -> Iterator[None]:
    """What is printed meanwhile, by whomever, is plain."""
    kept = sys.stdout, sys.stderr
    streams = [_plain(stream) for stream in kept]
    sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        sys.stdout, sys.stderr = kept
        for stream in streams:
            stream.flush()
            stream.detach()


def _plain(stream: object) -> PlainText:
    if not isinstance(stream, io.TextIOWrapper):
        raise TypeError(f"{stream!r} is no text on a file")
    stream.flush()
    encoding = stream.encoding if "utf" in stream.encoding.lower() else "utf-8"
    return PlainText(stream.buffer, encoding, "backslashreplace", line_buffering=stream.line_buffering, newline="")


def raw(text: str) -> None:
    """Print what has been made harmless already."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()
