"""The vault: what is put is there after a kill, what is shredded is nowhere, and a copy without the key tells nothing."""

from __future__ import annotations

import base64
import io
import math
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import Column, LargeBinary, String, Table, insert, select

from pbxd.comms import age, keys, upkeep
from pbxd.comms.schema import Part, metadata, objects
from pbxd.comms.store import Communications
from pbxd.errors import CommsBusy, CommsError, ObjectDamaged, ObjectGone, StoreKeyError
from tests.comms.conftest import open_store, settings
from tests.stats.debian import install

CANARY = "The canary sings at Märchenschloss 4711"

notes = Table("test_notes", metadata, Column("id", String, primary_key=True), Column("body", LargeBinary))
NOTES = Part("test_notes", (notes,), sealed=(notes.c.body,))


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


async def wrapped_key(store: Communications, name: str) -> bytes:
    return bytes((await store.database.fetch(select(objects.c.wrapped).where(objects.c.id == name)))[0].wrapped)


async def test_what_is_put_is_read(store: Communications) -> None:
    data = bytes(range(256)) * 1000
    stored = await store.vault.put("a", "recording", io.BytesIO(data))
    assert (stored.length, stored.kind) == (len(data), "recording")
    assert await store.vault.read("a") == data
    with await store.vault.open("a") as file:
        file.seek(100_000)
        assert file.read(16) == data[100_000:100_016]
    assert await store.vault.put("a", "recording", b"other") == stored  # an id is put once
    assert await store.vault.read("a") == data
    await store.vault.put("empty", "recording", b"")
    assert await store.vault.read("empty") == b""


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "x" * 65, "a\n"])
async def test_what_is_no_id_is_refused(store: Communications, name: str) -> None:
    with pytest.raises(ValueError, match="no id"):
        await store.vault.put(name, "recording", b"x")


async def test_only_one_may_write(store: Communications, tmp_path: Path) -> None:
    with pytest.raises(CommsBusy):
        await open_store(tmp_path)
    assert not store.vault.erase_pending


async def test_files_are_nobody_elses(store: Communications, tmp_path: Path) -> None:
    await store.vault.put("a", "recording", b"x")
    assert (tmp_path / "comms").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "keys" / "comms.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert store.vault.path("a").stat().st_mode & 0o777 == 0o600


async def test_a_row_of_the_caller_is_committed_with_the_object(tmp_path: Path) -> None:
    store = await open_store(tmp_path, [NOTES])

    async def also(connection: object) -> None:
        await connection.execute(insert(notes).values(id="n", body=store.vault.seal(CANARY.encode())))  # type: ignore[attr-defined]

    async def fails(_connection: object) -> None:
        raise CommsError("no")

    await store.vault.put("a", "recording", b"x", also)
    with pytest.raises(CommsError):
        await store.vault.put("b", "recording", b"x", fails)
    assert await store.vault.find("b") is None
    assert CANARY.encode() not in everything(tmp_path / "comms")
    recipient = store.vault.key.recipient
    assert (await upkeep.rekey(store))["resealed"] == 2
    body = (await store.database.fetch(select(notes.c.body)))[0].body
    assert store.vault.unseal(body).decode() == CANARY
    assert await store.vault.read("a") == b"x"
    await store.close()
    store = await open_store(tmp_path, [NOTES])
    assert store.vault.key.recipient != recipient
    assert await store.vault.read("a") == b"x"
    await store.vault.set_aside("b") if "b" in store.recovered.unknown else pytest.fail("b was not found")
    assert (await upkeep.verify(store)).faults == []
    await store.close()


async def test_rekey_leaves_nothing_of_the_old_key(store: Communications, tmp_path: Path) -> None:
    for n in range(700):  # more than a page
        await store.vault.put(f"o{n}", "recording", b"x")
    old = [await wrapped_key(store, f"o{n}") for n in range(700)]
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "comms" / "objects").rglob("*.age")}
    assert (await upkeep.rekey(store))["resealed"] == 700
    rest = everything(tmp_path / "comms")
    assert not any(value in rest for value in old)
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "comms" / "objects").rglob("*.age")}
    assert await store.vault.read("o699") == b"x"
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["comms.key"]


