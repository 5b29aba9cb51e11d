"""What people do with recordings: as the access table says, written down first, and never before its time."""

from __future__ import annotations

import io
import json
import tarfile
import wave
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from pbxd.comms.people import ROOT, Person
from pbxd.comms.schema import objects
from pbxd.comms.tar import packed
from pbxd.comms.zipping import zipped
from pbxd.errors import AccessRefused, ObjectGone, RecordingError, StillKept
from pbxd.recording.catalogue import Filter
from pbxd.recording.handover import bundle, files, whole_vault
from pbxd.recording.library import Library
from pbxd.recording.policy import Party
from pbxd.recording.retention import Keep
from pbxd.recording.segments import Recording
from pbxd.recording.stage import write_state
from pbxd.recording.unmade import UnmadeSound
from tests.comms.conftest import PEOPLE
from tests.recording.ingesting import opened
from tests.recording.spools import SECOND, START, recording, strongest

DAY = 86_400.0


def person(name: str) -> Person:
    found = PEOPLE.by_name(name)
    assert found is not None
    return found


class Office:
    """A store with recordings, and a clock that the test sets."""

    def __init__(self, folder: Path, library: Library, parts: tuple[Any, Any, Any]) -> None:
        self.folder = folder
        self.library = library
        self.store, self.catalogue, self.pipeline = parts
        self.keep = Keep()
        self.now = START / SECOND + 10
        self.store.vault.clock = lambda: self.now

    async def record(self, name: str, extension: str = "101", seconds: float = 0.2, **other: Any) -> None:
        parties = [
            {"endpoint": f"PJSIP/{extension}", "number": extension, "name": "Zoë Canary", "trunk": False},
            {"endpoint": "PJSIP/trunk-a", "number": "103", "name": "who says that it is Carl", "trunk": True},
        ]
        recording(self.folder / "spool", name, seconds, **{"parties": parties, **other})
        assert await self.pipeline.empty()

    async def names(self, who: Person, **wanted: Any) -> list[str]:
        return [one["id"] async for one in self.library.entries(who, Filter(newest_first=False, **wanted))]

    async def audit(self) -> list[tuple[str, str, str, bool]]:
        return [(row.who, row.action, row.subject, row.allowed) async for row, _ in self.store.audit.entries()]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with opened(tmp_path, "flac") as parts:
        library = Library(parts[0], parts[1], lambda: made.keep)
        made = Office(tmp_path, library, parts)
        yield made


async def test_everybody_sees_what_they_may(office: Office) -> None:
    await office.record("a1")
    await office.record("b1", "102")
    await office.record("c1", "103")
    await office.record("q1", "103", queue="sales")
    expected = {
        "anna": ["a1"], "bert": ["b1"], "carl": ["c1", "q1"], "sue": ["a1", "b1", "q1"],
        "ada": ["a1", "b1", "c1", "q1"], "otto": [],
    }  # fmt: skip
    assert {name: await office.names(person(name)) for name in expected} == expected
    assert await office.names(ROOT) == ["a1", "b1", "c1", "q1"]
    assert await office.names(Person("mallory", "nobody")) == []
    assert await office.names(ROOT, number="102") == ["b1"]
    assert await office.names(ROOT, queue="sales") == ["q1"]
    assert await office.names(ROOT, call="call-c1") == ["c1"]
    assert await office.names(ROOT, start=START + 1) == []
    assert await office.names(ROOT, limit=2) == ["a1", "b1"]
    assert await office.audit() == []


async def test_a_caller_id_makes_nobody_an_owner(office: Office) -> None:
    """The trunk's party calls itself 103, which is Carl's extension."""
    await office.record("a1")
    assert await office.names(person("carl")) == []
    with pytest.raises(AccessRefused):
        await office.library.open(person("carl"), "a1", "play", {})


async def test_played_and_refused_is_written_down(office: Office) -> None:
    await office.record("a1", seconds=3.0)
    for who, allowed in (("anna", True), ("sue", True), ("ada", False), ("otto", False), ("carl", False)):
        if allowed:
            _, file = await office.library.open(person(who), "a1", "play", {})
            assert b"".join([part async for part in office.library.sound(file)]).startswith(b"fLaC")
            assert file.closed
        else:
            with pytest.raises(AccessRefused):
                await office.library.open(person(who), "a1", "play", {})
    with pytest.raises(AccessRefused):
        await office.library.show(person("otto"), "a1")
    with pytest.raises(AccessRefused):
        await office.library.delete(person("anna"), "a1")
    assert await office.audit() == [
        ("anna", "play", "a1", True), ("sue", "play", "a1", True), ("ada", "play", "a1", False),
        ("otto", "play", "a1", False), ("carl", "play", "a1", False), ("otto", "see", "a1", False),
        ("anna", "delete", "a1", False),
    ]  # fmt: skip


async def test_one_that_is_not_there_looks_like_one_that_is_not_theirs(office: Office) -> None:
    await office.record("a1")
    said = []
    for name in ("a1", "a2"):
        with pytest.raises(AccessRefused) as caught:
            await office.library.open(person("carl"), name, "play", {})
        said.append(str(caught.value))
    assert said[0] == said[1]
    with pytest.raises(ObjectGone):
        await office.library.open(ROOT, "a2", "play", {})


