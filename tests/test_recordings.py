"""A running pbxd with recordings in its spool: stored, told of, played, exported, destroyed; who asks is the kernel's word."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.asterisk import wait_until
from lab.box import Pbxd
from pbxd.cli.client import UnixConnection
from pbxd.comms import theft
from tests.conftest import reachable
from tests.recording.spools import recording
from tests.running import Running

KEPT = """
recording: {{enabled: true, codec: flac, spool: {folder}/spool, spool_group: '{group}'}}
comms: {{folder: {folder}/comms, key_file: {folder}/keys/comms.key}}
people:
  - {{name: anna, login: nobody, extensions: ['101']}}
  - {{name: otto, login: daemon, role: auditor}}
"""


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Running]:
    """With two recordings of two people in the vault."""
    running = Running(tmp_path)
    with running.config.open("a") as file:
        file.write(KEPT.format(folder=tmp_path, group=os.getgid()))
    recording(tmp_path / "spool", "a1", 1.0)
    other = [{"endpoint": "PJSIP/102", "number": "102", "name": "", "trunk": False}]
    recording(tmp_path / "spool", "b1", 1.0, parties=other)
    running.start()
    wait_until(lambda: listed(running) == ["b1", "a1"], "both in the vault")
    yield running
    running.kill()


def listed(running: Running) -> list[str]:
    done = running.ctl("recordings", "list", "--json")
    return [one["id"] for one in json.loads(done.stdout)] if not done.returncode else []


def by(user: str, running: Running | Pbxd, method: str, route: str, **headers: str) -> tuple[int, bytes]:
    """What another user of this machine is answered: a fork that becomes that user, and asks."""
    entry = pwd.getpwnam(user)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(grp.getgrnam("games").gr_gid)  # the group of control.group here
            os.setuid(entry.pw_uid)
            connection = UnixConnection(running.folder / "control.sock")
            connection.request(method, route, headers=headers)
            answer = connection.getresponse()
            os.write(writer, f"{answer.status}\n".encode() + answer.read())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        status, _, body = said.read().partition(b"\n")
    os.waitpid(child, 0)
    return int(status or 0), body


def test_what_root_does(kept: Running, tmp_path: Path) -> None:
    shown = kept.ctl("status").stdout
    for line in (
        "agi      nowhere",
        "recorder 0 calls are being recorded",
        "recordings ",
        f"vault    {tmp_path}/comms, ",
    ):
        assert f"\n{line}" in shown
    assert "\npbxd_recorder_running 0.0\n" in kept.ctl("metrics").stdout
    said = json.loads(kept.ctl("recordings", "show", "call-a1").stdout)
    assert (said["id"], said["parties"][1]["name"], said["seconds"]) == ("a1", "Kanarienvogel", 1.0)
    assert kept.ctl("recordings", "play", "a1", "-o", str(tmp_path / "a1.flac")).returncode == 0
    assert (tmp_path / "a1.flac").read_bytes()[:4] == b"fLaC"
    assert (tmp_path / "a1.flac").stat().st_mode & 0o777 == 0o600
    assert (
        kept.ctl("recordings", "play", "a1", "--from", "0:00", "--wav", "-o", str(tmp_path / "a.wav")).returncode == 0
    )
    assert (tmp_path / "a.wav").stat().st_size == 44 + 8000 * 4
    assert kept.ctl("recordings", "export", "--number", "102", "-o", str(tmp_path / "b.zip")).returncode == 0
    with zipfile.ZipFile(tmp_path / "b.zip") as made:
        assert [one["id"] for one in json.loads(made.read("index.json"))["recordings"]] == ["b1"]
    assert kept.ctl("recordings", "hold", "a1", "--reason", "case 4711").returncode == 0
    refused = kept.ctl("recordings", "delete", "a1", "--yes")
    assert (refused.returncode, "case 4711" in refused.stderr) == (1, True)
    assert kept.ctl("recordings", "release", "a1").returncode == 0
    assert kept.ctl("recordings", "delete", "a1", "--yes").returncode == 0
    assert listed(kept) == ["b1"]
    assert "no recording a1" in kept.ctl("recordings", "play", "a1").stderr
    missing = kept.ctl("recordings", "play", "a1", "-o", str(tmp_path / "nothing"))
    assert (missing.returncode, (tmp_path / "nothing").exists()) == (1, False)
    actions = [json.loads(line)["action"] for line in kept.ctl("audit", "list", "--json").stdout.splitlines()]
    assert actions == ["download", "download", "export", "hold", "delete", "release", "delete", "see"]
    cut = kept.ctl("audit", "list", "--limit", "3")
    assert (len(cut.stdout.splitlines()), cut.stderr) == (3, "3 of 9; --limit N or --from …\n")
    assert kept.ctl("audit", "verify").returncode == 0


def test_the_vault_is_looked_after(kept: Running, tmp_path: Path) -> None:
    before = (tmp_path / "keys" / "comms.key").read_text()
    assert "2 objects" in kept.ctl("vault", "verify").stdout
    assert kept.ctl("vault", "rekey", "--yes").returncode == 0
    assert (tmp_path / "keys" / "comms.key").read_text() != before
    assert kept.ctl("vault", "export", "-o", str(tmp_path / "all.tar")).returncode == 0
    assert b"recording/a1.json" in (tmp_path / "all.tar").read_bytes()
    kept.kill()
    kept.start()
    wait_until(lambda: len(listed(kept)) == 2, "the store to be open again")
    (victim,) = (tmp_path / "comms" / "objects").glob("*/a1.age")
    victim.write_bytes(victim.read_bytes()[:-1])
    done = kept.ctl("vault", "verify")
    assert (done.returncode, "a1: the file is not" in done.stdout) == (1, True)
    victim.unlink()
    kept.kill()
    kept.start()
    wait_until(lambda: len(listed(kept)) == 2, "the store to be open again")
    findings = {one["check"]: one["state"] for one in json.loads(kept.ctl("doctor", "--json").stdout)}
    assert (findings["vault"], findings["recordings"]) == ("fault", "ok")
    metrics = kept.ctl("metrics").stdout
    assert "pbxd_recordings 2.0" in metrics
    assert "pbxd_comms_open 1.0" in metrics


def test_the_key_comes_as_a_credential_as_systemd_gives_it(kept: Running, tmp_path: Path) -> None:
    """docs/vault.md: encrypted, deleted from the disk, decrypted by systemd for each start."""
    key, sealed, given = tmp_path / "keys" / "comms.key", tmp_path / "sealed", tmp_path / "credentials"
    same = theft.judged(theft.lying(tmp_path), theft.lying(key)).risk
    assert finding(kept, "key")["state"] == ("warning" if same == "taken" else "ok")
    kept.kill()
    environment = os.environ | {"SYSTEMD_CREDENTIAL_SECRET": str(tmp_path / "host-secret")}  # no TPM here
    creds = ["systemd-creds", "--name=comms-key"]
    subprocess.run(
        [*creds, "--with-key=host", "encrypt", key, sealed], check=True, env=environment, capture_output=True
    )
    key.unlink()
    given.mkdir()
    subprocess.run([*creds, "decrypt", sealed, given / "comms-key"], check=True, env=environment, capture_output=True)
    kept.start(CREDENTIALS_DIRECTORY=str(given))
    wait_until(lambda: len(listed(kept)) == 2, "the store to be open again")
    assert kept.ctl("vault", "verify").returncode == 0
    assert not key.exists()
    found = finding(kept, "key")
    assert (found["state"], "systemd credential" in found["detail"]) == ("ok", True)
    key.write_bytes((given / "comms-key").read_bytes())  # forgotten where it was
    assert finding(kept, "key")["state"] == ("warning" if same == "taken" else "ok")
    if os.geteuid() == 0 and same == "taken":
        (clause,) = [one for one in json.loads(kept.ctl("policy", "verify", "--json").stdout) if one["clause"] == "P14"]
        assert (clause["state"], "as well" in clause["evidence"][0]) == ("broken", True)


def finding(running: Running, check: str) -> dict[str, str]:
    """What the doctor says of something."""
    (found,) = [one for one in json.loads(running.ctl("doctor", "--json").stdout) if one["check"] == check]
    assert isinstance(found, dict)
    return found


def test_a_store_without_its_key_stops_nothing_else(kept: Running, tmp_path: Path) -> None:
    kept.kill()
    key = tmp_path / "keys" / "comms.key"
    key.rename(tmp_path / "elsewhere")
    recording(tmp_path / "spool", "c1", 0.2)
    kept.start()
    assert kept.calls() == 0
    assert "bring the key back" in kept.ctl("recordings", "list").stderr
    findings = {one["check"]: one for one in json.loads(kept.ctl("doctor", "--json").stdout)}
    assert (findings["vault"]["state"], findings["recordings"]["state"]) == ("fault", "fault")
    assert "1 recordings wait" in findings["recordings"]["detail"]
    assert not key.exists()
    (tmp_path / "elsewhere").rename(key)
    wait_until(lambda: len(listed(kept)) == 3, "the store to open by itself")


def test_others_get_what_is_theirs(kept: Running, tmp_path: Path) -> None:
    """`nobody` is anna, `daemon` is the auditor, `games` is nobody that is named; what a header says counts for nothing."""
    kept.kill()
    reachable(tmp_path)
    plain = f"control: {{socket: {tmp_path}/control.sock"
    kept.config.write_text(kept.config.read_text().replace(plain, plain + ", group: games"))
    kept.start()
    wait_until(lambda: len(listed(kept)) == 2, "the store to be open")
    seen = {user: by(user, kept, "GET", "/v1/recordings") for user in ("nobody", "daemon", "games")}
    assert {user: (status, body.count(b"\n")) for user, (status, body) in seen.items()} == {
        "nobody": (200, 1), "daemon": (200, 0), "games": (200, 0),
    }  # fmt: skip
    assert kept.ctl("recordings", "list", "--limit", "1").stderr == "1 of 2; --limit N or --from …\n"
    assert by("nobody", kept, "GET", "/v1/recordings?limit=1&count=1")[1].endswith(b'\n{"total": 1}\n')
    assert by("nobody", kept, "GET", "/v1/recordings/a1/sound")[1][:4] == b"fLaC"
    refused = [
        by("nobody", kept, "GET", "/v1/recordings/b1/sound"),
        by("nobody", kept, "GET", "/v1/recordings/b1/sound", **{"X-Forwarded-For": "0"}),
        by("nobody", kept, "DELETE", "/v1/recordings/a1"),
        by("nobody", kept, "GET", "/v1/recordings/export?number=102"),
        by("nobody", kept, "GET", "/v1/audit"),
        by("nobody", kept, "POST", "/v1/vault/rekey"),
        by("daemon", kept, "GET", "/v1/recordings/a1/sound"),
        by("games", kept, "GET", "/v1/recordings/a1"),
        by("games", kept, "GET", "/v1/vault/export"),
    ]
    assert [(status, b"may not" in body) for status, body in refused] == [(400, True)] * len(refused)
    status, body = by("daemon", kept, "GET", "/v1/audit?limit=1000")
    rows = [json.loads(line) for line in body.splitlines()]
    assert status == 200
    assert [(row["who"], row["allowed"]) for row in rows if not row["allowed"]] == [
        *[("anna", False)] * 6, ("otto", False), *[("games", False)] * 2,
    ]  # fmt: skip


def test_without_recordings_nothing_is_made(pbxd: Running, tmp_path: Path) -> None:
    assert "recording.enabled is false" in pbxd.ctl("recordings", "list").stderr
    assert "nothing is kept" in pbxd.ctl("vault", "status").stderr
    assert not (tmp_path / "comms").exists()


def test_doctor_goes_on_telling_of_a_spool_that_cannot_be_used(tmp_path: Path) -> None:
    """Whether AMI is up or not, and though there is room in it."""
    running = Running(tmp_path)
    with running.config.open("a") as file:
        file.write(KEPT.format(folder=tmp_path, group=os.getgid()))
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "nowhere.sln").touch()  # where a link is to be
    running.start()
    try:

        def told() -> tuple[str, bool]:
            findings = {one["check"]: one for one in running.ask("/v1/doctor")["findings"]}
            return findings["recording"]["state"], "cannot be used" in findings["recording"]["detail"]

        wait_until(lambda: told() == ("fault", True), "the doctor to tell of it")
    finally:
        running.kill()
