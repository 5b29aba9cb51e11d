"""CEL files of any mapping, packed or not: the lines are those of the journal, from wherever the reading goes on."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC
from pathlib import Path

import pytest

from pbxd.asterisk import cel_file
from pbxd.asterisk.cel_file import CelFile
from pbxd.calls.cel import COLUMNS, parse_line
from pbxd.calls.cel_columns import SAMPLES, known
from pbxd.errors import SourceError


@pytest.fixture
def journal(journals: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(journals.glob("*.csv")))


def remapped(journal: bytes, names: Sequence[str], *, header: bool = False) -> bytes:
    """The journal in other columns, in the order of `names`."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    if header:
        table.writerow(names)
    for line in journal.splitlines():
        event = dict(zip(COLUMNS, csv.reader([line.decode()]).__next__(), strict=True))
        table.writerow([event.get(known(name), "My Literal") for name in names])
    return text.getvalue().encode()


def read(path: Path, columns: Sequence[str] = (), position: str = "") -> list[bytes]:
    file = CelFile.open(path, UTC, columns)
    try:
        return [line for page in file.pages(position) for _, line in page.lines]
    finally:
        file.close()


def events(lines: Sequence[bytes]) -> list[object]:
    return [parse_line(line) for line in lines]


@pytest.mark.parametrize(
    ("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress)]
)
def test_packed_or_not_and_from_any_place(
    suffix: str, pack: Callable[[bytes], bytes], tmp_path: Path, journal: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cel_file, "READ", 20_000)
    monkeypatch.setattr(cel_file, "HEAD", 3000)
    path = tmp_path / f"cel.csv{suffix}"
    path.write_bytes(pack(journal))
    file = CelFile.open(path, UTC)
    pages = list(file.pages(""))
    file.close()
    whole = [line for page in pages for _, line in page.lines]
    assert whole == journal.splitlines()
    assert all(journal[place : place + len(line)] == line for page in pages for place, line in page.lines)
    for page in pages:
        assert read(path, position=page.position) == journal[int(page.position) :].splitlines()
    assert pages[-1].position == str(len(journal))


@pytest.mark.parametrize("count", [20, 21])
def test_the_samples_of_cel_custom(count: int, tmp_path: Path, journal: bytes) -> None:
    path = tmp_path / "Master.csv"
    path.write_bytes(remapped(journal, SAMPLES[count]))
    assert events(read(path)) == events(journal.splitlines())


def test_the_advanced_sample(tmp_path: Path, journal: bytes) -> None:
    path = tmp_path / "cel_master_advanced.csv"
    path.write_bytes(remapped(journal, SAMPLES[24]))
    assert events(read(path)) == events(journal.splitlines())


def test_a_header_names_the_columns(tmp_path: Path, journal: bytes) -> None:
    names = ("id", *reversed(COLUMNS))
    path = tmp_path / "export.csv"
    path.write_bytes(remapped(journal, names, header=True))
    assert events(read(path)) == events(journal.splitlines())
    other = tmp_path / "other.csv"
    other.write_bytes(remapped(journal[journal.index(b"\n") + 1 :], names, header=True))
    with closing(CelFile.open(path, UTC)) as one, closing(CelFile.open(other, UTC)) as two:
        ids = {one.id, two.id}
    assert len(ids) == 2  # the same header does not make two files one


def test_columns_can_be_named(tmp_path: Path, journal: bytes) -> None:
    names = ("-", *reversed(COLUMNS), "-", "-")
    path = tmp_path / "export.csv"
    path.write_bytes(remapped(journal, names))
    with pytest.raises(SourceError, match="have 23 columns; name them by --columns"):
        read(path)
    with pytest.raises(SourceError, match="have 23 columns; --columns names 2"):
        read(path, ["a", "b"])
    assert events(read(path, names)) == events(journal.splitlines())


def test_a_last_line_is_read_when_it_is_whole(tmp_path: Path, journal: bytes) -> None:
    path = tmp_path / "cel.csv"
    lines = journal.splitlines(keepends=True)
    torn = next(n for n, line in enumerate(lines) if b'"{""bridge' in line)
    whole = b"".join(lines[: torn + 1])
    for end in range(len(whole) - len(lines[torn]) + 1, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert read(path) == whole.splitlines()[:-1], whole[:end][-60:]
    path.write_bytes(whole[:-1])
    assert read(path) == whole.splitlines()
    position = str(len(whole) - 1)
    path.write_bytes(journal)
    assert read(path, position=position) == journal.splitlines()[torn + 1 :]


def test_junk_is_given_as_it_is(tmp_path: Path, journal: bytes) -> None:
    path = tmp_path / "cel.csv"
    path.write_bytes(b"junk,1\n\n" + journal + b"\xff\n")
    assert read(path) == [b"junk,1", *journal.splitlines(), b"\xff"]


def test_a_file_that_was_shortened_is_refused(tmp_path: Path, journal: bytes) -> None:
    for name, data in (("cel.csv", journal[:5000]), ("cel.csv.gz", gzip.compress(journal[:5000]))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SourceError, match="ends 1000 bytes before"):
            read(tmp_path / name, position="6000")


@pytest.mark.parametrize("name", ["none.csv", "broken.csv.gz", "broken.csv.xz", "."])
def test_what_cannot_be_read(name: str, tmp_path: Path) -> None:
    if name.startswith("broken"):
        (tmp_path / name).write_bytes(b"not packed at all")
    with pytest.raises(SourceError, match="cannot be read"):
        read(tmp_path / name)


def test_an_empty_file_has_nothing(tmp_path: Path) -> None:
    (tmp_path / "cel.csv").touch()
    assert read(tmp_path / "cel.csv") == []
