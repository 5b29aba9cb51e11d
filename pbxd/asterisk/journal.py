"""Tails a journal that Asterisk writes (CEL by `cel_custom`, queue_log): complete lines out, each with its place.

A journal is one live file and the parts that were rotated away beside it (`pbxd.csv`, `pbxd.csv.1`, `pbxd.csv-20261124` …).
A part is known by its first line, whose microsecond time and channel id are its own: it stays the same part when it is renamed,
copied or read again after a restart, and a file that was truncated and filled anew is another one. A last line without its
line break is left for later.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from pbxd.errors import JournalError

READ = 256 * 1024  # bytes read at once: some hundred calls
LONGEST_LINE = 1024 * 1024  # bytes; a "line" longer than that is junk, skipped and reported as one reject
HEAD = 64 * 1024  # bytes in which a first line must end


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the journal."""

    id: str  # hash of its first line
    path: Path
    size: int
    modified: float  # epoch seconds
    live: bool  # the file that Asterisk appends to now


@dataclass(frozen=True, slots=True)
class Chunk:
    """Complete lines of one part. `lines[i]` begins at `offsets[i]`; `end` is the offset behind the last."""

    part: Part
    lines: list[tuple[int, bytes]]
    end: int


class Journal:
    """The files of one journal, by the path of its live file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[
            tuple[str, int, int, int], str
        ] = {}  # (name, inode, size, changed ns) -> id, of parts at rest

    def parts(self) -> list[Part]:
        """All parts that have a first line, oldest first. JournalError if the folder cannot be read."""
        try:
            names = [entry for entry in os.scandir(self.path.parent) if self._is_part(entry.name)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise JournalError(f"{self.path.parent} cannot be read: {error.strerror}") from error
        parts: dict[str, Part] = {}
        if len(self._known) > 4 * len(names) + 64:
            self._known.clear()  # of files that are gone
        for entry in names:
            part = self._part(Path(entry.path))
            # The same part twice is a copy in the making (copytruncate): the longer one has all of it.
            if part is not None and (part.id not in parts or parts[part.id].size < part.size):
                parts[part.id] = part
        return sorted(parts.values(), key=lambda part: (part.live, part.modified, part.path.name))

    def _is_part(self, name: str) -> bool:
        own = self.path.name
        return name == own or (name.startswith((own + ".", own + "-")) and not name.endswith((".lock", ".tmp")))

    def _part(self, path: Path) -> Part | None:
        try:
            status = path.stat()
            look = (path.name, status.st_ino, status.st_size, status.st_mtime_ns)
            name = self._known.get(look) or self._identify(path)
        except FileNotFoundError:
            return None  # rotated away while we looked
        except (OSError, EOFError) as error:
            raise JournalError(f"{path} cannot be read: {error}; let the user of pbxd read it") from error
        if not name:
            return None
        if path != self.path:
            self._known[look] = name
        return Part(name, path, status.st_size, status.st_mtime, path == self.path)

    def _identify(self, path: Path) -> str:
        """The id of a part; empty while its first line is not complete."""
        with open_part(path) as file:
            first = file.readline(HEAD)
        if not first or (not first.endswith(b"\n") and len(first) < HEAD):
            return ""
        return hashlib.sha256(first).hexdigest()[:32]

    def read(self, part: Part, offset: int, limit: int = READ) -> Chunk | None:
        """The complete lines of `part` from `offset` on, about `limit` bytes of them; None if there is none."""
        if not is_packed(part.path) and part.size <= offset:
            return None
        try:
            with open_part(part.path) as file:
                file.seek(offset)
                data = file.read(limit)
                if b"\n" not in data:
                    data += file.read(LONGEST_LINE)
        except FileNotFoundError:
            return None
        except (OSError, EOFError) as error:
            raise JournalError(f"{part.path} cannot be read: {error}") from error
        return cut(part, offset, data)


class Journals:
    """Several journals that are read as one, the parts of the first before those of the next."""

    def __init__(self, *journals: Journal) -> None:
        self._journals = journals

    def parts(self) -> list[Part]:
        """All parts, those of one journal oldest first. JournalError if a folder cannot be read."""
        return [part for journal in self._journals for part in journal.parts()]

    def read(self, part: Part, offset: int, limit: int = READ) -> Chunk | None:
        """As `Journal.read`."""
        return self._journals[0].read(part, offset, limit)


def cut(part: Part, offset: int, data: bytes) -> Chunk | None:
    """The complete lines in `data`, which stands at `offset` of `part`."""
    end = data.rfind(b"\n") + 1
    if end == 0:
        if len(data) < LONGEST_LINE:
            return None
        return Chunk(part, [(offset, data)], offset + len(data))
    lines = []
    place = offset
    for line in data[: end - 1].split(b"\n"):
        if line:
            lines.append((place, line))
        place += len(line) + 1
    return Chunk(part, lines, offset + end)


def is_packed(path: Path) -> bool:
    """Whether a part was compressed, by logrotate."""
    return path.suffix == ".gz"


def open_part(path: Path) -> gzip.GzipFile:
    """The part for reading, unpacked if it is packed."""
    return gzip.open(path, "rb") if is_packed(path) else path.open("rb")  # type: ignore[return-value]


def rotate(path: Path, stamp: str) -> Path | None:
    """Rename the live file to `<name>.<stamp>`; `cel_custom` opens its file for each line and begins a new one by itself.

    None if there is none. JournalError if the folder does not let us.
    """
    target = path.with_name(f"{path.name}.{stamp}")
    count = 1
    while target.exists():
        target = path.with_name(f"{path.name}.{stamp}.{count}")
        count += 1
    try:
        path.rename(target)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(
            f"{path} cannot be rotated: {error.strerror}; let pbxd write its folder, or use logrotate"
        ) from error
    return target
