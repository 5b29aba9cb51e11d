"""All that is kept of a person, from a running pbxd: compared with what the files and tables say, taken apart by other means."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lab.asterisk import wait_until
from tests.conftest import reachable
from tests.recording.spools import START, recording
from tests.running import Running
from tests.test_recordings import by
from tests.voicemail.messages import put

KEPT = """
recording: {{enabled: true, codec: flac, spool: {folder}/spool, spool_group: '{group}'}}
voicemail: {{enabled: true, spool: {folder}/voicemail}}
chat: {{enabled: true}}
comms: {{folder: {folder}/comms, key_file: {folder}/keys/comms.key}}
people:
  - {{name: anna, full_name: Anna Lind, login: nobody, extensions: ['101'], mailboxes: ['101', '300']}}
  - {{name: bert, login: games, extensions: ['102'], mailboxes: ['102', '300']}}
  - {{name: ada, login: bin, role: admin, extensions: ['103']}}
  - {{name: otto, login: daemon, role: auditor}}
"""
ROUTE = "/v1/people/anna/export"
PHONE = {"endpoint": "PJSIP/102", "number": "102", "name": "Bert", "trunk": False}
ANNA = {"endpoint": "PJSIP/101", "number": "101", "name": "Anna", "trunk": False}
LIAR = {"endpoint": "PJSIP/trunk-a", "number": "101", "name": "Not Anna", "trunk": True}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Running]:
    """anna has two recordings, a message and a chat; the others have as much, and one caller said that 101 is its number.

    Of hers and of bert's a recording is damaged, and one stays in the spool; of a third damaged one nobody can tell whose it is.
    """
    running = Running(tmp_path)
    plain = f"control: {{socket: {tmp_path}/control.sock"
    text = running.config.read_text().replace(plain, plain + ", group: games")
    running.config.write_text(text + KEPT.format(folder=tmp_path, group=os.getgid()))
    reachable(tmp_path)
    recording(tmp_path / "spool", "a1", 1.0)
    recording(tmp_path / "spool", "a2", 1.0)
    recording(tmp_path / "spool", "b1", 1.0, parties=[PHONE])
    recording(tmp_path / "spool", "liar", 1.0, parties=[PHONE, LIAR])
    for name, party in (("a-bad", ANNA), ("b-bad", PHONE)):
        (recording(tmp_path / "spool", name, 1.0, parties=[party]) / "0.rx.wav").write_bytes(b"RIFF, and no sound" * 9)
    (recording(tmp_path / "spool", "torn", 1.0) / "ready.json").write_text('{"parties": [')
    for name, party in (("no id, anna's", ANNA), ("no id, b's", PHONE)):
        recording(tmp_path / "spool", name, 1.0, parties=[party])
    for mailbox in ("101", "102", "300"):
        put(tmp_path / "voicemail", f"id-{mailbox}", mailbox=mailbox, sound=f"RIFF for {mailbox}".encode())
    running.start()
    wait_until(lambda: running.ctl("recordings", "list", "--json").stdout.count('"call-') == 4, "all in the vault")
    wait_until(lambda: running.ask("/v1/status")["recordings"]["damaged"] == 3, "the damaged ones to be told of")
    for other in ("anna", "bert"):
        assert running.ctl("chat", "send", other, f"a word for {other}").returncode == 0
    yield running
    running.kill()


def unpacked(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {name: tar.extractfile(name) for name in tar.getnames()}
        return {name: file.read() for name, file in files.items() if file is not None}


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """Of the store itself."""
    with closing(sqlite3.connect(f"file:{folder}/comms/comms.db?mode=ro", uri=True)) as store:
        return store.execute(sql).fetchall()


def test_it_is_complete_and_nothing_of_others_is_in_it(kept: Running, tmp_path: Path) -> None:
    for name in ("a1", "b1"):
        assert kept.ctl("recordings", "play", name, "-o", str(tmp_path / name)).returncode == 0
    by("bin", kept, "GET", "/v1/recordings/a2/sound")  # an admin, who is refused
    target = tmp_path / "anna.tar"
    done = kept.ctl("people", "export", "anna", "--to", str(target))
    assert done.returncode == 0, done.stderr
    assert target.stat().st_mode & 0o777 == 0o600
    found = unpacked(target.read_bytes())

    sounds = {name: data for name, data in found.items() if name.startswith("recordings/") and name.endswith(".flac")}
    own = rows(tmp_path, "SELECT recording FROM recording_parties WHERE endpoint = 'PJSIP/101' ORDER BY recording")
    assert sorted(Path(name).stem for name in sounds) == [name for (name,) in own] == ["a1", "a2"]
    assert sounds[next(name for name in sounds if name.endswith("/a1.flac"))] == (tmp_path / "a1").read_bytes()
    assert all(name.replace(".flac", ".json") in found for name in sounds)
    pieces = unpacked(found["recordings/damaged/a-bad.tar"])
    assert pieces["a-bad/0.rx.wav"] == b"RIFF, and no sound" * 9
    assert len(pieces["a-bad/0.tx.wav"]) > 8000
    index = json.loads(found["recordings/index.json"])
    ((bad, call, reason),) = [(one["id"], one["call"], one["reason"]) for one in index["damaged"]]
    assert (bad, call, "0.rx.wav is no WAV file" in reason) == ("a-bad", "call-a-bad", True)

    spool = tmp_path / "voicemail" / "default" / "101"
    heard = [data for name, data in found.items() if name.startswith("voicemail/") and name.endswith(".wav")]
    assert heard == [path.read_bytes() for path in spool.rglob("*.wav")]

    rooms = rows(tmp_path, "SELECT room FROM chat_members WHERE person = 'anna'")
    assert {name.split("/")[1] for name in found if name.endswith("/messages.txt")} == {room for (room,) in rooms}
    assert b"a word for anna" in found["chats/anna+root/messages.txt"]

    told = [json.loads(line) for line in found["audit.jsonl"].splitlines()]
    assert [(row["who"], row["action"], row["subject"]) for row in told if row["kind"] == "recording"] == [
        ("root", "download", "a1"), ("ada", "play", "a2"), ("root", "export", "a1"), ("root", "export", "a2"),
        ("root", "export", "a-bad"),
    ]  # fmt: skip
    assert [row["who"] for row in told if not row["allowed"]] == ["ada"]
    said = json.loads(found["request.json"])
    assert (said["full_name"], said["by"], said["switched_off_not_looked_at"]) == ("Anna Lind", "root", [])
    missing = said["not_in_it"]["recordings"]
    assert [(one["id"], one["start"]) for one in missing] == [("torn", None), ("no id, anna's", START)]
    assert "whose it is cannot be told" in missing[0]["reason"]
    assert "waits in the spool" in missing[1]["reason"]
    for canary in (
        b"Bert",
        b"b-bad",
        b"no id, b's",
        b"Not Anna",
        b"for bert",
        b"for 102",
        b"for 300",
        b'"b1"',
        b'"liar"',
    ):
        assert not [name for name, data in found.items() if canary in data], canary
    last = rows(tmp_path, "SELECT who, action, kind, subject FROM audit WHERE action = 'export' ORDER BY seq")
    assert last[0] == ("root", "export", "person", "anna")
    assert ("root", "export", "recording", "a2") in last


def test_P10_what_a_caller_says_its_number_is_makes_no_recording_a_persons(kept: Running, tmp_path: Path) -> None:
    """Also for `recordings export`: by the person, and by root for the person. Root can ask for the number itself."""
    status, body = by("nobody", kept, "GET", "/v1/recordings/export?person=anna")
    assert (status, exported(body)) == (200, ["a1", "a2"])
    for words, names in ((("--person", "anna"), ["a1", "a2"]), (("--number", "101"), ["a1", "a2", "liar"])):
        target = tmp_path / "made.zip"
        assert kept.ctl("recordings", "export", *words, "-o", str(target)).returncode == 0
        assert exported(target.read_bytes()) == names
        target.unlink()
    assert by("nobody", kept, "GET", "/v1/recordings/export?number=101")[0] == 400


def exported(data: bytes) -> list[str]:
    """What is in a zip of recordings; a damaged one of anna's is too."""
    with zipfile.ZipFile(io.BytesIO(data)) as made:
        index = json.loads(made.read("index.json"))
        assert [one["id"] for one in index["damaged"]] == ["a-bad"]
        assert "damaged/a-bad.tar" in made.namelist()
        return sorted(one["id"] for one in index["recordings"])


def test_root_and_the_person_may_and_nobody_else(kept: Running, tmp_path: Path) -> None:
    status, body = by("nobody", kept, "GET", ROUTE)
    assert (status, "request.json" in unpacked(body)) == (200, True)
    for login in ("games", "bin", "daemon"):
        status, body = by(login, kept, "GET", ROUTE)
        assert (status, b"may not export person" in body) == (400, True), login
    refused = rows(tmp_path, "SELECT who FROM audit WHERE kind = 'person' AND NOT allowed ORDER BY seq")
    assert refused == [("bert",), ("ada",), ("otto",)]
    done = kept.ctl("people", "export", "zoe", "--to", str(tmp_path / "zoe.tar"))
    assert (done.returncode, "names nobody zoe" in done.stderr, (tmp_path / "zoe.tar").exists()) == (1, True, False)
