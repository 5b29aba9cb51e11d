"""What an import reads: a CEL file or a table of a database, page by page, each row as the line that `cel_custom` would write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pbxd.calls.cel import parse_line
from pbxd.errors import LineError


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows. A number is a line's byte offset in its file, or a row's id (or place, from 0) in its table."""

    lines: list[tuple[int, bytes]]
    position: str  # behind its last row; the source's own
    done: int  # bytes or rows of the source up to there


class History(Protocol):
    """One source. Its errors are SourceErrors that say what to do."""

    id: str  # hash; the same source has the same one tomorrow
    name: str  # as people are told; without a password
    unit: str  # of `total` and `done`: bytes or rows

    def total(self, position: str) -> int | None:
        """How much there is, from the beginning or behind `position` as `done` counts it; None if it cannot be known."""

    def pages(self, position: str) -> Iterator[Page]:
        """What comes behind `position`; empty is the beginning."""

    def close(self) -> None:
        """Give up the file or the connection."""


def is_whole(written: bytes, line: bytes) -> bool:
    """Whether a last line without its line break seems to be all of it, and not one that is being written.

    `written` is how it stands in the file, `line` is what became of it.
    """
    if written.startswith(b'"') and not written.endswith(b'"'):
        return False
    try:
        event = parse_line(line)
    except LineError:
        return False
    return not event.extra.startswith("{") or event.extra.endswith("}")
