"""The daemon's part, on a running pbxd with a real hub: enrol, preview, send, switch off, keep statistics to oneself."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.asterisk import wait_until
from lab.tree import environment
from pbxd.uplink.audit import verify
from pbxd.uplink.notes import Verifier
from tests.hub.running import Hub
from tests.running import Running
from tests.uplink.boxes import GROUP, USER
from tests.uplink.canaries import CANARIES, files, searched

UPLINK = """
uplink:
  hub: {address}
  host_keys: ["{key}"]
  outbox: {folder}/outbox
  state: {folder}/link
  key_file: {folder}/keys/ledger.key
  group: {group}
  reconnect_first: 50ms
  reconnect_longest: 1s
  share_statistics: {share}
  enabled: {enabled}
  {more}
"""


def settings(folder: Path, hub: Hub, *, share: bool = True, enabled: bool = True, more: str = "") -> str:
    """What a box in `folder` is told of its uplink; `more` is another key of it."""
    values = {"address": f"{hub.address}:{hub.port}", "key": hub.host_key, "folder": folder, "more": more}
    words = {"share": str(share).lower(), "enabled": str(enabled).lower()}
    return UPLINK.format(**values, **words, group=grp.getgrgid(GROUP).gr_name)


def link_of(folder: Path, **extra: str) -> subprocess.Popen[bytes]:
    """The link's process of that box, begun; `extra` is of its environment."""
    command = [sys.executable, "-m", "pbxd.uplink.link", str(folder / "outbox"), str(folder / "link"), USER]
    with (folder / "link.json").open("ab") as log:
        return subprocess.Popen(command, stderr=log, env=environment() | extra)


class UplinkBox(Running):
    """A pbxd with an uplink, and the link's process beside it, as systemd would start it."""

    def __init__(self, folder: Path, hub: Hub) -> None:
        super().__init__(folder)
        self.hub = hub
        self.plain = self.config.read_text()
        self.more = ""  # another key of `uplink`
        self.outbox, self.state = folder / "outbox", folder / "link"
        self.state.mkdir()
        os.chown(self.state, pwd.getpwnam(USER).pw_uid, GROUP)
        self.link: subprocess.Popen[bytes] | None = None
        self.configure()

    def configure(self, *, share: bool = True, enabled: bool = True) -> None:
        own = settings(self.folder, self.hub, share=share, enabled=enabled, more=self.more)
        self.config.write_text(self.plain + own)

    def reload(self, **changes: bool) -> None:
        self.configure(**changes)
        done = self.ctl_here("reload")
        assert done.returncode == 0, done.stderr

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("/v1/uplink")
        return found

    def start_link(self, **extra: str) -> None:
        self.link = link_of(self.folder, **extra)

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.outbox / "ledger").read_text().splitlines()]

    def stop_link(self) -> None:
        assert self.link is not None
        self.link.terminate()
        self.link.wait()

    def ledger_has(self, what: str, after: Callable[[], None]) -> None:
        """Do something, and wait until a line of this kind is there."""
        after()
        wait_until(lambda: any(line["what"] == what for line in self.entries()), f"a line {what}")

    def becomes(self, **wanted: Any) -> dict[str, Any]:
        """Wait until the status says so."""
        found: dict[str, Any] = {}

        def so() -> bool:
            found.clear()
            found.update(self.status())
            return all(found[name] == value for name, value in wanted.items())

        wait_until(so, f"the uplink to be {wanted}")
        return found

    def kill(self) -> None:
        if self.link is not None and self.link.poll() is None:
            self.link.kill()
            self.link.wait()
        super().kill()


@pytest.fixture
def box(open_folder: Path, hub: Hub) -> Iterator[UplinkBox]:
    made = UplinkBox(open_folder, hub)
    made.start()
    yield made
    made.kill()


async def enrolled(box: UplinkBox) -> None:
    """Enrol, as an admin does."""
    done = box.ctl_here("uplink", "enrol", "--token", await box.hub.token())
    assert done.returncode == 0, done.stderr


