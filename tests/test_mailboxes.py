"""A running pbxd that looks after mailboxes: who asks is the kernel's word, and all that is asked is in the audit log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from lab.asterisk import wait_until
from lab.tree import environment
from tests.conftest import reachable
from tests.reports.postbox import Postbox, free_port
from tests.running import Running
from tests.test_recordings import by
from tests.voicemail.messages import put

KEPT = """
ami: {{port: {ami}, secret: x}}
voicemail:
  enabled: true
  spool: {folder}/voicemail
  boxes:
    - {{box: '101', mail: [anna@example.org]}}
    - {{box: '104', archive_after: 1h}}
reports: {{mail: {{host: 127.0.0.1, port: {mail}, security: none, sender: pbx@example.org}}}}
comms: {{folder: {folder}/comms, key_file: {folder}/keys/comms.key}}
people:
  - {{name: anna, login: nobody, mailboxes: ['101'], teams: [sales]}}
  - {{name: sue, login: sync, role: supervisor, teams: [sales], supervises: [sales]}}
  - {{name: ada, login: bin, role: admin}}
  - {{name: otto, login: daemon, role: auditor}}
  - {{name: bert, mailboxes: ['300'], teams: [sales]}}
  - {{name: carl, mailboxes: ['300'], teams: [sales]}}
"""
SOUND = b"RIFF a voice"


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@pytest.fixture
def kept(tmp_path: Path, postbox: Postbox) -> Iterator[Running]:
    """Messages in three mailboxes; Asterisk's place is taken by an exchange that does what AMI asks, on the files."""
    command = [sys.executable, "-m", "tests.voicemail.exchange", str(tmp_path / "voicemail")]
    controller = Controller(postbox, "127.0.0.1", free_port())
    controller.start()
    running = Running(tmp_path)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as exchange:
        assert exchange.stdout is not None
        plain = f"control: {{socket: {tmp_path}/control.sock"
        text = running.config.read_text().replace(plain, plain + ", group: games")
        ports = {"ami": int(exchange.stdout.readline()), "mail": controller.port}
        running.config.write_text(text + KEPT.format(folder=tmp_path, **ports))
        reachable(tmp_path)
        for mailbox in ("101", "102", "300"):
            put(tmp_path / "voicemail", f"id-{mailbox}", mailbox=mailbox, sound=SOUND)
        put(tmp_path / "voicemail", "id-old", mailbox="104", folder="Old", sound=SOUND)
        running.start()
        wait_until(lambda: status(running)["archived"] == 1, "the old one in the archive")
        yield running
        running.kill()
        exchange.kill()
    controller.stop()


def status(running: Running) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(running.ctl("status", "--json").stdout)["voicemail"]
    archived = json.loads(running.ctl("voicemail", "list", "--archived", "--json").stdout or "[]")
    return found | {"archived": len(archived)}


def message(mailbox: str, what: str = "") -> str:
    return f"/v1/voicemail/messages/{mailbox}/id-{mailbox}{what}"


