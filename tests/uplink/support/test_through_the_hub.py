"""The whole way: plain `ssh -J` through the real hub and the real link to the box, a change of a trunk, and back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.asterisk import wait_until
from pbxd.policy.network import process
from tests.hub.conftest import NewHub
from tests.hub.running import WIDE, Hub
from tests.uplink.support.rig import Key, halls
from tests.uplink.test_service import UplinkBox, enrolled

SSH = """
Host hub
  HostName {address}
  Port {port}
  User zoe
Host *
  IdentityFile {person}
  IdentitiesOnly yes
  BatchMode yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
"""


class SupportedBox(UplinkBox):
    """A box with an uplink whose owner lets support in."""

    def configure(self, **changes: bool) -> None:
        super().configure(**changes)
        with self.config.open("a") as file:
            file.write(f"  support: {self.folder}/support\n  accepted: {self.folder}/accepted.yaml\n")
        for path, mode in ((self.config, 0o640), (self.journal.parent, 0o750)):
            path.chmod(mode)  # as the units and the packages have it


@pytest.fixture
def hub(new_hub: NewHub) -> Hub:
    """A hub that takes the OpenSSH of this machine, which may know no mlkem768x25519-sha256."""
    made = new_hub(more=WIDE + "classical_kex: true\n")
    made.start()
    return made


@pytest.fixture
def box(open_folder: Path, hub: Hub) -> Iterator[SupportedBox]:
    made = SupportedBox(open_folder, hub)
    made.start()
    yield made
    made.kill()


async def test_open_diagnose_propose_apply_undo_replay(box: SupportedBox, hub: Hub, tmp_path: Path) -> None:
    await enrolled(box)
    box.start_link()
    box.becomes(connected=True)
    person = Key(tmp_path / "zoe")
    await hub.admit("zoe", person.public)
    settings = tmp_path / "ssh_config"
    settings.write_text(SSH.format(address=hub.address, port=hub.port, person=person.path))

    def ssh(user: str, command: str) -> subprocess.CompletedProcess[str]:
        words = ["ssh", "-F", str(settings), "-J", "hub", f"{user}@{box.status()['enrolled']}", command]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)

    assert "takes no visitors: its owner holds no ticket open" in ssh("0" * 16, "status").stderr

    done = box.ctl("support", "open", "--scope", "configure", "--reason", "request", "--note", "no calls by the trunk")
    assert done.returncode == 0, done.stderr
    assert "the uplink is off" not in done.stdout
    ticket = box.ask("/v1/status")["support"]["ticket"]
    assert f"ssh -J {hub.address}:{hub.port} {ticket}@{box.status()['enrolled']}" in done.stdout
    wait_until(lambda: "people of support can come through" in (box.folder / "link.json").read_text(), "the line")

    assert ssh(ticket, "status").returncode == 255  # the hub lets the person through; the box wants a certificate
    certified = hub.ctl("staff", "certify", "zoe", ticket, "-o", str(tmp_path / "zoe-cert.pub"))
    assert certified.returncode == 0, certified.stderr
    assert "trunk" in ssh(ticket, "config site").stdout
    assert ssh(ticket, "doctor").returncode == 0
    proposed = ssh(ticket, """propose site.trunks '["PJSIP/new-*"]' 'it has a new name'""")
    assert proposed.returncode == 0, proposed

    (proposal,) = box.ask("/v1/uplink/proposals")["proposals"]
    shown = box.ctl("uplink", "proposal", "show", proposal["id"]).stdout
    assert '- site.trunks: ["PJSIP/trunk-*"]' in shown
    assert '+ site.trunks: ["PJSIP/new-*"]' in shown
    assert "it has a new name" in shown
    assert box.ctl("uplink", "proposal", "accept", proposal["id"]).returncode == 0
    assert 'site.trunks: ["PJSIP/new-*"]' in ssh(ticket, "config site.trunks").stdout
    assert box.ctl("uplink", "proposal", "undo", proposal["id"]).returncode == 0
    assert 'site.trunks: ["PJSIP/trunk-*"]' in ssh(ticket, "config site.trunks").stdout

    held = [process(pid) for pid in halls()]
    assert held
    assert not any(one and (one.listening or one.connected or one.udp) for one in held)
    assert box.ctl("support", "end").returncode == 0
    wait_until(lambda: "takes no visitors" in ssh(ticket, "status").stderr, "the way to be closed")
    assert 'site.trunks: ["PJSIP/new-*"]' in box.ctl("support", "replay", ticket, "4", "--speed", "0").stdout
    sessions = [line["facts"] for line in box.entries() if line["what"] == "support" and line["event"] == "support-end"]
    assert [one["session"] for one in sessions] == [1, 2, 3, 4, 5]
    assert box.ctl("policy", "verify").returncode == 0, box.ctl("policy", "verify").stdout
    verdict = {one["clause"]: one for one in json.loads(box.ctl("policy", "verify", "--json").stdout)}
    assert (
        verdict["P4"]["state"] == verdict["P3"]["state"] == verdict["P7"]["state"] == verdict["P1"]["state"] == "kept"
    )
    assert "tried as nobody" in verdict["P3"]["evidence"][0]


async def test_P8_off_ends_the_way_of_support_too(box: SupportedBox) -> None:
    await enrolled(box)
    box.start_link()
    box.becomes(connected=True)
    assert box.ctl("support", "open", "--reason", "request").returncode == 0
    wait_until(lambda: "people of support can come through" in (box.folder / "link.json").read_text(), "the line")
    assert box.link is not None
    found = process(box.link.pid)
    assert found is not None
    assert len(found.connected) == 2
    assert not found.listening
    assert box.ctl("uplink", "off", "--outbox", str(box.outbox)).returncode == 0
    assert box.link.wait(60) == 0