async def test_P7_a_box_is_enrolled_connects_and_sends_what_preview_showed(box: UplinkBox) -> None:
    assert box.status()["enrolled"] is None
    assert not (box.outbox / "enabled").exists()  # never before it is enrolled
    await enrolled(box)
    wait_until(lambda: box.status()["waiting"] >= 2, "configuration and health to be queued")
    listed = json.loads(box.ctl_here("uplink", "preview", "--json").stdout)
    shown = {one["number"]: box.ctl_here("uplink", "preview", str(one["number"])).stdout.encode() for one in listed[:2]}
    assert {one["number"]: one["sha256"] for one in listed[:2]} == {
        number: hashlib.sha256(body).hexdigest() for number, body in shown.items()
    }
    box.start_link()
    box.becomes(connected=True, waiting=0)
    held = {number: bytes(body) for number, body in await box.hub.query("SELECT number, body FROM entries")}
    assert {number: held[number] for number in shown} == shown
    verdict = json.loads(box.ctl_here("uplink", "verify", "--json").stdout)
    assert box.ctl_here("uplink", "ledger").stdout.count("\n") >= verdict["lines"]
    assert verdict["faults"] == []
    assert verdict["lines"] >= 3 * len(shown)
    assert "uplink   connected" in box.ctl_here("status").stdout
    assert "pbxd_uplink_connected 1.0" in box.ctl_here("metrics").stdout
    assert "connected to" in box.ctl_here("doctor").stdout


