"""Proposed changes: asked, shown, applied, taken back by pbxd or by the customer; the customer's own files stay as they are."""

from __future__ import annotations

import base64
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.asterisk import wait_until
from pbxd.config.load import load
from pbxd.config.overlay import Change, difference, file_of, refused, tree_of
from pbxd.config.schema import Config
from pbxd.errors import ConfigError
from pbxd.uplink.administration import worse
from pbxd.uplink.merkle import Frontier, leaf_hash
from pbxd.uplink.notes import Signer
from tests.uplink.support.rig import BOX, Rig, at


def test_from_a_session_to_the_configuration_and_back(rig: Rig) -> None:
    own = rig.pbxd.config.read_text()
    with rig.ticket("configure") as ticket:
        done = rig.visit(ticket, """propose site.trunks '["PJSIP/new-*"]' 'the trunk has a new name'""")
        assert done.returncode == 0, done
        assert '+ site.trunks: ["PJSIP/new-*"]' in done.stdout
        proposal = rig.proposals()[-1]
        assert (proposal["state"], proposal["by"], proposal["source"]) == ("asked", "zoe", f"ticket {ticket}")
        before = rig.visit(ticket, "config site.trunks").stdout
        shown = rig.pbxd.ctl("uplink", "proposal", "show", proposal["id"]).stdout
        assert '- site.trunks: ["PJSIP/trunk-*"]' in shown
        assert "the trunk has a new name" in shown
        done = rig.pbxd.ctl("uplink", "proposal", "accept", proposal["id"])
        assert done.returncode == 0, done.stderr
        assert rig.visit(ticket, "config site.trunks").stdout.strip() == 'site.trunks: ["PJSIP/new-*"]'
        assert f"{proposal['id']} applied" in rig.visit(ticket, "proposals").stdout
        assert proposal["id"] in (rig.folder / "accepted.yaml").read_text()
        assert rig.pbxd.ctl("uplink", "proposal", "undo", proposal["id"]).returncode == 0
        assert rig.visit(ticket, "config site.trunks").stdout == before
        assert rig.pbxd.ctl("uplink", "proposal", "undo", proposal["id"]).returncode == 1
    assert rig.pbxd.config.read_text() == own


def ask(rig: Rig, *changes: tuple[str, Any]) -> dict[str, Any]:
    """A proposal by a signed message, as it stands when it has been looked at."""
    message = {
        "id": str(uuid.uuid4()), "box": BOX, "kind": "propose-config", "issued": at(-60), "expires": at(3600), "by": "zoe",
        "reason": "a test", "changes": [{"path": path, "value": value} for path, value in changes],
    }  # fmt: skip
    rig.send(message)
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = [one for one in rig.proposals() if one["source"] == f"message {message['id']}"]
        return bool(found)

    wait_until(there, "the proposal")
    return found[0]


def answer(rig: Rig, proposal: dict[str, Any], word: str) -> dict[str, Any]:
    found: dict[str, Any] = rig.ask(f"/v1/uplink/proposals/{proposal['id']}/{word}", "POST")
    return found


def test_one_that_does_harm_is_taken_back_by_itself(rig: Rig) -> None:
    done = rig.pbxd.ctl("uplink", "proposal", "accept", ask(rig, ("doctor.disk_low", "1000TiB"))["id"])
    assert done.returncode == 1
    assert "was applied and taken back: the doctor finds worse than before: disk" in done.stderr
    assert "disk_low" not in (rig.folder / "accepted.yaml").read_text()
    disk = next(one for one in rig.ask("/v1/doctor")["findings"] if one["check"] == "disk")
    assert disk["state"] == "ok"


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("site.trunk", ["x"], "site.trunk: unknown key; did you mean site.trunks?"),
        ("site.time_zone", "Mars/Olympus", "no time zone"),
        ("site.trunks", 7, "site.trunks"),
        ("uplink.allow_shell", True, "for you alone"),
        ("control.group", "vendor", "for you alone"),
        ("people", ["x"], "for you alone"),
        ("ami.secret_file", "/etc/passwd", "for you alone"),
        ("agi.scripts.folder", "/tmp", "for you alone"),
    ],
)
def test_nobody_is_asked_about_one_that_cannot_be(rig: Rig, path: str, value: Any, why: str) -> None:
    found = ask(rig, (path, value))
    assert found["state"] == "invalid"
    assert why in found["why"]
    assert "accepted.yaml:1" in found["why"] or "accepted.yaml" in found["why"] or "for you alone" in found["why"]