def test_P10_others_get_what_is_theirs(kept: Running) -> None:
    """`nobody` is anna, `sync` sue, `bin` ada, `daemon` otto; `games` is nobody that is named."""

    def seen(user: str) -> set[str]:
        found, body = by(user, kept, "GET", "/v1/voicemail/messages")
        assert found == 200
        return {one["id"] for one in json.loads(body)["messages"]}

    assert {user: seen(user) for user in ("nobody", "sync", "bin", "daemon", "games")} == {
        "nobody": {"id-101"}, "sync": {"id-300"}, "bin": {"id-101", "id-102", "id-300"}, "daemon": set(), "games": set(),
    }  # fmt: skip
    asked = {  # who asks for what; whether it is given
        ("nobody", "GET", message("101", "/sound")): True,
        ("nobody", "GET", message("102", "/sound")): False,
        ("nobody", "GET", "/v1/voicemail/messages/102/id-none/sound"): False,
        ("nobody", "POST", message("101", "/read")): True,
        ("nobody", "POST", message("101", "/hold?reason=x")): False,
        ("nobody", "GET", "/v1/voicemail/export?person=anna"): True,
        ("nobody", "GET", "/v1/voicemail/export?box=102"): False,
        ("nobody", "PUT", "/v1/voicemail/greetings/102/busy"): False,
        ("sync", "GET", message("300", "/sound?download=1")): True,
        ("sync", "GET", message("101", "/sound")): False,
        ("sync", "DELETE", message("300")): False,
        ("sync", "POST", message("300", "/forward?to=101")): False,
        ("bin", "GET", message("101", "/sound")): False,
        ("bin", "GET", "/v1/voicemail/messages/104/id-old/sound"): False,
        ("bin", "POST", message("102", "/hold?reason=case")): True,
        ("bin", "POST", message("102", "/release")): True,
        ("bin", "DELETE", message("102")): True,
        ("daemon", "GET", message("101", "/sound")): False,
        ("games", "GET", message("101")): False,
        ("games", "POST", "/v1/voicemail/boxes/101/hold?reason=x"): False,
    }
    for (user, method, route), given in asked.items():
        found, body = by(user, kept, method, route)
        assert (found == 200) == given, (user, method, route, body)
        assert given or b" may not " in body, body
    _, body = by("daemon", kept, "GET", "/v1/audit?limit=1000")
    rows = [json.loads(line) for line in body.splitlines()]
    refused = [(row["who"], row["action"]) for row in rows if not row["allowed"]]
    assert refused == [
        ("anna", "play"), ("anna", "play"), ("anna", "hold"), ("anna", "export"), ("anna", "change"), ("sue", "play"),
        ("sue", "delete"), ("sue", "send"), ("ada", "play"), ("ada", "play"), ("otto", "play"), ("games", "see"),
        ("games", "hold"),
    ]  # fmt: skip
    granted = [
        (row["who"], row["action"], row["subject"])
        for row in rows
        if row["allowed"] and row["kind"] == "voicemail" and row["who"] != "pbxd"
    ]
    assert granted == [
        ("anna", "play", "id-101"), ("anna", "change", "id-101"), ("anna", "export", "101@default"),
        ("anna", "export", "id-101"), ("sue", "download", "id-300"), ("ada", "hold", "id-102"),
        ("ada", "release", "id-102"), ("ada", "delete", "id-102"),
    ]  # fmt: skip
    assert kept.ctl("audit", "verify").returncode == 0


def test_what_root_does(kept: Running, tmp_path: Path, postbox: Postbox) -> None:
    def told() -> bool:
        return len(postbox.taken) == 1

    put(tmp_path / "voicemail", "id-new", number=1, when=int(time.time()), sound=SOUND)
    wait_until(told, "the notice")
    assert postbox.taken[0][0] == ["anna@example.org"]
    assert kept.ctl("voicemail", "play", "104", "id-old", "-o", str(tmp_path / "old.wav")).returncode == 0
    assert (tmp_path / "old.wav").read_bytes() == SOUND
    assert (tmp_path / "old.wav").stat().st_mode & 0o777 == 0o600
    assert "id-old" in kept.ctl("voicemail", "list", "104", "--archived").stdout
    assert "no messages" in kept.ctl("voicemail", "list", "104").stdout
    assert kept.ctl("voicemail", "hold", "104", "--reason", "case 4711").returncode == 0
    refused = kept.ctl("voicemail", "delete", "104", "id-old", "--yes")
    assert (refused.returncode, "case 4711" in refused.stderr) == (1, True)
    assert "held: case 4711" in kept.ctl("voicemail", "list", "104", "--archived").stdout
    exported(kept, tmp_path)
    assert kept.ctl("vault", "rekey", "--yes").returncode == 0
    assert kept.ctl("vault", "verify").returncode == 0
    assert "id-old" in kept.ctl("voicemail", "list", "--archived").stdout
    kept.kill()
    kept.start()
    wait_until(lambda: status(kept)["messages"] == 4, "the spool to be seen again")
    assert kept.ctl("voicemail", "release", "104").returncode == 0
    assert kept.ctl("voicemail", "archive", "102", "id-102").returncode == 0
    assert kept.ctl("voicemail", "delete", "104", "id-old", "--yes").returncode == 0
    assert [one["id"] for one in json.loads(kept.ctl("voicemail", "list", "--archived", "--json").stdout)] == ["id-102"]
    assert told()
    findings = {one["check"]: one for one in json.loads(kept.ctl("doctor", "--json").stdout)}
    assert findings["voicemail"]["state"] == "ok"
    assert "pbxd_voicemail_messages 3.0" in kept.ctl("metrics").stdout
    assert "messages in" in kept.ctl("status").stdout


