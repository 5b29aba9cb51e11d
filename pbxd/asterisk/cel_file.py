"""A CEL file for an import: in our own columns, or in those of another `cel_custom` mapping; packed or not; in constant memory."""

from __future__ import annotations

import bz2
import csv
import gzip
import hashlib
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Any, BinaryIO

from pbxd.calls.cel import COLUMNS, parse_line
from pbxd.calls.cel_columns import SAMPLES, Columns, is_header, text
from pbxd.calls.history import Page, is_whole
from pbxd.errors import LineError, SourceError

READ = 1024 * 1024  # bytes read at once: some four thousand lines
HEAD = 256 * 1024  # bytes at the beginning in which a line must tell what the columns are
LONGEST_LINE = 1024 * 1024  # bytes; what is longer is junk, and goes on as one line
PACKERS: dict[str, Callable[[Path, str], Any]] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
FAULTS = (OSError, EOFError, lzma.LZMAError, zlib.error)  # what reading and unpacking may raise


class CelFile:
    """One file; see `History`. Its positions are byte offsets, of a packed file in what is unpacked."""

    unit = "bytes"

    def __init__(self, name: str, file: BinaryIO, size: int | None, zone: tzinfo, columns: Sequence[str] = ()) -> None:
        """SourceError if it cannot be read, or its columns cannot be told. `zone` is of times that have none."""
        self.name = name
        self._file = file
        self._size = size
        self._data = self._more(HEAD)  # read and not given out yet
        self._offset = 0  # of `_data` in the file
        lines = self._data[: self._data.rfind(b"\n") + 1].splitlines() or [self._data]
        header, self._convert = layout(name, lines, zone, columns)
        self._skip = 0 if header is None else self._data.index(header) + len(header)
        first = next((line for line in lines if line.strip() and line != header), b"")
        self.id = hashlib.sha256((header or b"") + b"\n" + first).hexdigest()[:32]

    @classmethod
    def open(cls, path: Path, zone: tzinfo, columns: Sequence[str] = ()) -> CelFile:
        """The file at `path`, unpacked as its name ends."""
        try:
            packed = PACKERS.get(path.suffix)
            file: BinaryIO = packed(path, "rb") if packed else path.open("rb")
        except FAULTS as error:
            raise SourceError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
        try:
            return cls(str(path), file, None if packed else path.stat().st_size, zone, columns)
        except BaseException:
            file.close()
            raise

    def total(self, position: str) -> int | None:
        """The size of the file; None if it is packed or a stream."""
        del position
        return self._size

    def pages(self, position: str) -> Iterator[Page]:
        """What comes behind `position`; see `History`. SourceError if the file ends before it."""
        self._seek(int(position or 0))
        while True:
            more = self._more(READ)
            data = self._data + more
            end = data.rfind(b"\n") + 1 if more else len(data)
            if not end and len(data) > LONGEST_LINE:
                end = len(data)
            self._data = data[end:]
            page = self._page(data[:end], at_end=not more)
            if page.lines or page.position != position:
                yield page
            if not more:
                return

    def _page(self, data: bytes, *, at_end: bool) -> Page:
        lines = []
        place = self._offset
        for line in data.split(b"\n"):
            if line.strip() and place >= self._skip:
                lines.append((place, line.rstrip(b"\r") if self._convert is None else self._convert(line)))
            place += len(line) + 1
        self._offset += len(data)
        last = data.rpartition(b"\n")[2]
        if at_end and lines and last.strip() and not is_whole(last.rstrip(b"\r"), lines[-1][1]):
            self._offset = lines.pop()[0]  # it is still being written: to be read when it is whole
        return Page(lines, str(self._offset), self._offset)

    def _seek(self, place: int) -> None:
        """Go to an offset; what is before it has been read in an earlier run."""
        if self._size is not None and place > self._offset + len(self._data):
            self._file.seek(place)
            self._offset, self._data = place, b""
            missing = place - self._size
        else:
            while place > self._offset + len(self._data):  # a stream, or packed: there is no way but to read it
                self._offset += len(self._data)
                self._data = self._more(READ)
                if not self._data:
                    break
            missing = place - self._offset - len(self._data)
            self._data = self._data[place - self._offset :]
            self._offset = place
        if missing > 0:
            raise SourceError(
                f"{self.name} ends {missing} bytes before the place to which it was read: it is another file with the same "
                "first line, or was shortened; --again reads it from its beginning"
            )

    def _more(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except FAULTS as error:
            raise SourceError(f"{self.name} cannot be read: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


Convert = Callable[[bytes], bytes]


def layout(
    name: str, lines: Sequence[bytes], zone: tzinfo, columns: Sequence[str]
) -> tuple[bytes | None, Convert | None]:
    """The header line if there is one, and how a line becomes one of ours; None if it is one already.

    It is that of the first line from which it can be told. SourceError if there is none.
    """
    for line in lines:
        values = split(line)
        if is_header(values):
            return line, converter(Columns(columns or values, zone))
        if columns and len(values) == len(columns):
            return None, converter(Columns(columns, zone))
        if columns or len(values) not in SAMPLES:
            continue
        if len(values) == len(COLUMNS) and is_ours(line):
            return None, None
        return None, converter(Columns(SAMPLES[len(values)], zone))
    if not any(line.strip() for line in lines):
        return None, None  # nothing there yet
    found = split(next(line for line in lines if line.strip()))
    wanted = (
        f"--columns names {len(columns)}" if columns else "name them by --columns, in their order, '-' for one to skip"
    )
    raise SourceError(f"{name}: its lines have {len(found)} columns; {wanted}")


def is_ours(line: bytes) -> bool:
    """Whether a line has our own columns and times."""
    try:
        parse_line(line)
    except LineError:
        return False
    return True


def split(line: bytes) -> list[str]:
    """The values of a line of any CSV."""
    try:
        return next(csv.reader([text(line.rstrip(b"\r\n")).replace("\0", "")]), [])
    except csv.Error:
        return []


def converter(columns: Columns) -> Convert:
    """How a line of these columns becomes one of ours. One that has another number of columns stays as it is, to be refused."""

    def convert(line: bytes) -> bytes:
        values = split(line)
        return columns.line(values) if len(values) == columns.count else line

    return convert
