"""What a running daemon loads: its memory at rest is the sum of that. The interpreter itself tells each import (-X importtime)."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lab.asterisk import wait_until
from pbxd.cli.client import UnixConnection
from pbxd.stats.upgrade import upgrade
from tests.recording.spools import recording
from tests.running import Running
from tests.test_recordings import KEPT
from tests.voicemail.messages import put

# loaded by processes of their own, for as long as there is work for them; or by nobody
ELSEWHERE = {
    "alembic",
    "mako",
    "numpy",
    "soundfile",
    "cffi",
    "matplotlib",
    "fpdf",
    "aiosmtplib",
    "asyncssh",
    "asyncpg",
    "pymysql",
    "pygments",  # what rich brings; that its own import was tried is told too
}


@pytest.fixture
def running(tmp_path: Path) -> Running:
    made = Running(tmp_path)
    made.interpreter += ["-X", "importtime"]  # an option, not the variable: the daemon's own processes do not get it
    return made


def loaded(running: Running) -> set[str]:
    """Top-level packages that the daemon has imported since its start."""
    lines = (running.folder / "log.json").read_text().splitlines()
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines if line.startswith("import time:")}


def asked(running: Running, route: str) -> bytes:
    """The API's answer."""
    with closing(UnixConnection(running.folder / "control.sock")) as connection:
        connection.request("GET", route)
        answer = connection.getresponse()
        return answer.read() if answer.status == 200 else b""


def test_what_is_needed_now_and_then_is_loaded_by_processes_of_their_own(running: Running, tmp_path: Path) -> None:
    """After a start that migrated, with recordings encoded, played and exported, a report made and voicemail listed."""
    with running.config.open("a") as file:
        file.write(KEPT.format(folder=tmp_path, group=os.getgid()))
        file.write(f"voicemail: {{enabled: true, spool: {tmp_path}/voicemail}}\nchat: {{enabled: true}}\n")
    put(tmp_path / "voicemail", "id-101", mailbox="101")
    recording(tmp_path / "spool", "a1", 1.0)
    (tmp_path / "state").mkdir()
    upgrade(f"sqlite+aiosqlite:///{tmp_path}/state/stats.db", "0006")
    running.start()
    try:
        wait_until(lambda: b'"a1"' in asked(running, "/v1/recordings"), "the recording in the vault")
        assert asked(running, "/v1/recordings/a1/sound?format=wav").startswith(b"RIFF")
        assert asked(running, "/v1/recordings/export?number=101").startswith(b"PK")
        wait_until(lambda: b"id-101" in asked(running, "/v1/voicemail/messages"), "the voice message to be found")
        for route in ("/v1/vault/export", "/v1/audit", "/v1/chat/rooms", "/v1/doctor", "/metrics"):
            assert asked(running, route)
        assert b'"rows"' in asked(running, f"/v1/reports/calls?start=0&end={10**13}")
    finally:
        running.kill()
    with closing(sqlite3.connect(tmp_path / "state" / "stats.db")) as store:
        assert store.execute("SELECT version_num FROM alembic_version").fetchone() > ("0006",)
    found = loaded(running)
    assert found >= {"pbxd", "sqlalchemy", "pyrage"}
    assert not found & ELSEWHERE


def test_a_daemon_that_keeps_nothing_has_no_store_for_it(running: Running) -> None:
    running.start()
    running.kill()
    assert not loaded(running) & (ELSEWHERE | {"pyrage"})