async def test_from_the_middle(office: Office) -> None:
    await office.record("a1", seconds=3.0)
    _, file = await office.library.open(person("anna"), "a1", "play", {"from": 1})
    data = b"".join([part async for part in office.library.wav(file, 1.0)])
    with wave.open(io.BytesIO(data)) as sound:
        assert (sound.getnframes(), sound.getnchannels(), sound.getframerate()) == (16_000, 2, 8000)
        samples = np.frombuffer(sound.readframes(16_000), "<i2").reshape(-1, 2)
    assert strongest(samples[:, 1]) == pytest.approx(1000, abs=1)
    _, file = await office.library.open(person("anna"), "a1", "play", {})
    part = office.library.wav(file, 0.0)
    assert (await anext(part))[:4] == b"RIFF"
    await part.aclose()  # type: ignore[attr-defined]  # the listener has had enough


class TestDeletion:
    """Destroyed for good, and not before it may be."""

    async def test_it_is_gone(self, office: Office) -> None:
        await office.record("a1")
        wrapped = (await office.store.database.fetch(select(objects.c.wrapped)))[0].wrapped
        entry = await office.catalogue.find("a1")
        await office.library.delete(person("ada"), "a1")
        rest = b"".join(path.read_bytes() for path in (office.folder / "comms").rglob("*") if path.is_file())
        assert not any(wrapped[at : at + 24] in rest for at in range(60, len(wrapped) - 24, 8))
        assert not any(entry.details[at : at + 24] in rest for at in range(60, len(entry.details) - 24, 8))
        assert await office.names(ROOT) == []
        assert (await office.audit())[-1] == ("ada", "delete", "a1", True)

    async def test_a_hold(self, office: Office) -> None:
        await office.record("a1")
        with pytest.raises(ValueError, match="reason"):
            await office.library.hold(person("ada"), "a1", " ")
        with pytest.raises(AccessRefused):
            await office.library.hold(person("anna"), "a1", "mine")
        await office.library.hold(person("ada"), "a1", "case 4711")
        office.keep = Keep(longest=DAY)
        office.now += 400 * DAY
        for who in (ROOT, person("ada")):
            with pytest.raises(StillKept, match="case 4711"):
                await office.library.delete(who, "a1")
        assert await office.library.purge() == 0
        assert await office.library.make_room(1 << 62) == 0
        assert (await office.audit())[-1] == ("ada", "delete", "a1", False)
        assert await office.names(ROOT, held=True) == ["a1"]
        await office.library.release(person("ada"), "a1")
        assert await office.library.purge() == 1

    async def test_the_shortest_time(self, office: Office) -> None:
        await office.record("a1")
        office.keep = Keep(longest=DAY, shortest=30 * DAY)
        office.now += 2 * DAY
        with pytest.raises(StillKept, match=r"28\.0 more days"):
            await office.library.delete(ROOT, "a1")
        assert await office.library.purge() == 0
        assert await office.library.make_room(1 << 62) == 0
        office.now += 28.1 * DAY
        assert await office.library.purge() == 1

    async def test_classes_have_their_own_time(self, office: Office) -> None:
        await office.record("a1")
        await office.record("b1", **{"class": "complaint"})  # type: ignore[arg-type]
        office.keep = Keep(longest=10 * DAY, classes={"complaint": 100 * DAY})
        office.now += 11 * DAY
        assert await office.library.purge() == 1
        assert await office.names(ROOT) == ["b1"]
        office.keep = Keep(classes={"complaint": 5 * DAY})
        assert await office.library.purge() == 1
        rows = [row async for row, _ in office.store.audit.entries()]
        assert {(row.who, row.via, row.subject) for row in rows} == {
            ("pbxd", "retention", "a1"),
            ("pbxd", "retention", "b1"),
        }
        assert "kept until" in rows[0].detail

    async def test_a_class_that_was_changed(self, office: Office) -> None:
        """It is kept by the class that it has then, or for the shortest time if that is longer; then its key is destroyed."""
        for name in ("a1", "b1", "c1"):
            await office.record(name)
        classes = {"complaint": 5 * DAY, "order": 100 * DAY}
        office.keep = Keep(10 * DAY, classes, 8 * DAY, frozenset({"call", *classes}))
        await office.library.classify(ROOT, "a1", "complaint")
        await office.library.classify(ROOT, "b1", "order")
        assert await office.names(ROOT, kind="order") == ["b1"]
        assert (await office.library.show(ROOT, "a1"))["class"] == "complaint"
        office.now += 6 * DAY
        assert await office.library.purge() == 0
        with pytest.raises(StillKept):
            await office.library.delete(ROOT, "a1")
        office.now += 3 * DAY
        assert await office.library.purge() == 1
        assert await office.store.vault.is_shredded("a1")
        with pytest.raises(ObjectGone):
            await office.library.open(ROOT, "a1", "play", {})
        office.now += 2 * DAY
        assert await office.library.purge() == 1
        assert await office.names(ROOT) == ["b1"]
        rows = [row async for row, _ in office.store.audit.entries()]
        assert [(row.who, row.action, row.subject) for row in rows[:2]] == [
            ("root", "change", "a1"),
            ("root", "change", "b1"),
        ]
        assert json.loads(rows[0].detail) == {"class": "complaint", "was": "call"}

    async def test_a_class_is_changed_by_whom_it_may(self, office: Office) -> None:
        await office.record("a1")
        for name in ("anna", "sue"):
            with pytest.raises(AccessRefused):
                await office.library.classify(person(name), "a1", "call")
        with pytest.raises(RecordingError, match="'complain' is no class of recordings; there are call"):
            await office.library.classify(ROOT, "a1", "complain")
        assert [allowed for _, action, _, allowed in await office.audit() if action == "change"] == [False, False]

    async def test_room_is_made_by_the_oldest(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        for n in range(4):
            at = START + n * SECOND
            segments: list[Any] = []
            await office.record(f"r{n}", start=at, end=at + SECOND, segments=segments)
        usage = __import__("shutil").disk_usage(office.folder)
        left = iter([0, 0, 10_000])
        monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=next(left)))
        assert await office.library.make_room(5000) == 2
        assert await office.names(ROOT) == ["r2", "r3"]


