"""`pbxhub` as an operator types it, on a machine where there is nothing yet."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from lab.asterisk import wait_until
from lab.tree import environment
from tests.hub.conftest import NewHub
from tests.hub.peer import Peer, entry, health
from tests.hub.running import Hub, pbxhub


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pbxd.cli.hub", "-c", str(folder / "pbxhub.yaml"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment())


def test_init_makes_all_that_a_hub_needs_and_twice_changes_nothing(tmp_path: Path) -> None:
    absent = pbxhub("-c", str(tmp_path / "pbxhub.yaml"), "boxes")
    assert absent.returncode == 1
    assert "there is no such file; `pbxhub init` writes one" in absent.stderr
    first = run(tmp_path, "init", "--state", str(tmp_path / "state"))
    assert first.returncode == 0, first.stderr
    host_key = (tmp_path / "keys" / "host_key.pub").read_text().split()[1]
    assert host_key in first.stdout
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.parent.name == "keys"}
    config = str(tmp_path / "pbxhub.yaml")
    second = pbxhub("-c", config, "init", "--state", str(tmp_path / "state"))
    assert second.returncode == 0
    assert "written" not in second.stdout
    assert before == {path: path.read_bytes() for path in before}
    token = pbxhub("-c", config, "token", "--for", "1h").stdout.strip()
    assert re.fullmatch("[A-Za-z0-9_-]{43}", token)
    assert token.encode() not in b"".join(path.read_bytes() for path in (tmp_path / "state").iterdir())
    assert "no box is enrolled" in pbxhub("-c", config, "boxes").stdout


async def test_what_an_operator_sees_of_a_box(peer: Peer, hub: Hub) -> None:
    async with peer.uplink() as (link, _):
        await link.send(entry(0, health(77)), peer.checkpoint(4, bytes(32)), peer.checkpoint(4, bytes([1] * 32)))
        await link.until("accepted")
        await link.send(entry(1, health(78)))
        await link.until("accepted")
        listed = await asyncio.to_thread(hub.ctl, "boxes")
        assert re.search(
            f"{peer.id}  Praxis +0.1.0 +2 entries  connected  1 ALARMS: pbxhub show {peer.id}", listed.stdout
        )
        words = ("propose", peer.id, "reports.mail.host=mail", "log.level=debug", "--reason", "so", "--by", "anna")
        assert (await asyncio.to_thread(hub.ctl, *words)).returncode == 0
        assert (await link.until("message")).type == "message"
        for refused in (("propose", peer.id, "a b=1", "--reason", "x", "--by", "y"), ("notice", "0123", "a", "b")):
            done = await asyncio.to_thread(hub.ctl, *refused)
            assert done.returncode == 1
            assert done.stderr.startswith("pbxhub: ")
        shown = await asyncio.to_thread(hub.shown, "show", peer.id)
    assert shown["health"]["uptime"] == 78
    assert [one["kind"] for one in shown["messages"]] == ["propose-config"]
    assert [one["kind"] for one in shown["alarms"]] == ["fork"]
    assert shown["held"][0] | {"bytes": 0} == {"class": "health", "why": "held", "entries": 2, "bytes": 0}


def test_health_and_metrics(new_hub: NewHub) -> None:
    hub = new_hub()
    hub.start()  # it listens to boxes a moment before it tells how it is
    wait_until(lambda: hub.ctl("health").returncode == 0, "the hub to say how it is")
    said = hub.ctl("health")
    assert (said.returncode, "is well; 0 boxes" in said.stdout) == (0, True)
    with urllib.request.urlopen(f"http://{hub.config.metrics}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    for name in ("pbxhub_boxes 0.0", "pbxhub_entries_total 0.0", 'pbxhub_turned_away_total{limit="rate"} 0.0'):
        assert name in text
    hub.stop()
    gone = hub.ctl("health")
    assert gone.returncode == 1
    assert "is `pbxhub run` running?" in gone.stderr


@pytest.mark.parametrize("words", [["staff", "certify", "../x", "abcd"], ["staff", "certify", "anna", "a b"]])
def test_names_that_are_none(words: list[str]) -> None:
    done = pbxhub(*words)
    assert (done.returncode, done.stderr[:8]) == (1, "pbxhub: ")
