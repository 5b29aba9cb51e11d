"""How an import tells of itself where there is no terminal, and what it makes of a zone."""

from __future__ import annotations

from datetime import datetime

import pytest

from pbxd.calls.history import Page
from pbxd.cli import imports
from pbxd.errors import SourceError


def test_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([0.0, 1.0, 6.0, 7.0])
    show = imports.teller("rows", 0, 60_000, lambda: next(times))
    for done in (5_000, 30_000, 35_000):
        show(done, done // 15)
    assert capsys.readouterr().err == "30,000 of 60,000 rows, 5,000 rows/s, 6 s left, 2,000 calls\n"


def test_pages_become_batches() -> None:
    size = imports.BATCH_LINES // 2
    pages = [Page([(n, b"x")] * size, str(n), n) for n in range(1, 6)]
    found = list(imports.batches(iter(pages), ""))
    assert [(len(page.lines), page.position, last) for page, last in found] == [
        (2 * size, "2", False),
        (2 * size, "4", False),
        (size, "5", True),
    ]
    assert list(imports.batches(iter([]), "7")) == [(Page([], "7", 0), True)]


def test_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    noon = datetime(2026, 7, 1, 12)  # noqa: DTZ001 - a wall clock
    assert str(noon.replace(tzinfo=imports.zone_of("Europe/Berlin")).utcoffset()) == "2:00:00"
    monkeypatch.setattr(imports, "local_zone", lambda: "Asia/Kolkata")
    assert str(noon.replace(tzinfo=imports.zone_of("")).utcoffset()) == "5:30:00"
    with pytest.raises(SourceError, match="no time zone"):
        imports.zone_of("Nowhere/Atall")
