"""What people of support are shown: nothing of a full configuration but what is known to be plain, in no word."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from pbxd import doctor
from pbxd.config.overlay import Change
from pbxd.config.schema import Config, keys, value_of
from pbxd.config.shown import is_plain
from pbxd.errors import SupportError
from pbxd.spoken import words_of
from pbxd.uplink.support import views
from pbxd.uplink.support.words import CHANGING, LOOKING
from tests.uplink.support.rig import Rig

CANARIES = """
site: {name: canary-1, time_zone: Europe/Berlin, trunks: [PJSIP/trunk-a*, PJSIP/4930123456],
  extensions: [71XX], phones: {canary-2: '7102'}}
ami: {host: canary-3.example, username: canary-4, secret: canary-5, tls: {enabled: true, ca_file: /canary-6/ca}}
journal: {cel: /canary-7/cel.csv, queue_log: /canary-8/queue_log, own: /canary-9/own.csv}
statistics: {database: 'postgresql+asyncpg://canary-10@host/x', service_levels: {canary-11: 30s}}
reports: {state: /canary-12/x.json, schedules: [{name: canary-13, report: calls, to: [canary-14@example.org]}],
  mail: {host: canary-15.example, username: canary-16, password: canary-17,
    password_file: /canary-18, sender: canary-19@example.org, ca_file: /canary-20}}
people: [{name: canary-21, full_name: Canary-22, login: canary-23, role: user,
  extensions: ['7103'], mailboxes: ['7104'], teams: [canary-24]}]
comms: {folder: /canary-25, key_file: /canary-26/key}
recording: {announcement: canary-27, classes: [canary-28], keep_classes: {canary-28: 1d}, spool: /canary-29,
  spool_on_disk: /canary-65, spool_in_asterisk: /canary-30,
  spool_group: canary-31,
  rules: [{record: always, queue: [canary-32]}]}
control: {socket: /canary-34/sock, group: canary-35}
metrics: {listen: 'canary-36.example:9464'}
agi: {listen: 'canary-37.example:4573', socket: /canary-38/agi, users: [canary-66], peers: [192.0.2.71],
  hours: {canary-39: {holidays: {'12-25': Canary-40}}},
  lookup: {names: {'+4971055': Canary-41}, blocked: ['+4971066'], allowed: ['+4971077'], country: '+49'},
  agents: {'7105': {pin: '71067106', queues: [canary-42], name: Canary-43, interface: PJSIP/canary-44}},
  pause_reasons: {'7': canary-45},
  greeting: {format: canary46}, directory: {people: {'7107': {first: Canary-47, last: Canary-48}}},
  scripts: {folder: /canary-49, user: canary-50, service: /canary-67}}
voicemail: {enabled: true, spool: /canary-51, boxes: [{box: '7108', mail: [canary-52@example.org]}]}
chat: {rooms: {canary-53: {title: Canary-54, number: '7109', members: [canary-21], teams: [canary-24]}}, mute: ['7110']}
uplink: {hub: 'canary-55.example:22',
  host_keys: [ssh-ed25519 AAAACanaryAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA],
  outbox: /canary-57, state: /canary-58, key_file: /canary-59, group: canary-60,
  support: /canary-61, accepted: /canary-62.yaml, checkpoints_to: canary-63@example.org, checkpoints_log: /canary-64}
"""
NUMBERS = "192[.]0[.]2[.]71|71(?:XX|0[2-9]|10)|71067106|4971055|4971066|4971077|4930123456"
NO_CANARY = re.compile(
    f"canary|(?<![0-9a-f])(?:{NUMBERS})(?![0-9a-f])", re.IGNORECASE
)  # a number in a proposal's id is none


def test_of_the_configuration_nothing_is_shown_but_what_is_known_to_be_plain() -> None:
    now = Config.model_validate(yaml.safe_load(CANARIES))
    text = views.config(now, "")
    assert 'site.trunks: ["PJSIP/trunk-a*", "…"]' in text
    assert 'agi.lookup.country: "+49"' in text
    assert 'site.time_zone: "Europe/Berlin"' in text
    assert 'chat.rooms: "… (1)"' in text
    assert "ami.tls.enabled: true" in text
    assert NO_CANARY.search(text) is None, NO_CANARY.search(text)
    texts = {key for key, info in keys().items() if not is_plain(info)}
    assert {key for key in texts if value_of(now, key) == value_of(Config(), key)} == {
        "ami.secret_file", "agi.lookup.trunk_prefix", "agi.lookup.international_prefix", "agi.directory.by",
    }  # a key that is new has its canary above  # fmt: skip
    for key in keys():
        assert NO_CANARY.search(views.change(now, [Change(key, "x"), Change(f"{key}.y", "x")])) is None
    with pytest.raises(SupportError):
        views.config(now, "site.nothing")


def test_the_doctor_speaks_in_its_own_words() -> None:
    words = words_of(doctor)
    found = doctor.as_dicts(
        [
            doctor.ami(
                {"state": "x", "connected": False, "last_error": "canary.example refused 7101", "peer": "canary:5038"}
            ),
            doctor.rotation(Path("/canary/anna.lindqvist@example.org")),
            doctor.clock(12.5, 1.0),
        ]
    )
    text = views.doctor(found, words)
    assert "not connected to …" in text
    assert "differs from ours by 12.5 s" in text
    for hidden in ("canary", "anna", "example", "7101"):
        assert hidden not in text


ON_THE_BOX = """
people: [{{name: canary-21, full_name: Canary-22, login: canary-23, extensions: ['7103'], mailboxes: ['7104'], teams: [canary-24]}}]
reports: {{mail: {{host: canary-15.invalid, sender: canary-19@example.org}}}}
comms: {{folder: {folder}/canary-25, key_file: {folder}/canary-26}}
recording: {{enabled: true, spool: {folder}/canary-29, spool_group: canary-31}}
voicemail: {{enabled: true, spool: {folder}/canary-51, boxes: [{{box: '7108', mail: [canary-52@example.org]}}]}}
chat: {{enabled: true, rooms: {{canary-53: {{title: Canary-54, number: '7109', members: [canary-21]}}}}, mute: ['7110']}}
"""


def test_no_word_of_a_session_shows_a_canary(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    text = rig.pbxd.config.read_text()
    assert "\nrecording:" not in text
    rig.pbxd.config.write_text(text + ON_THE_BOX.format(folder=tmp_path))
    rig.pbxd.start()
    try:
        with rig.ticket("configure") as ticket:
            rig.certify(ticket)
            asked = [word for word in {**LOOKING, **CHANGING} if word not in ("exit", "propose")]
            asked += [
                "config people",
                "config voicemail",
                "config canary-1",
                "propose chat.mute '[]'",
                "propose voicemail.boxes 7",
                "proposals",
            ]
            words = rig.ssh_words(ticket, "-T", "")[:-1]
            said = "\n".join(asked) + "\n"
            done = subprocess.run(words, capture_output=True, text=True, check=False, input=said, timeout=60)
        assert "waits for the customer's answer" in done.stdout, done
        assert "is invalid; the customer sees why" in done.stdout
        assert 'people: "… (1)"' in done.stdout
        findings = str(rig.ask("/v1/doctor"))
        assert NO_CANARY.search(findings), "the doctor has nothing to hide here"
        shown = done.stdout.replace("config canary-1", "").replace("canary-1: there is no such key", "")
        found = NO_CANARY.search(shown)
        assert found is None, shown[max(0, found.start() - 200) : found.end() + 50]
    finally:
        rig.pbxd.kill()
