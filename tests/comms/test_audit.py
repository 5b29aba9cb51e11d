"""The audit log: every change of it is found, refusals are in it, and what is not in it is not given out."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxd.comms.chain import START, Entry, Link, faults, link
from pbxd.comms.people import ROOT, SYSTEM, Thing
from pbxd.comms.store import Communications
from pbxd.errors import AccessRefused, CommsError
from tests.comms.conftest import PEOPLE

ANNA, CARL = PEOPLE.by_name("anna"), PEOPLE.by_name("carl")


def entry(seq: int) -> Entry:
    return Entry(seq, 1000 + seq, "anna", "user", "control", "play", "recording", f"r{seq}", True, "their own", "{}")


def chain(length: int) -> tuple[list[tuple[Entry, str]], Link]:
    rows, at = [], START
    for seq in range(1, length + 1):
        at = link(at, entry(seq))
        rows.append((entry(seq), at.hash))
    return rows, at


class TestChain:
    """Without I/O."""

    def test_a_whole_one_has_no_fault(self) -> None:
        rows, head = chain(20)
        assert list(faults(START, rows, head)) == []
        assert list(faults(START, [], START)) == []
        assert list(faults(Link(5, rows[4][1]), rows[5:], head)) == []  # after a cut

    @given(st.integers(0, 9), st.sampled_from(["who", "role", "via", "action", "kind", "subject", "reason", "detail"]))
    def test_a_changed_row(self, at: int, name: str) -> None:
        rows, head = chain(10)
        rows[at] = (replace(rows[at][0], **{name: "other"}), rows[at][1])  # type: ignore[arg-type]
        assert list(faults(START, rows, head))
        rows[at] = (replace(entry(at + 1), allowed=False), rows[at][1])
        assert list(faults(START, rows, head))

    @given(st.integers(0, 9), st.integers(0, 9))
    def test_rows_that_changed_places(self, one: int, other: int) -> None:
        rows, head = chain(10)
        rows[one], rows[other] = rows[other], rows[one]
        assert bool(list(faults(START, rows, head))) == (one != other)

    @given(st.integers(0, 9), st.integers(1, 10))
    def test_rows_that_were_cut_out(self, start: int, length: int) -> None:
        rows, head = chain(10)
        assert list(faults(START, rows[:start] + rows[start + length :], head))

    def test_a_row_made_anew_with_its_hash(self) -> None:
        rows, head = chain(10)
        forged = replace(rows[4][0], who="bert")
        rows[4] = (forged, link(Link(4, rows[3][1]), forged).hash)
        assert list(faults(START, rows, head))

    def test_names_with_anything_in_them(self) -> None:
        one = replace(entry(1), who='a","role":"x', role="y")
        other = replace(entry(1), who="a", role='x","who":"y')
        assert link(START, one) != link(START, other)


def sql(store: Communications, *statements: str) -> None:
    """What somebody with sqlite3 and the rights to the file does."""
    with closing(sqlite3.connect(store.database.path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


async def rows_of(store: Communications, **wanted: object) -> list[Entry]:
    return [entry async for entry, _ in store.audit.entries(**wanted)]  # type: ignore[arg-type]


async def test_what_is_done_and_what_is_refused_is_in_it(store: Communications) -> None:
    assert ANNA is not None
    assert CARL is not None
    thing = Thing("recording", "r1", *PEOPLE.owners(["101"]))
    await store.access.claim(ANNA, "play", thing, detail={"from": 60})
    with pytest.raises(AccessRefused, match="carl may not play recording: it is not theirs"):
        await store.access.claim(CARL, "play", thing)
    with pytest.raises(AccessRefused):
        await store.access.claim(ANNA, "hold", thing)
    found = await rows_of(store)
    assert [(row.seq, row.who, row.action, row.subject, row.allowed) for row in found] == [
        (1, "anna", "play", "r1", True),
        (2, "carl", "play", "r1", False),
        (3, "anna", "hold", "r1", False),
    ]
    assert found[0].detail == '{"from":60}'
    assert await rows_of(store, who="carl") == [found[1]]
    assert await rows_of(store, newest=2) == found[1:]
    head, count, wrong = await store.audit.verify()
    assert (head.seq, count, wrong) == (3, 3, [])


async def test_the_database_refuses_changes(store: Communications) -> None:
    await store.audit.record(ROOT, "play", "recording", "r1")
    for statement in ("UPDATE audit SET who = 'x'", "DELETE FROM audit", "DELETE FROM audit_head"):
        with pytest.raises(sqlite3.IntegrityError, match="only ever added to"):
            sql(store, statement)


@pytest.mark.parametrize(
    "crime",
    [
        "UPDATE audit SET who = 'bert' WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 3",
        "DELETE FROM audit WHERE seq > 3",
        "DELETE FROM audit",
        "UPDATE audit SET seq = -1 WHERE seq = 3",
        "INSERT INTO audit_cuts VALUES (3, 'x', 0)",
    ],
)
async def test_changes_by_force_are_found(store: Communications, crime: str) -> None:
    for n in range(5):
        await store.audit.record(ROOT, "play", "recording", f"r{n}")
    sql(store, "DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete", crime)
    _, _, wrong = await store.audit.verify()
    assert wrong


async def test_old_rows_go_and_the_chain_stays_whole(store: Communications) -> None:
    times = iter(range(1, 1000))
    store.audit._clock = lambda: next(times)
    for n in range(10):
        await store.audit.record(ROOT, "play", "recording", f"r{n}")
    assert await store.audit.cut(SYSTEM, 0) == 0
    assert await store.audit.cut(SYSTEM, 6_000_000) == 5
    assert await store.audit.cut(SYSTEM, 6_000_000) == 0
    head, count, wrong = await store.audit.verify()
    assert (head.seq, count, wrong) == (11, 6, [])
    assert [row.subject for row in await rows_of(store)] == ["r5", "r6", "r7", "r8", "r9", "5"]
    assert await store.audit.cut(SYSTEM, 999_000_000) == 6
    assert (await store.audit.verify())[1:] == (1, [])


async def test_what_cannot_be_written_down_is_not_done(store: Communications, tmp_path: Path) -> None:
    assert ANNA is not None
    sql(store, "CREATE TRIGGER broken BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(CommsError):
        await store.access.claim(ANNA, "play", Thing("recording", "r", *PEOPLE.owners(["101"])))
    assert (tmp_path / "comms").is_dir()


async def test_many_at_once_stay_in_order(store: Communications) -> None:
    import asyncio  # noqa: PLC0415

    await asyncio.gather(*(store.audit.record(ROOT, "play", "recording", f"r{n}") for n in range(50)))
    assert (await store.audit.verify())[1:] == (50, [])
