"""A running pbxd with chats and without an Asterisk: what is sent is kept over kill -9 and a full disk."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from lab.asterisk import wait_until
from pbxd.cli.client import Client
from pbxd.errors import ControlError
from tests.conftest import reachable
from tests.running import Running
from tests.test_recordings import by

CHATS = """
comms: {{folder: {folder}/comms, key_file: {folder}/keys/comms.key}}
people:
  - {{name: anna, login: nobody, extensions: ['101'], teams: [sales]}}
  - {{name: bert, login: daemon, extensions: ['102']}}
chat: {{enabled: true, keep: 1d, rooms: {{sales: {{members: [bert], teams: [sales], number: 701}}}}}}
"""


@pytest.fixture
def chats(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    with running.config.open("a") as file:
        file.write(CHATS.format(folder=tmp_path))
    running.start()
    wait_until(lambda: running.ctl("chat", "rooms").returncode == 0, "the store to be open")
    yield running
    running.kill()


def test_what_root_does(chats: Running, tmp_path: Path) -> None:
    assert "message 1 in sales" in chats.ctl("chat", "send", "701", "Guten Morgen").stdout
    assert chats.ctl("chat", "send", "anna", "-", input="two\nlines \x1b[31m").stdout == "message 2 in anna+root\n"
    (tmp_path / "notes.txt").write_text("content")
    assert (
        "attachment chat-" in chats.ctl("chat", "attach", "sales", str(tmp_path / "notes.txt"), "--text", "look").stdout
    )
    shown = [json.loads(line) for line in chats.ctl("chat", "show", "sales", "--json").stdout.splitlines()]
    assert [(one["sender"], one["text"], bool(one["attachment"])) for one in shown] == [
        ("root", "Guten Morgen", False), ("root", "look", True)
    ]  # fmt: skip
    cut = chats.ctl("chat", "show", "sales", "--limit", "1")
    assert ("Guten Morgen" in cut.stdout, cut.stderr) == (False, "1 of 2; --limit N or --before …\n")
    file = shown[1]["attachment"]["id"]
    assert chats.ctl("chat", "download", file, "-o", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back").read_text() == "content"
    assert "\x1b" not in chats.ctl("chat", "show", "anna+root").stdout
    assert "Guten Morgen" in chats.ctl("chat", "search", "MORGEN").stdout
    assert chats.ctl("chat", "export", "--person", "bert", "-o", str(tmp_path / "b.zip")).returncode == 0
    with zipfile.ZipFile(tmp_path / "b.zip") as made:
        assert b"Guten Morgen" in made.read("chats/sales/messages.txt")
    assert chats.ctl("vault", "export", "-o", str(tmp_path / "all.tar")).returncode == 0
    assert b"Guten Morgen" in (tmp_path / "all.tar").read_bytes()
    assert chats.ctl("chat", "hold", "sales", "--reason", "case 4711").returncode == 0
    assert "held: case 4711" in chats.ctl("chat", "rooms").stdout
    assert "case 4711" in chats.ctl("chat", "delete", "sales", "--yes").stderr
    assert chats.ctl("chat", "release", "sales").returncode == 0
    assert chats.ctl("chat", "delete", "--message", "3", "--yes").returncode == 0
    assert json.loads(chats.ctl("chat", "show", "sales", "--facts").stdout)["messages"] == 1
    assert "there is no person and no room" in chats.ctl("chat", "send", "zoe", "hi").stderr
    actions = [json.loads(line)["action"] for line in chats.ctl("audit", "list", "--json").stdout.splitlines()]
    assert actions == [
        "send", "send", "play", "play", "download", "play", "export", "export", "hold", "delete", "release", "delete", "see"
    ]  # fmt: skip
    findings = {one["check"]: one for one in json.loads(chats.ctl("doctor", "--json").stdout)}
    assert findings["chat"]["state"] == "ok"
    assert "pbxd_chat_rooms" in chats.ctl("metrics").stdout
    assert "chat     " in chats.ctl("status").stdout


def test_others_get_what_is_theirs(chats: Running, tmp_path: Path) -> None:
    """`nobody` is anna, `daemon` is bert, `games` is nobody that is named."""
    chats.kill()
    reachable(tmp_path)
    plain = f"control: {{socket: {tmp_path}/control.sock"
    chats.config.write_text(chats.config.read_text().replace(plain, plain + ", group: games"))
    chats.start()
    wait_until(lambda: chats.ctl("chat", "rooms").returncode == 0, "the store to be open")
    sent = by("nobody", chats, "POST", "/v1/chat/messages?to=bert")
    assert sent[0] == 400  # a fork of the test sends no body: the message is empty
    chats.ctl("chat", "send", "sales", "to all")
    rooms = {
        user: json.loads(by(user, chats, "GET", "/v1/chat/rooms")[1])["rooms"] for user in ("nobody", "daemon", "games")
    }
    assert {user: [one["room"] for one in found] for user, found in rooms.items()} == {
        "nobody": ["sales"], "daemon": ["sales"], "games": []
    }  # fmt: skip
    assert b"to all" in by("daemon", chats, "GET", "/v1/chat/rooms/sales/messages")[1]
    for user, method, route in (
        ("games", "GET", "/v1/chat/rooms/sales/messages"), ("games", "GET", "/v1/chat/watch"),
        ("nobody", "DELETE", "/v1/chat/rooms/sales"), ("nobody", "GET", "/v1/chat/export?person=bert"),
    ):  # fmt: skip
        status, body = by(user, chats, method, route)
        assert (status, b"may not" in body) == (400, True), (user, route)


def test_who_watches_is_told_and_a_stop_ends_it(chats: Running, tmp_path: Path) -> None:
    events: list[dict[str, object]] = []
    client = Client(tmp_path / "control.sock")
    watching = threading.Thread(target=lambda: events.extend(client.lines("/v1/chat/watch", patient=True)))
    watching.start()
    wait_until(lambda: json.loads(chats.ctl("status", "--json").stdout)["chat"]["watchers"] == 1, "the watcher")
    chats.ctl("chat", "send", "sales", "hello")
    assert chats.process is not None
    chats.process.terminate()
    assert chats.process.wait(30) == 0
    watching.join(30)
    assert [event["message"]["text"] for event in events if event["event"] == "message"] == ["hello"]  # type: ignore[index]


def test_a_new_room_is_there_after_a_reload(chats: Running) -> None:
    chats.config.write_text(
        chats.config.read_text().replace("rooms: {sales:", "rooms: {board: {members: [anna]}, sales:")
    )
    assert "chat.rooms" in chats.ctl("reload").stdout
    assert "in board" in chats.ctl("chat", "send", "board", "hello").stdout


def test_without_chats_nothing_is_made(pbxd: Running, tmp_path: Path) -> None:
    assert "chat.enabled is false" in pbxd.ctl("chat", "rooms").stderr
    assert not (tmp_path / "comms").exists()


def sending(client: Client, name: str, accepted: list[str], more: str = "") -> str:
    """Send as fast as it goes until that fails; the token of the message that was not accepted."""
    for n in range(100_000):
        token = f"{name}-{n}"
        try:
            client.post("/v1/chat/messages", f"text {token}{more}".encode(), to="sales", token=token)
        except (ControlError, ValueError):  # no answer, half of one, or a refusal
            return token
        accepted.append(token)
    return ""


def test_kill_9_in_the_middle_of_sends(chats: Running, tmp_path: Path) -> None:
    """Each message that was accepted is there once; one that was under way is there once or not at all, and can be sent again."""
    accepted: list[str] = []
    client = Client(tmp_path / "control.sock")
    with ThreadPoolExecutor(1) as thread:
        for number in range(4):
            before = len(accepted)
            under_way = thread.submit(sending, client, str(number), accepted)
            wait_until(partial(lambda wanted: len(accepted) >= wanted, before + 5 + 7 * number), "some messages")
            chats.kill()
            last = under_way.result()
            chats.start()
            wait_until(lambda: chats.ctl("chat", "rooms").returncode == 0, "the store to be open again")
            client.post("/v1/chat/messages", f"text {last}".encode(), to="sales", token=last)  # as its sender would
            accepted.append(last)
    lines = chats.ctl("chat", "show", "sales", "--limit", "1000000", "--json").stdout.splitlines()
    assert [json.loads(line)["text"] for line in lines] == [f"text {token}" for token in accepted]
    assert chats.ctl("vault", "verify").returncode == 0
    assert chats.ctl("audit", "verify").returncode == 0


def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "comms").mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", str(tmp_path / "comms")], check=True)
    running = Running(tmp_path)
    try:
        with running.config.open("a") as file:
            file.write(CHATS.format(folder=tmp_path))
        running.start()
        wait_until(lambda: running.ctl("chat", "rooms").returncode == 0, "the store to be open")
        client = Client(tmp_path / "control.sock")
        for n in range(20):
            client.post("/v1/chat/messages", f"early {n}".encode(), to="sales")
        free = os.statvfs(tmp_path / "comms")
        (tmp_path / "comms" / "ballast").write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - 256 * 1024)))
        late: list[str] = []
        assert sending(client, "late", late, " " + "x" * 12_000) == f"late-{len(late)}"
        assert "free disk space" in running.ctl("chat", "send", "sales", "x" * 12_000).stderr
        attached = running.ctl("chat", "attach", "sales", str(running.config))
        assert attached.returncode == 1
        (tmp_path / "comms" / "ballast").unlink()
        wait_until(lambda: running.ctl("chat", "send", "sales", "it goes on").returncode == 0, "it to go on by itself")
        texts = [
            json.loads(one)["text"]
            for one in running.ctl("chat", "show", "sales", "--limit", "900", "--json").stdout.splitlines()
        ]
        assert texts[:20] == [f"early {n}" for n in range(20)]
        assert [text.split()[1] for text in texts[20:-1]] == late
        assert texts[-1] == "it goes on"
        assert running.ctl("vault", "verify").returncode == 0
    finally:
        running.kill()
        subprocess.run(["umount", str(tmp_path / "comms")], check=True)