@pytest.mark.parametrize("committed", [False, True])
async def test_a_rekey_that_was_killed(tmp_path: Path, *, committed: bool) -> None:
    store = await open_store(tmp_path)
    await store.vault.put("a", "recording", b"x")
    key = tmp_path / "keys" / "comms.key"
    before = key.read_bytes()
    if committed:
        await upkeep.rekey(store)
        key.rename(key.with_name("comms.key.new"))  # as it is before the last step
        key.write_bytes(before)
        key.chmod(0o600)
    else:
        keys.stage(store.vault.key)
    await store.close()
    store = await open_store(tmp_path)
    assert await store.vault.read("a") == b"x"
    assert [path.name for path in key.parent.iterdir()] == ["comms.key"]
    assert (key.read_bytes() == before) is not committed
    await store.close()


class TestKey:
    """The store does not begin with a wrong key, and never makes a second one."""

    async def start(self, folder: Path) -> str:
        with pytest.raises(StoreKeyError) as caught:
            await open_store(folder)
        return str(caught.value)

    async def test_faults(self, tmp_path: Path) -> None:
        await (await open_store(tmp_path)).close()
        key = settings(tmp_path).key_file
        good = key.read_text()
        key.chmod(0o644)
        assert "chmod 600" in await self.start(tmp_path)
        key.chmod(0o600)
        key.write_text("nothing\n")
        assert "no age identity" in await self.start(tmp_path)
        key.write_text(good + good)
        assert "2 keys" in await self.start(tmp_path)
        key.unlink()
        assert "bring the key back" in await self.start(tmp_path)
        assert not key.exists()
        await (await open_store(tmp_path / "other")).close()
        key.write_text(settings(tmp_path / "other").key_file.read_text())
        key.chmod(0o600)
        assert "the store was made with" in await self.start(tmp_path)
        key.write_text(good)
        await (await open_store(tmp_path)).close()

    async def test_it_is_not_kept_in_the_store(self, tmp_path: Path) -> None:
        with pytest.raises(StoreKeyError, match="within comms"):
            await Communications.open(
                settings(tmp_path).__class__(tmp_path, tmp_path / "k"),
                lambda: None,  # type: ignore[arg-type, return-value]  # nobody asks
            )

    async def test_a_credential(self, tmp_path: Path) -> None:
        credentials = tmp_path / "credentials"
        credentials.mkdir()
        (credentials / "comms-key").write_text(age.new_identity())
        plain = settings(tmp_path)
        given = plain.__class__(plain.folder, plain.key_file, credentials)
        store = await Communications.open(given, lambda: None)  # type: ignore[arg-type, return-value]
        assert not plain.key_file.exists()
        with pytest.raises(StoreKeyError, match="credential"):
            await upkeep.rekey(store)
        await store.close()

    def test_it_is_not_shown(self, tmp_path: Path) -> None:
        key = keys.find(tmp_path / "comms.key", None, None)
        assert "SECRET" not in repr(key)


class TestShred:
    """What was deleted is gone: its key is nowhere, in no file of the store."""

    async def test_the_key_is_nowhere(self, store: Communications, tmp_path: Path) -> None:
        for n in range(60):
            await store.vault.put(f"o{n:02}", "recording", f"{CANARY} {n}".encode())
        gone = {f"o{n:02}": await wrapped_key(store, f"o{n:02}") for n in range(0, 60, 2)}
        paths = [store.vault.path(name) for name in gone]
        assert all(value in everything(tmp_path / "comms") for value in gone.values())
        for name in gone:
            await store.vault.shred(name)
        rest = everything(tmp_path / "comms")
        for value in gone.values():
            for at in range(0, len(value) - 24, 24):  # not even a piece of one
                assert value[at : at + 24] not in rest or value[at : at + 24] in b"age-encryption.org/v1\n-> X25519 "
        assert not any(path.exists() for path in paths)
        with pytest.raises(ObjectGone):
            await store.vault.read("o00")
        with pytest.raises(ObjectGone):
            await store.vault.shred("o00")
        with pytest.raises(ObjectGone, match="does not come back"):
            await store.vault.put("o00", "recording", b"again")
        assert (await store.vault.read("o01")).decode() == f"{CANARY} 1"

    async def test_a_file_that_outlived_its_key(self, tmp_path: Path) -> None:
        store = await open_store(tmp_path)
        await store.vault.put("a", "recording", b"x")
        path = store.vault.path("a")
        data = path.read_bytes()
        await store.vault.shred("a")
        await store.close()
        path.write_bytes(data)  # as if killed between the two
        store = await open_store(tmp_path)
        assert (store.recovered.shredded, store.recovered.unknown) == (1, [])
        assert not path.exists()
        await store.close()