def test_later_ones_lie_over_earlier_ones_and_each_can_be_undone(rig: Rig) -> None:
    first, second = ask(rig, ("log.level", "debug"), ("site.extensions", ["3XX"])), ask(rig, ("log.level", "warning"))

    def level() -> str:
        return str(load(rig.pbxd.config).log.level)

    assert answer(rig, first, "accept")["state"] == "applied"
    assert level() == "debug"
    assert answer(rig, second, "accept")["state"] == "applied"
    assert level() == "warning"
    assert answer(rig, second, "undo")["state"] == "undone"
    assert level() == "debug"
    assert answer(rig, first, "undo")["state"] == "undone"
    assert level() == "info"
    third = ask(rig, ("log.level", "debug"))
    assert answer(rig, third, "refuse")["state"] == "refused"
    assert rig.pbxd.ctl("uplink", "proposal", "accept", third["id"]).returncode == 1
    assert level() == "info"


def test_the_customers_own_mistake_meanwhile_changes_nothing(rig: Rig) -> None:
    found = ask(rig, ("log.level", "debug"))
    own = rig.pbxd.config.read_text()
    rig.pbxd.config.write_text(own + "\nnonsense: 1\n")
    done = rig.pbxd.ctl("uplink", "proposal", "accept", found["id"])
    rig.pbxd.config.write_text(own)
    assert "nonsense: unknown key" in done.stderr
    assert load(rig.pbxd.config).log.level == "info"


def test_a_key_that_waits_for_the_next_start_is_looked_at_then(rig: Rig) -> None:
    found = answer(rig, ask(rig, ("journal.batch", 3000)), "accept")
    assert (found["state"], found["waits"]) == ("applied", ["journal.batch"])
    rig.pbxd.kill()
    rig.pbxd.start()
    wait_until(lambda: rig.proposals()[-1]["waits"] == [], "it to be looked at")
    assert rig.ask(f"/v1/uplink/proposals/{found['id']}")["state"] == "applied"
    assert answer(rig, found, "undo")["state"] == "undone"


def test_the_rule_refuse_is_that_nobody_is_asked(rig: Rig) -> None:
    with rig.configured("allow_shell: true", "allow_shell: true, proposals: refuse"):
        found = ask(rig, ("log.level", "debug"))
        assert (found["state"], found["why"]) == ("refused", "uplink.proposals is refuse")


def test_a_file_of_accepted_changes_with_the_customers_own_keys_is_refused(tmp_path: Path) -> None:
    accepted = tmp_path / "accepted.yaml"
    (tmp_path / "pbxd.yaml").write_text(f"uplink: {{accepted: {accepted}}}\nlog: {{level: debug}}\n")
    accepted.write_text("log: {level: error}\n")
    assert load(tmp_path / "pbxd.yaml").log.level == "error"
    accepted.write_text("log: {level: error}\nuplink: {allow_shell: true}\npeople: []\n")
    with pytest.raises(ConfigError) as raised:
        load(tmp_path / "pbxd.yaml")
    assert [problem.partition(": ")[0] for problem in raised.value.problems] == [f"{accepted}:2", f"{accepted}:3"]


@pytest.mark.parametrize("end", ["\n", "\r", "\x85", "\u2028", "\u2029"])
def test_a_reason_cannot_become_a_key(end: str) -> None:
    text = file_of([(f"because{end}log: {{level: debug}}", [Change("site.trunks", ["x"])])])
    assert yaml.safe_load(text) == {"site": {"trunks": ["x"]}}


