"""The archive, on real files: nothing is lost or doubled wherever it is killed; what is held stays; what is destroyed is gone."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest

from pbxd.comms import upkeep
from pbxd.comms.people import ROOT
from pbxd.errors import SpoolError, StillKept
from pbxd.voicemail.archive import ARCHIVED, KEPT
from pbxd.voicemail.spool import Box, parse_text
from tests.voicemail.keeper import DAY, Keeping, keep_once, keeping, rules
from tests.voicemail.messages import put, text

BOX, OTHER = Box("default", "101"), Box("default", "102")
LONG_AGO = 1_700_000_000
CANARY = b"RIFF" + b"the voice of a canary bird, and no other" * 40


def spooled(folder: Path) -> list[str]:
    """What lies in the spool, by its sound."""
    return sorted(path.read_bytes()[-1:].decode() for path in (folder / "voicemail").rglob("msg*.wav"))


async def archived(made: Keeping) -> dict[str, bytes]:
    return {row.message: await made.archive_sound(row) async for row in made.upkeep.archive.entries(state=ARCHIVED)}


def lay(folder: Path, name: str, *, number: int = 0, where: str = "Old", when: int = LONG_AGO) -> None:
    put(folder / "voicemail", name, number=number, folder=where, when=when, sound=CANARY + name[-1:].encode())


async def test_what_was_heard_and_is_old_goes_into_the_archive(tmp_path: Path, exchange: int) -> None:
    lay(tmp_path, "id-a")
    lay(tmp_path, "id-b", number=1)
    lay(tmp_path, "id-n", where="INBOX")
    async with keeping(tmp_path, exchange, rules()) as made:
        lay(tmp_path, "id-y", number=2, when=int(made.store.vault.clock()))
        await made.look()
        assert made.upkeep.last_error == ""
        assert await archived(made) == {"id-a": CANARY + b"a", "id-b": CANARY + b"b"}
        assert spooled(tmp_path) == ["n", "y"]  # nobody has heard the one, and the other is young
        (first, second) = await made.mailboxes.archived(ROOT, BOX)
        assert {first["id"], second["id"]} == {"id-a", "id-b"}
        assert (first["caller"], first["caller_name"], first["folder"]) == ("121", "Phone 121", "Old")
        sound = await made.mailboxes.sound(ROOT, BOX, "id-a", download=False)
        assert (sound.format, sound.data) == ("wav", CANARY + b"a")
        with pytest.raises(SpoolError, match="in the archive"):
            await made.mailboxes.mark(ROOT, BOX, "id-a", read=False)
        assert (await upkeep.verify(made.store)).faults == []
        assert CANARY[:20] not in plain_of(tmp_path / "comms")
        assert b"Phone 121" not in plain_of(tmp_path / "comms")


def plain_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


async def test_an_asterisk_that_is_away_leaves_each_message_once(tmp_path: Path, exchange: int) -> None:
    lay(tmp_path, "id-a")
    async with keeping(tmp_path, 0, rules()) as made:
        await made.look()
        assert "no AMI session" in made.upkeep.last_error
        assert [message["id"] for message in await made.mailboxes.spooled(ROOT, BOX, "")] == ["id-a"]
        assert await made.mailboxes.archived(ROOT, BOX) == []
    async with keeping(tmp_path, exchange, rules()) as made:
        await made.look()
        assert made.upkeep.last_error == ""
        assert list(await archived(made)) == ["id-a"]
        assert spooled(tmp_path) == []


def prepared(folder: Path) -> None:
    """A store that is there already, and two messages to archive."""
    asyncio.run(keep_once(folder, 0, 0, 0))
    lay(folder, "id-a")
    lay(folder, "id-b", number=1)


def forked(folder: Path, ami_port: int, step: int) -> int:
    """One look at everything in a process of its own, a fork of this one; how it ended."""
    child = os.fork()
    if not child:
        try:
            asyncio.run(keep_once(folder, ami_port, 0, step))
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


async def settled(folder: Path, ami_port: int) -> None:
    """After one more look each message is in the archive, once, and nowhere else."""
    async with keeping(folder, ami_port, rules()) as made:
        await made.look()
        assert made.upkeep.last_error == ""
        rows = [(row.message, row.state) async for row in made.upkeep.archive.entries()]
        assert sorted(rows) == [("id-a", ARCHIVED), ("id-b", ARCHIVED)]
        assert await archived(made) == {"id-a": CANARY + b"a", "id-b": CANARY + b"b"}
        verdict = await upkeep.verify(made.store)
        assert (verdict.objects, verdict.faults, verdict.orphans) == (2, [], 0)
    assert spooled(folder) == []


def test_killed_at_each_step_nothing_is_lost_or_doubled(tmp_path: Path, exchange: int) -> None:
    """Each change of a file and each commit is once the last one; the look after it makes all right."""
    prepared(tmp_path)
    for place in ("voicemail", "comms", "keys"):
        shutil.copytree(tmp_path / place, tmp_path / "before" / place)
    for step in range(1, 40):
        for place in ("voicemail", "comms", "keys"):
            shutil.rmtree(tmp_path / place)
            shutil.copytree(tmp_path / "before" / place, tmp_path / place)
        ended = forked(tmp_path, exchange, step)
        asyncio.run(settled(tmp_path, exchange))
        if ended == 0:
            assert step > 8
            return
        assert ended == -signal.SIGKILL
    pytest.fail("it never came to its end")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_while_asterisk_takes_it_out(tmp_path: Path, exchange: int, moment: str) -> None:
    prepared(tmp_path)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.read(reader, 1)  # until the order is given
        try:
            asyncio.run(keep_once(tmp_path, exchange, 0, 0))
        finally:
            os._exit(1)
    (tmp_path / "kill").write_text(f"{child} {moment}")
    os.write(writer, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    os.close(reader)
    os.close(writer)
    assert len(spooled(tmp_path)) == (2 if moment == "before" else 1)
    asyncio.run(settled(tmp_path, exchange))


class TestForwarding:
    """What is in the archive lies in the spool only while Asterisk copies it."""

    @staticmethod
    def prepared(folder: Path) -> None:
        lay(folder, "id-a")
        (folder / "voicemail/default/102").mkdir()

    @staticmethod
    def where(folder: Path) -> dict[str, str]:
        """Where the message lies in the spool, and what its text says."""
        found = (folder / "voicemail").rglob("msg*.txt")
        return {str(path.parent.relative_to(folder / "voicemail/default")): path.read_text() for path in found}

    async def test_it_is_in_the_other_mailbox_and_in_the_archive(self, tmp_path: Path, exchange: int) -> None:
        self.prepared(tmp_path)
        async with keeping(tmp_path, exchange, rules()) as made:
            await made.look()
            assert list(await archived(made)) == ["id-a"]
            before = made.upkeep.counters.archived
            await made.mailboxes.forward(ROOT, BOX, "id-a", OTHER, "INBOX")
            assert list(await archived(made)) == ["id-a"]
            assert made.upkeep.counters.archived == before
            said = parse_text(self.where(tmp_path)["102/INBOX"].encode())
            assert said == parse_text(text("id-a", LONG_AGO))
            assert list(self.where(tmp_path)) == ["102/INBOX"]
            assert spooled(tmp_path) == ["a"]
            with pytest.raises(SpoolError, match="has the message already"):
                await made.mailboxes.forward(ROOT, BOX, "id-a", BOX, "INBOX")
            with pytest.raises(SpoolError, match="has no mailbox 999"):
                await made.mailboxes.forward(ROOT, BOX, "id-a", Box("default", "999"), "INBOX")

    @pytest.mark.parametrize("moment", ["before", "after"])
    async def test_killed_while_asterisk_copies_it(self, tmp_path: Path, exchange: int, moment: str) -> None:
        self.prepared(tmp_path)
        async with keeping(tmp_path, exchange, rules()) as made:
            await made.look()
        child = os.fork()
        if not child:
            try:
                asyncio.Runner().run(forward_and_die(tmp_path, exchange, moment))
            finally:
                os._exit(1)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        assert set(self.where(tmp_path)) == {"101/Deleted"} | ({"102/INBOX"} if moment == "after" else set())
        async with keeping(tmp_path, exchange, rules()) as made:
            await made.look()
            assert made.upkeep.last_error == ""
            assert list(await archived(made)) == ["id-a"]
        assert set(self.where(tmp_path)) == ({"102/INBOX"} if moment == "after" else set())

    async def test_where_pbxd_may_not_write_it_says_what_to_do(self, tmp_path: Path, exchange: int) -> None:
        self.prepared(tmp_path)
        async with keeping(tmp_path, exchange, rules()) as made:
            await made.look()
            (tmp_path / "voicemail/default/101/Deleted").write_text("in the way, as for root there is no other way")
            with pytest.raises(SpoolError, match="pbxctl voicemail play 101@default id-a -o FILE"):
                await made.mailboxes.forward(ROOT, BOX, "id-a", OTHER, "INBOX")
            assert list(await archived(made)) == ["id-a"]


async def forward_and_die(folder: Path, ami_port: int, moment: str) -> None:
    """Forward the message; the exchange kills this process at that moment."""
    async with keeping(folder, ami_port, rules()) as made:
        (folder / "kill").write_text(f"{os.getpid()} {moment}")
        await made.mailboxes.forward(ROOT, BOX, "id-a", OTHER, "INBOX")


async def test_two_of_the_same_id_are_both_archived(tmp_path: Path, exchange: int) -> None:
    """A phone may forward one message twice into the same mailbox, with another preface each time."""
    for number, sound in enumerate((b"1", b"2")):
        put(tmp_path / "voicemail", "id-a", number=number, folder="Old", when=LONG_AGO, sound=CANARY + sound)
    async with keeping(tmp_path, exchange, rules()) as made:
        await made.look()
        assert made.upkeep.last_error == ""
        sounds = {await made.archive_sound(row) async for row in made.upkeep.archive.entries(state=ARCHIVED)}
    assert sounds == {CANARY + b"1", CANARY + b"2"}
    assert spooled(tmp_path) == []


class TestHolds:
    """Nothing that is held is deleted, by nobody."""

    async def test_a_phone_deletes_in_a_held_mailbox(self, tmp_path: Path, exchange: int) -> None:
        lay(tmp_path, "id-a", when=LONG_AGO + DAY)
        async with keeping(tmp_path, exchange, rules(keep=2 * DAY)) as made:
            made.rules = rules()
            await made.mailboxes.hold(ROOT, BOX, "", "case 4711")
            lay(tmp_path, "id-b", where="INBOX")
            await made.index.look()
            await made.upkeep._hold()
            assert [row.state async for row in made.upkeep.archive.entries()] == [KEPT, KEPT]
            assert len(await made.mailboxes.spooled(ROOT, BOX, "")) == 2
            assert await made.mailboxes.archived(ROOT, BOX) == []  # each is shown once
            for path in (tmp_path / "voicemail").rglob("msg*"):
                path.unlink()
            made.rules = rules(keep=2 * DAY)
            await made.look()
            assert {one["id"]: one["hold"] for one in await made.mailboxes.archived(ROOT, BOX)} == {
                "id-a": "case 4711",
                "id-b": "case 4711",
            }
            assert (await made.mailboxes.sound(ROOT, BOX, "id-b", download=False)).data == CANARY + b"b"
            with pytest.raises(StillKept, match="case 4711"):
                await made.mailboxes.delete(ROOT, BOX, "id-a")
            await made.mailboxes.release(ROOT, BOX, "")
            await made.look()  # both were left long ago
            assert await made.mailboxes.archived(ROOT, BOX) == []
            assert (await upkeep.verify(made.store)).objects == 0

    async def test_a_message(self, tmp_path: Path, exchange: int) -> None:
        lay(tmp_path, "id-a")
        lay(tmp_path, "id-b", number=1)
        async with keeping(tmp_path, exchange, rules(keep=2 * DAY)) as made:
            await made.mailboxes.hold(ROOT, BOX, "id-a", "case 1")
            with pytest.raises(StillKept, match="case 1"):
                await made.mailboxes.delete(ROOT, BOX, "id-a")
            await made.look()
            assert [one["id"] for one in await made.mailboxes.archived(ROOT, BOX)] == ["id-a"]
            assert spooled(tmp_path) == []
            await made.mailboxes.release(ROOT, BOX, "id-a")
            await made.mailboxes.delete(ROOT, BOX, "id-a")
            assert await made.mailboxes.archived(ROOT, BOX) == []
            with pytest.raises(SpoolError, match="no message id-a"):
                await made.mailboxes.sound(ROOT, BOX, "id-a", download=False)

    async def test_a_copy_goes_when_nothing_is_held_any_more(self, tmp_path: Path, exchange: int) -> None:
        lay(tmp_path, "id-a", where="INBOX")
        async with keeping(tmp_path, exchange, rules()) as made:
            await made.mailboxes.hold(ROOT, BOX, "", "case 1")
            assert (await made.upkeep.archive.totals())["kept"] == 1
            await made.mailboxes.release(ROOT, BOX, "")
            await made.look()
            assert (await made.upkeep.archive.totals())["kept"] == 0
            assert (await upkeep.verify(made.store)).objects == 0
            assert spooled(tmp_path) == ["a"]
            await made.mailboxes.hold(
                ROOT, BOX, "", "case 2"
            )  # what was destroyed does not come back; it is copied anew
            assert (await made.upkeep.archive.totals())["kept"] == 1


async def test_what_was_kept_long_enough_goes_wherever_it_lies(tmp_path: Path, exchange: int) -> None:
    lay(tmp_path, "id-a")
    async with keeping(tmp_path, exchange, rules()) as made:
        await made.look()
        lay(tmp_path, "id-n", where="INBOX")
        made.rules = rules(keep=2 * DAY)
        await made.look()
        assert made.upkeep.last_error == ""
        assert spooled(tmp_path) == []
        assert (await upkeep.verify(made.store)).objects == 0
        rows = [entry async for entry, _ in made.store.audit.entries()]
        assert [(row.who, row.action, row.subject, row.via) for row in rows] == [
            ("pbxd", "delete", "id-n", "retention"),
            ("pbxd", "delete", "id-a", "retention"),
        ]
        assert made.upkeep.counters.deleted == 2


async def test_a_message_that_came_back_after_it_was_destroyed(tmp_path: Path, exchange: int) -> None:
    async with keeping(tmp_path, exchange, rules()) as made:
        for _ in range(2):
            lay(tmp_path, "id-a")
            await made.look()
            assert list(await archived(made)) == ["id-a"]
            await made.mailboxes.delete(ROOT, BOX, "id-a")
            assert (await upkeep.verify(made.store)).objects == 0
