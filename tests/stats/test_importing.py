"""Batches of an import, into each kind of store: in step or refused; a commit that fails changes nothing; late lines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pbxd import importing
from pbxd.calls.interpreter import records
from pbxd.calls.record import CallRecord
from pbxd.calls.site import Site
from pbxd.errors import OutOfStep, SourceError, StoreError
from pbxd.importing import ImportBatch, Imports
from pbxd.stats.queries import CallFilter, Queries
from pbxd.stats.writer import Batch, Writer

SITE = Site(["PJSIP/trunk-*"], ["1XX"])
ID = "ab" * 16


@pytest.fixture
def lines(journals: Path) -> list[bytes]:
    data = b"".join(path.read_bytes() for path in sorted(journals.glob("*.csv")))
    return data.splitlines()


async def body(lines: list[bytes]) -> AsyncIterator[bytes]:
    for n, line in enumerate(lines):
        yield b"%d %s\n" % (n, line)


async def stored(queries: Queries) -> list[CallRecord]:
    return sorted([record async for record in queries.calls(CallFilter(limit=10_000))], key=lambda record: record.id)


def wanted(lines: list[bytes]) -> list[CallRecord]:
    return sorted({record.id: record for record in records(lines, SITE)}.values(), key=lambda record: record.id)


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_however_it_is_cut_and_whoever_goes_on(
    size: int, queries: Queries, writer: Writer, lines: list[bytes]
) -> None:
    """Each batch is taken by another Imports, which knows only what the store has."""
    lines = lines[:400] if size == 1 else lines
    after = ""
    for start in range(0, len(lines), size):
        batch = ImportBatch(ID, after, str(start + size), last=start % 3 == 0)
        done = await Imports(queries, writer, lambda: SITE).take(batch, body(lines[start : start + size]))
        after = batch.position
    done = await Imports(queries, writer, lambda: SITE).take(ImportBatch(ID, after, after, last=True), body([]))
    assert await stored(queries) == wanted(lines)
    assert (done["lines"], done["records"], done["complete"]) == (len(lines), len(wanted(lines)), True)


async def test_what_is_out_of_step_is_refused(queries: Queries, writer: Writer, lines: list[bytes]) -> None:
    imports = Imports(queries, writer, lambda: SITE)
    await imports.take(ImportBatch(ID, "", "100"), body(lines[:100]))
    for after in ("", "99", "200"):
        with pytest.raises(OutOfStep) as caught:
            await imports.take(ImportBatch(ID, after, "300"), body(lines[100:]))
        assert caught.value.position == "100"
    await imports.take(ImportBatch(ID, "100", "300", last=True), body(lines[100:]))
    assert await stored(queries) == wanted(lines)
    await imports.take(ImportBatch(ID, "", "300", last=True, again=True), body(lines))
    assert await stored(queries) == wanted(lines)
    assert (await imports.progress(ID))["lines"] == len(lines)


async def test_a_commit_that_fails_changes_nothing(
    queries: Queries, writer: Writer, lines: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    imports = Imports(queries, writer, lambda: SITE)
    await imports.take(ImportBatch(ID, "", "100"), body(lines[:100]))

    async def full(_batch: Batch) -> int:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "commit", full)
        with pytest.raises(StoreError):
            await imports.take(ImportBatch(ID, "100", "300"), body(lines[100:]))
    await imports.take(ImportBatch(ID, "100", "300", last=True), body(lines[100:]))
    assert await stored(queries) == wanted(lines)


async def test_what_is_kept_in_memory_is_bounded(queries: Queries, writer: Writer, lines: list[bytes]) -> None:
    imports = Imports(queries, writer, lambda: SITE)
    for n in range(10):
        await imports.take(ImportBatch(f"{n:016}", "", "5"), body(lines[:5]))
    assert len(imports._running) == importing.MOST_SOURCES


async def test_a_body_that_is_none_is_refused(
    queries: Queries, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    imports = Imports(queries, writer, lambda: SITE)

    async def unnumbered() -> AsyncIterator[bytes]:
        yield b"junk\n"

    with pytest.raises(SourceError, match="not with its number"):
        await imports.take(ImportBatch(ID, "", "5"), unnumbered())
    monkeypatch.setattr(importing, "LONGEST_BODY", 3)
    with pytest.raises(SourceError, match="send fewer lines"):
        await imports.take(ImportBatch(ID, "", "5"), unnumbered())
    assert (await imports.progress(ID))["position"] == ""