class TestExport:
    """A request for access: all of it, or a refusal."""

    async def content(self, office: Office, who: Person, numbers: set[str]) -> zipfile.ZipFile:
        found = await bundle(office.library, who, "x", frozenset(numbers), claimed=True)
        return zipfile.ZipFile(io.BytesIO(b"".join([part async for part in zipped(files(office.library, found, "x"))])))

    async def test_it_is_complete(self, office: Office) -> None:
        for n in range(3):
            await office.record(f"a{n}")
        await office.record("b1", "102")
        with await self.content(office, person("anna"), {"101"}) as made:
            assert made.testzip() is None
            index = json.loads(made.read("index.json"))
            assert [one["id"] for one in index["recordings"]] == ["a0", "a1", "a2"]
            for one in index["recordings"]:
                assert made.read(one["file"]).startswith(b"fLaC")
                assert one["parties"][0]["name"] == "Zoë Canary"
                assert json.loads(made.read(one["file"].replace(".flac", ".json"))) | {"file": one["file"]} == one
        assert [(who, action) for who, action, _, _ in await office.audit()] == [("anna", "export")] * 3

    async def test_what_is_not_yet_stored_is_named(self, office: Office) -> None:
        """A call that goes on, one that waits, and one of which nothing can be read; not the call of others."""
        spool = office.folder / "spool"
        office.library.unmade = UnmadeSound(office.store, office.catalogue, [spool])
        await office.record("a0")
        for name, number in (("1.1", "101"), ("1.2", "102")):
            parties = {f"PJSIP/{number}": Party(f"PJSIP/{number}", number, trunk=False)}
            write_state(spool, Recording(name, f"call-{name}", START, parties=parties))
        recording(spool, "1.3")
        (spool / "1.4").mkdir()
        found = await bundle(office.library, person("anna"), "anna", frozenset({"101"}), claimed=False)
        assert [entry.id for entry in found.entries] == ["a0"]
        told = {one.id: (one.call, one.start, one.known) for one in found.missing}
        assert told == {"1.1": ("call-1.1", START, True), "1.3": ("call-1.3", START, True), "1.4": ("", None, False)}

    async def test_what_cannot_be_read_is_told(self, office: Office) -> None:
        await office.record("a0")
        await office.record("a1")
        office.store.vault.path("a0").write_bytes(b"x")
        with await self.content(office, ROOT, {"101"}) as made:
            index = json.loads(made.read("index.json"))["recordings"]
        assert "does not decrypt" in index[0]["error"]
        assert index[1]["file"].endswith("a1.flac")

    @pytest.mark.parametrize("who", ["ada", "carl", "sue", "otto"])
    async def test_it_is_refused(self, office: Office, who: str) -> None:
        await office.record("a0")
        with pytest.raises(AccessRefused):
            await office.library.export(person(who), "anna", frozenset({"101"}))
        with pytest.raises(AccessRefused):  # nor may they know whether there is something
            await office.library.export(person(who), "x", frozenset({"999"}))
        assert [(action, allowed) for _, action, _, allowed in await office.audit()] == [("export", False)] * 2

    async def test_the_whole_vault(self, office: Office) -> None:
        await office.record("a0")
        (recording(office.folder / "spool", "bad") / "0.tx.wav").write_bytes(b"no sound at all, but kept")
        await office.pipeline.empty()
        content = b"".join([part async for part in packed(whole_vault(office.store, [office.catalogue.facts]))])
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            assert tar.getnames() == ["recording/a0", "recording/a0.json", "damaged/bad", "errors.json"]
            sound = tar.extractfile("recording/a0")
            assert sound is not None
            assert sound.read(4) == b"fLaC"