class TestVerify:
    """Every fault is found, and told."""

    async def test_it_finds_what_is_wrong(self, store: Communications, tmp_path: Path) -> None:
        for name in ("good", "flipped", "cut", "missing", "swapped", "other"):
            await store.vault.put(name, "recording", CANARY.encode() * 5000)
        path = store.vault.path
        assert (await upkeep.verify(store)).faults == []
        data = bytearray(path("flipped").read_bytes())
        data[5000] ^= 1
        path("flipped").write_bytes(data)
        path("cut").write_bytes(path("cut").read_bytes()[:-20])
        path("missing").unlink()
        path("swapped").write_bytes(path("other").read_bytes())
        stray = tmp_path / "comms" / "objects" / "00" / "stray.age"
        stray.parent.mkdir(exist_ok=True)
        stray.write_bytes(b"x")
        verdict = await upkeep.verify(store)
        assert verdict.objects == 6
        assert sorted(fault.split(":")[0] for fault in verdict.faults) == [
            "cut", "flipped", "missing", "stray", "swapped",
        ]  # fmt: skip
        for name in ("flipped", "cut", "swapped"):
            with pytest.raises(ObjectDamaged):
                await store.vault.read(name)
        with pytest.raises(ObjectGone):
            await store.vault.read("missing")

    async def test_a_start_finds_it_too(self, tmp_path: Path) -> None:
        store = await open_store(tmp_path)
        await store.vault.put("a", "recording", b"x")
        await store.vault.put("b", "recording", b"x")
        store.vault.path("b").unlink()
        half = store.vault.scratch("c")
        half.parent.mkdir(exist_ok=True)
        half.write_bytes(b"half of it")
        await store.close()
        store = await open_store(tmp_path)
        assert (store.recovered.unfinished, store.recovered.missing) == (1, ["b"])
        assert not half.exists()
        await store.close()


def entropy(data: bytes) -> float:
    """Bits a byte."""
    return -sum(n / len(data) * math.log2(n / len(data)) for n in Counter(data).values())


async def test_P3_a_stolen_copy_tells_nothing(tmp_path: Path) -> None:
    """Without the key, a copy of the store has no word of what it holds, in no writing, and looks like noise."""
    store = await open_store(tmp_path, [NOTES])
    tone = b"".join(round(8000 * math.sin(n / 3)).to_bytes(2, "little", signed=True) for n in range(40_000))
    await store.vault.put("r1", "recording", tone)
    await store.vault.put("r2", "recording", CANARY.encode() * 1000)

    async def note(connection: object) -> None:
        await connection.execute(insert(notes).values(id="n", body=store.vault.seal(CANARY.encode())))  # type: ignore[attr-defined]

    await store.database.run("a note", note)
    objects_there = [store.vault.path("r1"), store.vault.path("r2")]
    stolen = everything(tmp_path / "comms")
    secret = store.vault.key.identity
    await store.close()
    stolen += everything(tmp_path / "comms")
    for word in (CANARY, "canary sings", "Märchenschloss", secret, "AGE-SECRET-KEY"):
        for writing in (word.encode(), word.encode("utf-16-le"), word.encode("utf-16-be"), word.encode("latin-1")):
            assert writing not in stolen
            for shift in range(3):
                assert len(piece := base64.b64encode(b"x" * shift + writing)[4:-4]) >= 4
                assert piece not in stolen
    assert tone[2000:2032] not in stolen
    for path in objects_there:
        assert entropy(path.read_bytes()) > 7.98


async def test_the_age_tool_can_read_it(store: Communications, tmp_path: Path) -> None:
    """Years later, without pbxd: the key and two runs of Debian's age are enough."""
    install("age", lambda: shutil.which("age") is not None)
    await store.vault.put("a", "recording", CANARY.encode())
    wrapped = tmp_path / "wrapped"
    wrapped.write_bytes(await wrapped_key(store, "a"))
    command = ["age", "-d", "-i", str(settings(tmp_path).key_file), str(wrapped)]
    identity = tmp_path / "identity"
    identity.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    command = ["age", "-d", "-i", str(identity), str(store.vault.path("a"))]
    assert subprocess.run(command, capture_output=True, check=True).stdout.decode() == CANARY