async def test_checkpoints_go_to_the_system_s_log_from_a_reload_on(box: UplinkBox) -> None:
    """A socket of the test stands where the log does; what came there is what `verify` takes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(box.folder / "log.sock"))
        log.settimeout(60)
        box.more = f"checkpoints: syslog\n  checkpoints_log: {box.folder}/log.sock"
        box.reload()
        await enrolled(box)
        (box.folder / "messages").write_bytes(log.recv(8192))
    done = box.ctl_here("uplink", "verify", "--checkpoints", str(box.folder / "messages"))
    assert done.returncode == 0, done.stdout
    assert "1 of them from elsewhere" in done.stdout
    assert "checkpoints syslog" in box.ctl_here("uplink", "status").stdout


async def test_P8_off_is_at_once_and_over_restarts(box: UplinkBox) -> None:
    await enrolled(box)
    box.start_link()
    assert box.link is not None
    box.becomes(connected=True)
    done = box.ctl_here("uplink", "off")
    assert done.returncode == 0, done.stderr
    assert "support sessions" in done.stdout  # what stops working is said on the spot
    assert box.link.wait(timeout=60) == 0
    assert box.status()["on"] is False
    box.kill()
    box.start()
    assert box.status()["off"] is True
    assert not (box.outbox / "enabled").exists()
    assert box.ctl_here("uplink", "on").returncode == 0
    box.start_link()
    box.becomes(connected=True)
    box.reload(enabled=False)
    assert box.link.wait(timeout=60) == 0
    assert [(line["value"], line["by"]) for line in box.entries() if line.get("name") == "uplink"] == [
        ("true", "configuration"),
        ("false", "pbxctl (root)"),
        ("true", "pbxctl (root)"),
        ("false", "configuration"),
    ]


async def test_P8_off_works_without_a_daemon(box: UplinkBox) -> None:
    await enrolled(box)
    box.start_link()
    assert box.link is not None
    box.becomes(connected=True)
    assert box.process is not None
    box.process.kill()
    box.process.wait()
    done = box.ctl("uplink", "off", "--outbox", str(box.outbox))
    assert done.returncode == 0, done.stderr
    assert box.link.wait(timeout=60) == 0


async def test_destroy_unsent(box: UplinkBox) -> None:
    await enrolled(box)
    wait_until(lambda: box.status()["waiting"] >= 2, "something to be queued")
    done = box.ctl_here("uplink", "destroy-unsent", "--yes")
    assert done.returncode == 0, done.stderr
    assert box.status()["waiting"] == 0
    assert list((box.outbox / "bodies").iterdir()) == []
    box.start_link()
    box.becomes(connected=True)
    box.ledger_has("connection", after=box.stop_link)
    rows = await box.hub.query("SELECT why, body FROM entries WHERE number < 2")
    assert rows == [("destroyed", None)] * 2


async def test_P8_what_waits_when_it_is_switched_off_is_told_and_can_be_destroyed(box: UplinkBox) -> None:
    await enrolled(box)
    wait_until(lambda: box.status()["waiting"] >= 2, "something to be queued")
    told = box.ctl_here("uplink", "off").stdout
    waiting = box.status()["waiting"]
    line = f"{waiting} entries that were not sent wait: they go up when it is on again."
    for said in (told, box.ctl_here("uplink", "status").stdout):
        assert line in said
        assert "`pbxctl uplink destroy-unsent` destroys them" in said
    assert f"off: nothing leaves; {waiting} entries wait" in box.ctl_here("status").stdout
    assert f"{waiting} entries destroyed" in box.ctl_here("uplink", "destroy-unsent", "--yes").stdout
    assert "that were not sent wait" not in box.ctl_here("uplink", "status").stdout


async def test_a_changed_ledger_stops_everything(box: UplinkBox) -> None:
    """Whoever changed a line: nothing leaves any more, and the doctor says so."""
    await enrolled(box)
    wait_until(lambda: box.status()["waiting"] >= 2, "something to be queued")
    vkey = Verifier.of(json.loads((box.outbox / "identity" / "enrolment.json").read_text())["ledger"])
    assert verify(box.outbox, vkey).faults == []
    box.kill()
    path = box.outbox / "ledger"
    path.write_bytes(path.read_bytes().replace(b'"class":"health"', b'"class":"config"'))
    box.start()
    wait_until(lambda: "not those that were signed" in box.status()["error"], "the change to be seen")
    assert not (box.outbox / "enabled").exists()
    assert "not those that were signed" in box.ctl_here("doctor").stdout
    assert verify(box.outbox, vkey).faults


async def test_a_wrong_token_is_told(box: UplinkBox) -> None:
    done = box.ctl("uplink", "enrol", "--token", "wrong")
    assert done.returncode == 1
    assert "token" in done.stderr
    assert box.status()["enrolled"] is None


async def test_P3_what_people_say_and_leave_stays_on_the_box(open_folder: Path, hub: Hub, journals: Path) -> None:
    """Canaries in calls, voicemail, recordings, chats and keys of a running box; everything that the hub has is searched."""
    box = UplinkBox(open_folder, hub)
    for name in (
        "voicemail/default/101/INBOX/msg0000.txt",
        "comms/object",
        "comms/chat.db",
        "spool/call.wav",
        "keys/comms.key",
    ):
        path = open_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(CANARIES))
    box.plain += f"""
voicemail: {{spool: {open_folder}/voicemail}}
comms: {{folder: {open_folder}/comms, key_file: {open_folder}/keys/comms.key}}
recording: {{spool: {open_folder}/spool}}
"""
    box.configure()
    lines = (journals / "queue.csv").read_bytes()
    lines = lines.replace(b"Phone 103", CANARIES[2].encode()).replace(b'"103"', f'"{CANARIES[0]}"'.encode())
    try:
        box.start()
        with box.journal.open("ab") as journal:
            journal.write(lines)
        wait_until(lambda: box.calls() > 0, "the calls to be in the store")
        await enrolled(box)
        box.start_link()
        box.becomes(connected=True, waiting=0)
        store = b"".join(path.read_bytes() for path in files(open_folder / "state"))
        assert searched(store)  # they are in the store, and the search finds them there
        assert (
            searched(b"".join(path.read_bytes() for folder in (box.outbox, hub.folder) for path in files(folder))) == []
        )
    finally:
        box.kill()