def exported(kept: Running, tmp_path: Path) -> None:
    """An export has everything, and is there when it is complete."""
    (tmp_path / "voicemail" / "default" / "101" / "unavail.wav").write_bytes(b"RIFF hello")
    assert kept.ctl("voicemail", "export", "--box", "104", "-o", str(tmp_path / "old.tar")).returncode == 0
    with tarfile.open(tmp_path / "old.tar") as tar:
        (name,) = [name for name in tar.getnames() if name.endswith(".wav")]
        assert name.startswith("104@default/archive/id-old-")
        member = tar.extractfile(name)
        assert member is not None
        assert member.read() == SOUND
    assert kept.ctl("voicemail", "export", "--person", "anna", "-o", str(tmp_path / "anna.tar")).returncode == 0
    with tarfile.open(tmp_path / "anna.tar") as tar:
        names = set(tar.getnames())
        member = tar.extractfile("index.json")
        assert member is not None
        index = json.load(member)
    assert names == {
        "101@default/INBOX/id-101-0.wav", "101@default/INBOX/id-101-0.json", "101@default/INBOX/id-new-1.wav",
        "101@default/INBOX/id-new-1.json", "101@default/greetings/unavail.wav", "index.json",
    }  # fmt: skip
    assert [one["caller_name"] for one in index["messages"]] == ["Phone 121", "Phone 121"]
    done = kept.ctl("voicemail", "export", "--person", "bert", "-o", str(tmp_path / "bert.tar"))
    assert "no mailbox of their own" in done.stderr
    assert not (tmp_path / "bert.tar").exists()


def test_an_export_that_is_killed_leaves_nothing_under_its_name(kept: Running, tmp_path: Path) -> None:
    """The daemon stands still in the middle of it, and is killed: the client says so, and there is no file."""
    for number in range(1, 40):
        put(tmp_path / "voicemail", f"id-{number}", mailbox="102", number=number, sound=bytes(1_000_000))
    wait_until(lambda: status(kept)["messages"] == 42, "the spool to be seen")
    target, hidden = tmp_path / "102.tar", tmp_path / ".102.tar.part"
    command = [sys.executable, "-m", "pbxd.cli.main", "--socket", str(tmp_path / "control.sock"), "voicemail", "export"]
    client = subprocess.Popen(
        [*command, "--box", "102", "-o", str(target)], stderr=subprocess.PIPE, text=True, env=environment()
    )
    wait_until(lambda: hidden.exists() and hidden.stat().st_size > 0, "the first bytes")
    assert kept.process is not None
    os.kill(client.pid, signal.SIGSTOP)  # it reads no more: the daemon cannot come to the end
    kept.kill()
    os.kill(client.pid, signal.SIGCONT)
    _, said = client.communicate()
    assert (client.returncode, "in the middle of the answer" in said) == (1, True)
    assert not target.exists()
    assert not hidden.exists()


def test_without_voicemail_nothing_is_looked_at(pbxd: Running, tmp_path: Path) -> None:
    assert "voicemail.enabled is false" in pbxd.ctl("voicemail", "list").stderr
    assert "voicemail off" in pbxd.ctl("status").stdout
    assert not (tmp_path / "comms").exists()
