"""Support beside a real Asterisk: a change is accepted in a call; one that does harm is taken back; the call goes on."""

from __future__ import annotations

import json

import pytest

from lab.asterisk import wait_until
from lab.box import Box
from pbxd.uplink.keyring import make_signer
from tests.uplink.support.rig import BOX, Key

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
KEYS = """
uplink: {{support: {folder}/support, outbox: {folder}/outbox, state: {folder}/link, key_file: {folder}/keys/ledger.key,
          accepted: {folder}/accepted.yaml, health_wait: 1ms}}
"""


def test_a_change_is_accepted_in_the_middle_of_a_call(new_box: Box) -> None:
    folder = new_box.pbxd.folder
    new_box.pbxd.configure(more=KEYS.format(folder=folder))
    for name in ("outbox/identity", "link"):
        (folder / name).mkdir(parents=True)
    ledger = make_signer(folder / "keys" / "ledger.key").verifier.text
    authority = Key(folder / "ca").public
    enrolment = {"box": BOX, "hub": "hub:22", "until": "2036-01-01T00:00:00Z", "support_ca": authority}
    enrolment |= {"message_key": ledger, "ledger": ledger}
    (folder / "outbox" / "identity" / "enrolment.json").write_text(json.dumps(enrolment))
    with (new_box.asterisk.etc / "extensions.conf").open("a") as dialplan:
        dialplan.write("\n[held]\nexten => s,1,Answer()\n same => n,Wait(600)\n")
    new_box.start()
    new_box.asterisk.command("channel originate Local/s@held application Wait 600")
    wait_until(lambda: new_box.pbxd.status()["live"]["calls"] == 1, "the call")

    for change, taken in (
        ({"path": "site.trunks", "value": ["PJSIP/new-*"]}, True),
        ({"path": "doctor.disk_low", "value": "1000TiB"}, False),
    ):
        proposal = {
            "id": "0badcafe", "source": "a test", "by": "zoe", "reason": "a test", "changes": [change], "made": 1.0,
            "state": "asked", "why": "", "answered": None, "answered_by": "", "difference": [], "waits": [], "health": {},
            "order": 0,
        }  # fmt: skip
        path = folder / "support" / "proposals" / "0badcafe.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        new_box.pbxd.stop()
        path.write_text(json.dumps(proposal))
        new_box.pbxd.start()
        wait_until(lambda: new_box.pbxd.status()["live"]["calls"] == 1, "the call in pbxd's view")
        done = new_box.pbxd.ctl("uplink", "proposal", "accept", "0badcafe", check=False)
        assert (done.returncode == 0) is taken, done
        assert ("PJSIP/new-*" in done.stdout) is taken
        status = new_box.pbxd.status()
        assert status["ami"]["connected"]
        assert status["ami"]["reconnects"] == 0
        assert status["live"]["calls"] == 1
    assert "taken back: the doctor finds worse than before: disk" in done.stderr