def test_what_is_the_customers_own() -> None:
    assert refused("uplink.enabled")
    assert refused("ami.secret")
    assert not refused("site.trunks")
    with pytest.raises(ConfigError):
        tree_of([Change("comms.key_file", "/tmp/x")])
    assert tree_of([Change("a.b", 1), Change("a.c", 2), Change("a.b", 3)]) == {"a": {"b": 3, "c": 2}}
    assert file_of([]).splitlines()[0].startswith("# ")


def test_a_difference_shows_no_secret() -> None:
    after = Config.model_validate({"ami": {"secret": "canary"}, "site": {"trunks": ["x"]}})
    lines = difference(Config(), after, hidden=frozenset({"ami.secret"}))
    assert not any("canary" in line for line in lines)
    assert '+ site.trunks: ["x"]' in lines


def test_worse_is_what_was_not_so_before() -> None:
    assert worse({"disk": "ok", "ami": "fault"}, {"disk": "warning", "ami": "fault"}) == ["disk"]
    assert worse({"disk": "fault"}, {"disk": "warning"}) == []
    assert worse({}, {"support": "fault", "new": "fault"}) == ["new"]


def note(**changed: Any) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()), "box": BOX, "kind": "notice", "issued": at(-60), "expires": at(3600), "title": "Hello",
        "text": "We are closed on Sunday.", "topic": "product",
    } | changed  # fmt: skip


def test_each_message_that_is_refused_says_why(rig: Rig) -> None:
    count = len(rig.ask("/v1/uplink/messages")["messages"])
    good = note()
    rig.send(good)
    rig.inbox(count + 1)
    rig.send(good)
    rig.send(note(), Signer("vendor-messages", bytes(32)))
    rig.send(note(box="f" * 16))
    rig.send(note(issued=at(3000), expires=at(6000)))
    rig.send(note(issued=at(-6000), expires=at(-3000)))
    rig.lay(rig.messages.sign('pbxd message 1\n{"kind":"run","command":"id"}\n').encode())
    rig.lay(b"nonsense")
    found = rig.inbox(count + 8)[count:]
    assert [one["word"] for one in found] == [
        "", "seen", "signature", "box", "not-yet-issued", "expired", "vocabulary", "signature",
    ]  # fmt: skip
    assert [one["state"] for one in found] == ["shown"] + ["refused"] * 7
    text = rig.pbxd.ctl("uplink", "messages").stdout
    assert "We are closed on Sunday." in text
    assert "its kind 'run' is none of" in text
    assert not list((rig.outbox / "down").iterdir())


def test_notices_can_be_turned_off_but_for_security(rig: Rig) -> None:
    with rig.configured("allow_shell: true", "allow_shell: true, notices: hide, offers: refuse"):
        count = len(rig.ask("/v1/uplink/messages")["messages"])
        rig.send(note())
        rig.send(note(topic="security"))
        offer = {"kind": "offer-update", "version": "2.0", "summary": "new", "sha256": "0" * 64}
        rig.send({name: value for name, value in note().items() if name not in ("title", "text", "topic")} | offer)
        states = [(one["kind"], one["state"]) for one in rig.inbox(count + 3)[count:]]
        assert states == [("notice", "hidden"), ("notice", "shown"), ("offer-update", "refused")]


def test_the_vendors_view_of_the_ledger_is_compared(rig: Rig) -> None:
    count = len(rig.ask("/v1/uplink/messages")["messages"])
    lines = (rig.outbox / "ledger").read_bytes().splitlines(keepends=True)[:2]
    tree = Frontier()
    for line in lines:
        tree.append(leaf_hash(line))
    head = {name: value for name, value in note().items() if name not in ("title", "text", "topic")}
    views = [(2, tree.root()), (2, bytes(32)), (10_000_000, bytes(32))]
    for size, root in views:
        view = {"kind": "checkpoint", "size": size, "root": base64.b64encode(root).decode()}
        rig.send({**head, "id": str(uuid.uuid4()), **view})
    details = [one["detail"] for one in rig.inbox(count + 3)[count:]]
    assert details[0] == "the vendor's view of the ledger is ours"
    assert "ARE NOT THOSE" in details[1]
    assert "lines were cut off" in details[2]
    assert next(one for one in rig.ask("/v1/doctor")["findings"] if one["check"] == "support")["state"] == "fault"
