"""Asterisk's message files: whole ones, half-written ones, and whatever else lies there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxd.errors import SpoolError
from pbxd.voicemail.disk import STALE_LOCK, Disk
from pbxd.voicemail.spool import (
    Box,
    Message,
    Text,
    message_number,
    parse_box,
    parse_caller,
    parse_folder,
    parse_text,
    text_file,
)
from tests.voicemail.messages import NOW, put, text

BOX = Box("default", "101")


def test_a_message() -> None:
    assert parse_text(text("1795618736-00000000")) == Text(
        "1795618736-00000000", 1795618736, 2, "121", "Phone 121", urgent=False, extension="401"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[:-1], "not whole"),
        (lambda data: data.replace(b"duration=2\n", b""), "not whole"),
        (lambda data: data[:120], "not whole"),
        (lambda data: data[:0], "does not begin"),
        (lambda data: b"RIFF\0\0" + data, "does not begin"),
        (lambda data: data.replace(b"duration=2", b"duration=-2"), "duration"),
        (lambda data: data.replace(b"origtime=1795618736", b"origtime=soon"), "origtime"),
        (lambda data: data + b";" * 20_000 + b"\n", "more than"),
    ],
)
def test_what_is_no_message(change: object, said: str) -> None:
    with pytest.raises(SpoolError, match=said):
        parse_text(change(text("a")))  # type: ignore[operator]


@given(st.binary(max_size=400))
def test_garbage_is_a_spool_error(data: bytes) -> None:
    for tried in (data, b"[message]\n" + data, text("x") + data):
        try:
            parse_text(tried)
        except SpoolError:
            continue


@pytest.mark.parametrize(
    ("given_text", "caller"),
    [
        ('"Zoë Müller" <0049301>', ("Zoë Müller", "0049301")),
        (r'"a \"b\" c" <1>', ('a "b" c', "1")),
        ("Phone 121 <121>", ("Phone 121", "121")),
        ("121", ("", "121")),
        ("Unknown", ("", "")),
        ("", ("", "")),
        ("<>", ("", "")),
        ("Somebody", ("Somebody", "")),
    ],
)
def test_callers(given_text: str, caller: tuple[str, str]) -> None:
    assert parse_caller(given_text) == caller


def test_names() -> None:
    assert parse_box("101") == BOX
    assert str(parse_box("7@sales")) == "7@sales"
    assert parse_folder("inbox") == "INBOX"
    assert [message_number(name) for name in ("msg0007", "msg10000", "msgx", "unavail")] == [7, 10_000, None, None]
    for bad in ("", "..", "../etc", "1/2", "101@..", "101@a/b", "1\r\nAction: Originate"):
        with pytest.raises(SpoolError):
            parse_box(bad)
    with pytest.raises(SpoolError, match="INBOX"):
        parse_folder("Sent")


def messages(disk: Disk, now: float = NOW) -> list[tuple[str, str]]:
    return [(message.folder, message.text.id) for message in disk.scan(now).messages]


def test_the_spool(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "voicemail")
    empty = disk.scan(NOW)
    assert not empty.messages
    assert empty.folders == {tmp_path}
    put(disk.root, "a", sound=b"AAAA")
    put(disk.root, "b", number=1)
    put(disk.root, "c", folder="Old")
    put(disk.root, "x", folder="tmp")
    put(disk.root, "y", folder="..")
    (disk.root / "default" / "101" / "unavail.wav").write_bytes(b"hello")
    found = disk.scan(NOW)
    assert messages(disk) == [("INBOX", "a"), ("INBOX", "b"), ("Old", "c")]
    assert found.boxes == (BOX,)
    assert not found.rejects
    assert not found.busy
    assert disk.root / "default" / "101" / "Old" in found.folders
    assert disk.greetings(BOX) == {"unavailable": 5}
    assert disk.sound(found.messages[0]) == ("wav", b"AAAA")


def test_half_written(tmp_path: Path) -> None:
    """A text whose end is missing, or whose sound is, is looked at again, and is no message until then."""
    disk = Disk(tmp_path)
    put(tmp_path, "a")
    folder = tmp_path / "default" / "101" / "INBOX"
    (folder / "msg0001.txt").write_bytes(text("b")[:-10])
    (folder / "msg0002.txt").write_bytes(text("c"))
    (folder / "msg0003.wav").write_bytes(b"")
    found = disk.scan(NOW)
    assert [m.text.id for m in found.messages] == ["a"]
    assert found.busy
    assert len(found.rejects) == 2
    (folder / "msg0001.txt").write_bytes(text("b"))
    (folder / "msg0001.wav").write_bytes(b"")
    (folder / "msg0002.wav").write_bytes(b"")
    assert [m.text.id for m in disk.scan(NOW).messages] == ["a", "b", "c"]


def test_a_lock_shows_what_was(tmp_path: Path) -> None:
    """While Asterisk renumbers a folder its messages neither vanish nor double; a lock that was left behind hides nothing."""
    disk = Disk(tmp_path)
    put(tmp_path, "a")
    put(tmp_path, "b", number=1)
    disk.scan(NOW)
    folder = tmp_path / "default" / "101" / "INBOX"
    (folder / ".lock").touch()
    now = (folder / ".lock").stat().st_mtime
    (folder / "msg0000.txt").unlink()
    assert messages(disk, now) == [("INBOX", "a"), ("INBOX", "b")]
    assert disk.scan(now).busy
    assert messages(disk, now + STALE_LOCK) == [("INBOX", "b")]


def test_the_sound_of_a_renumbered_message(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    put(tmp_path, "a", sound=b"A")
    put(tmp_path, "b", number=1, sound=b"B")
    _, second = disk.scan(NOW).messages
    folder = tmp_path / "default" / "101" / "INBOX"
    for ending in ("txt", "wav"):
        (folder / f"msg0001.{ending}").replace(folder / f"msg0000.{ending}")
    assert disk.sound(second) == ("wav", b"B")
    gone = Message(BOX, "INBOX", 0, parse_text(text("a")), ("wav",))
    with pytest.raises(SpoolError, match="not in INBOX"):
        disk.sound(gone)


def test_a_link_out_of_the_spool_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "a")
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "default").symlink_to(tmp_path / "elsewhere" / "default")
    assert messages(Disk(tmp_path / "spool")) == []


def test_greetings(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    put(tmp_path, "a")
    place = tmp_path / "default" / "101"
    (place / "busy.gsm").write_bytes(b"old")
    disk.greet(BOX, "busy", b"new")
    assert (place / "busy.wav").read_bytes() == b"new"
    assert (place / "busy.wav").stat().st_mode & 0o777 == 0o644
    assert not (place / "busy.gsm").exists()
    disk.greet(BOX, "busy", None)
    assert disk.greetings(BOX) == {}
    with pytest.raises(SpoolError, match="is no greeting"):
        disk.greet(BOX, "../x", b"")
    (tmp_path / "default" / "102").write_text("in the way")
    with pytest.raises(SpoolError, match="record it by phone"):
        disk.greet(Box("default", "102"), "busy", b"new")


@given(
    name=st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"])),
    number=st.from_regex(r"[+*#0-9]*", fullmatch=True),
    when=st.integers(0, 2**33),
    urgent=st.booleans(),
)
def test_a_text_that_is_written_is_read_again(name: str, number: str, when: int, urgent: bool) -> None:
    said = Text("1795618736-00000000", when, 2, number, name, urgent=urgent, extension="401")
    assert parse_text(text_file(BOX, said)) == said


def test_laid_aside_behind_what_is_there(tmp_path: Path) -> None:
    """By the group of the mailbox, where a phone's deleted messages may lie already; its bit for new files is not touched."""
    said = parse_text(text("a"))
    place = put(tmp_path, "kept", folder="Deleted")
    place.chmod(0o2770)
    disk = Disk(tmp_path)
    disk.lay_aside(BOX, said, "wav", b"RIFF a")
    assert (place / "msg0001.wav").read_bytes() == b"RIFF a"
    assert place.stat().st_mode & 0o7777 == 0o2770
    assert [message.text for message in disk.scan(NOW).messages if message.text.id == "a"] == [said]
    (place / ".lock").touch()
    with pytest.raises(SpoolError, match="try again"):
        disk.lay_aside(BOX, said, "wav", b"RIFF a")
    other = tmp_path / "default" / "102"
    other.mkdir()
    os.chown(other, -1, 12_345)
    disk.lay_aside(Box("default", "102"), said, "wav", b"RIFF a")
    made = (other / "Deleted").stat()
    assert (made.st_gid, made.st_mode & 0o7777) == (12_345, 0o775)
