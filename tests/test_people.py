"""All that is kept of a person, from a running pbxd: compared with what the files and tables say, taken apart by other means."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lab.asterisk import wait_until
from tests.conftest import reachable
from tests.recording.spools import recording
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
LIAR = {"endpoint": "PJSIP/trunk-a", "number": "101", "name": "Not Anna", "trunk": True}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Running]:
    """anna has two recordings, a message and a chat; the others have as much, and one caller said that 101 is its number."""
    running = Running(tmp_path)
    plain = f"control: {{socket: {tmp_path}/control.sock"
    text = running.config.read_text().replace(plain, plain + ", group: games")
    running.config.write_text(text + KEPT.format(folder=tmp_path, group=os.getgid()))
    reachable(tmp_path)
    recording(tmp_path / "spool", "a1", 1.0)
    recording(tmp_path / "spool", "a2", 1.0)
    recording(tmp_path / "spool", "b1", 1.0, parties=[PHONE])
    recording(tmp_path / "spool", "liar", 1.0, parties=[PHONE, LIAR])
    for mailbox in ("101", "102", "300"):
        put(tmp_path / "voicemail", f"id-{mailbox}", mailbox=mailbox, sound=f"RIFF for {mailbox}".encode())
    running.start()
    wait_until(lambda: running.ctl("recordings", "list", "--json").stdout.count('"call-') == 4, "all in the vault")
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

    spool = tmp_path / "voicemail" / "default" / "101"
    heard = [data for name, data in found.items() if name.startswith("voicemail/") and name.endswith(".wav")]
    assert heard == [path.read_bytes() for path in spool.rglob("*.wav")]

    rooms = rows(tmp_path, "SELECT room FROM chat_members WHERE person = 'anna'")
    assert {name.split("/")[1] for name in found if name.endswith("/messages.txt")} == {room for (room,) in rooms}
    assert b"a word for anna" in found["chats/anna+root/messages.txt"]

    told = [json.loads(line) for line in found["audit.jsonl"].splitlines()]
    assert [(row["who"], row["action"], row["subject"]) for row in told if row["kind"] == "recording"] == [
        ("root", "download", "a1"), ("ada", "play", "a2"), ("root", "export", "a1"), ("root", "export", "a2"),
    ]  # fmt: skip
    assert [row["who"] for row in told if not row["allowed"]] == ["ada"]
    said = json.loads(found["request.json"])
    assert (said["full_name"], said["by"], said["switched_off_not_looked_at"]) == ("Anna Lind", "root", [])
    for canary in (b"Bert", b"Not Anna", b"for bert", b"for 102", b"for 300", b'"b1"', b'"liar"'):
        assert not [name for name, data in found.items() if canary in data], canary
    last = rows(tmp_path, "SELECT who, action, kind, subject FROM audit WHERE action = 'export' ORDER BY seq")
    assert last[0] == ("root", "export", "person", "anna")
    assert ("root", "export", "recording", "a2") in last


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
