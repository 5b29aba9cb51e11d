"""Each clause of the privacy contract: kept, and broken by what breaks it. docs/privacy.md."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pbxd.comms.theft import Theft
from pbxd.config.schema import Config
from pbxd.policy import clauses, ledger, secrets
from pbxd.policy.facts import Evidence, LedgerFacts, Process, Searched, TicketFacts
from pbxd.uplink.bodies import Entry
from pbxd.uplink.ledger import Ledger
from pbxd.uplink.notes import Signer
from pbxd.uplink.support.ticket import REASONS
from pbxd.uplink.vocabulary import CLASSES
from tests.uplink.support.rig import Rig

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can look with the eyes of others")


def state(seen: Evidence, clause: str, **changed: Any) -> str:
    """How a clause stands, with something changed in what was seen; what breaks it is told."""
    (found,) = [one for one in clauses.judged(replace(seen, **changed)) if one.clause == clause]
    assert found.evidence
    return found.state


def configured(seen: Evidence, **groups: Any) -> Config:
    values = json.loads(seen.config.model_dump_json())
    for name, keys in groups.items():
        values[name] |= keys
    return Config.model_validate(values)


Said = dict[str, tuple[str, list[str]]]


def on_the_box(rig: Rig) -> Said:
    """What `pbxctl policy verify` says there."""
    done = rig.pbxd.ctl("policy", "verify", "--json")
    found = {one["clause"]: (one["state"], one["evidence"]) for one in json.loads(done.stdout)}
    assert done.returncode == any(state == "broken" for state, _ in found.values())
    return found


@pytest.fixture(scope="module")
def ticket(rig: Rig) -> str:
    """A ticket that has had a session, and is over."""
    with rig.ticket() as name:
        assert rig.visit(name, "live").returncode == 0
    return name


@pytest.fixture(scope="module")
def kept(rig: Rig, ticket: str) -> Said:
    """The clauses on a running box."""
    assert ticket
    return on_the_box(rig)


@pytest.fixture(scope="module")
def broken(rig: Rig, ticket: str, kept: Said) -> Said:
    """The same after somebody made a store readable, changed a recording, and left a secret in a log."""
    assert kept
    store, cast = rig.folder / "state" / "stats.db", rig.folder / "support" / "tickets" / ticket / "001.cast"
    store.chmod(0o644)
    store.parent.chmod(0o755)
    cast.write_bytes(cast.read_bytes().replace(b"calls 0", b"calls 7"))
    canary = "canary-of-P11"
    (rig.folder / "support" / "leak.jsonl").write_text(canary)
    with rig.configured("agi: {listen: null}", f"agi: {{listen: null}}\nreports: {{mail: {{password: {canary}}}}}"):
        return on_the_box(rig)


def test_a_running_box_keeps_every_clause(rig: Rig, kept: Said) -> None:
    assert list(kept) == [f"P{n}" for n in range(1, 15)]
    assert not [clause for clause, (said, _) in kept.items() if said == "broken"], kept
    assert "P4   " in rig.pbxd.ctl("policy", "verify").stdout


def test_everything_else_is_kept_where_all_is_well(good: Evidence) -> None:
    assert {one.state for one in clauses.judged(good)} == {"kept"}


class TestP1:
    def test_P1_there_are_no_classes_but_those_of_the_contract(self, good: Evidence) -> None:
        assert clauses.CLASSES == CLASSES
        assert state(good, "P1", ledger=LedgerFacts(1, (), {"calls": 1})) == "broken"
        assert state(good, "P1", ledger=LedgerFacts(1, ("line 3 was changed",))) == "broken"
        assert state(good, "P1", ledger=LedgerFacts(1, (), {}, ("entry 1: a number",))) == "broken"
        assert state(good, "P1", ledger=None) == "not applicable"

    def test_P1_a_real_ledger_with_a_body_that_is_none_is_broken(self, good: Evidence, tmp_path: Path) -> None:
        signer = Signer("pbxd-ledger-test", bytes(range(32)))
        book = Ledger(tmp_path, signer)
        book.open()
        book.queue(Entry("health", b'{"caller": "+4930123456"}'))
        found = ledger.facts(tmp_path, signer.verifier.text)
        assert found is not None
        assert not found.faults
        assert state(good, "P1", ledger=found) == "broken"
        path = tmp_path / "ledger"
        path.write_bytes(path.read_bytes().replace(b'"health"', b'"config"'))
        changed = ledger.facts(tmp_path, signer.verifier.text)
        assert changed is not None
        assert changed.faults
        book.close()


def test_P2_no_statistics_leave_when_they_are_off(good: Evidence, tmp_path: Path) -> None:
    signer = Signer("pbxd-ledger-test", bytes(range(32)))
    book = Ledger(tmp_path, signer)
    book.open()
    book.queue(Entry("stats", b"{}"))
    book.append({"what": "switch", "name": "share_statistics", "value": "false", "by": "configuration"})
    off = configured(good, uplink={"share_statistics": False})
    found = ledger.facts(tmp_path, signer.verifier.text)
    assert found is not None
    assert (found.unsent_stats, found.stats_after_off) == (1, 0)
    assert state(good, "P2", config=off, ledger=found) == "broken"  # it waits still
    book.destroy(book.outbox.waiting() or [book.book.open[0]], "configuration", tmp_path)
    found = ledger.facts(tmp_path, signer.verifier.text)
    assert state(good, "P2", config=off, ledger=found) == "kept"
    book.queue(Entry("stats", b"{}"))
    found = ledger.facts(tmp_path, signer.verifier.text)
    assert found is not None
    assert found.stats_after_off == 1
    assert state(good, "P2", config=off, ledger=found) == "broken"
    book.close()


class TestP3:
    def test_P3_the_operating_system_refuses_the_links_user(self, rig: Rig, kept: Said, broken: Said) -> None:
        said, evidence = kept["P3"]
        assert said == "kept", evidence
        for store in ("state/stats.db", "support", "pbxd.yaml", "own/own.csv"):
            assert str(rig.folder / store) in evidence[0]
        said, evidence = broken["P3"]
        assert said == "broken"
        assert "stats.db: 16 bytes of it can be read" in evidence[0]

    def test_P3_a_link_of_pbxds_own_user_breaks_it(self, good: Evidence) -> None:
        assert state(good, "P3", links=(Process(2, 100),)) == "broken"
        assert state(good, "P3", links=(Process(2, 0),)) == "broken"
        assert state(good, "P3", control="HTTP/1.1 200 OK") == "broken"
        assert state(good, "P3", modes=("/comms has the mode 755",)) == "broken"


class TestP4:
    def test_P4_the_reasons_are_those_of_the_contract(self) -> None:
        assert list(REASONS) == ["request", "terms", "law"]

    def test_P4_a_changed_recording_is_found(self, kept: Said, broken: Said) -> None:
        assert kept["P4"][0] == "kept"
        said, evidence = broken["P4"]
        assert said == "broken"
        assert "is not what it was at its end" in evidence[0]

    def test_P4_access_without_a_ticket_breaks_it(self, good: Evidence) -> None:
        assert state(good, "P4", support=(Process(3, 100),)) == "broken"
        assert state(good, "P4", support_socket=True) == "broken"
        opening = {"ticket": "a" * 16, "until": "2026-01-01T00:00:00Z"}
        ticket = TicketFacts("a" * 16, "open", "request", 3600.0, ((1, "sum", "sum"),), opening)
        entered: list[dict[str, Any]] = [
            {"event": "support-begin", "ticket": "a" * 16, "session": 1},
            {"event": "support-end", "ticket": "a" * 16, "session": 1, "sha256": "sum"},
            {"event": "ticket-opened", **opening},
        ]
        whole = LedgerFacts(2, (), events=tuple(entered))
        assert (
            state(good, "P4", tickets=(ticket,), ledger=whole, support_socket=True, support=(Process(3, 100),))
            == "kept"
        )
        assert state(good, "P4", tickets=(ticket,)) == "broken"  # the ledger knows nothing of it
        assert state(good, "P4", tickets=(replace(ticket, reason="fun"),), ledger=whole) == "broken"
        assert state(good, "P4", tickets=(replace(ticket, seconds=1e9),), ledger=whole) == "broken"
        other = LedgerFacts(2, (), events=(entered[0], {**entered[1], "sha256": "other"}, entered[2]))
        assert state(good, "P4", tickets=(ticket,), ledger=other) == "broken"

        def said(*events: dict[str, Any], **changed: Any) -> str:
            return state(
                good, "P4", tickets=(replace(ticket, **changed),), ledger=LedgerFacts(2, (), events=(*entered, *events))
            )

        assert said() == "kept"
        assert said(entered={**opening, "until": "2027-01-01T00:00:00Z"}) == "broken"  # the file was changed
        assert said({**entered[2], "until": "2027-01-01T00:00:00Z"}) == "kept"  # the first line counts
        assert said(seconds=9 * 3600.0) == "broken"  # longer than uplink.support_longest
        ended = {"event": "ticket-ended", "ticket": "a" * 16, "why": "by root"}
        assert said(ended) == "broken"
        assert said(ended, state="ended", seconds=9 * 3600.0) == "kept"
        assert said({"event": "ticket-alarm", "ticket": "a" * 16, "why": "changed"}, state="ended") == "broken"
        assert state(good, "P4", ledger=whole) == "broken"  # its folder is gone
        assert state(good, "P4", ledger=LedgerFacts(1, (), events=(entered[2],))) == "kept"  # nobody came in


def test_P5_usage_is_told_in_buckets_only(good: Evidence) -> None:
    assert state(good, "P5") == "kept"
    assert state(good, "P5", ledger=LedgerFacts(1, (), {"health": 1}, ("entry 0 (health): 7",))) == "broken"
    assert state(good, "P5", ledger=LedgerFacts(1, ())) == "not applicable"


def test_P6_the_link_has_nothing_to_carry_voice_by(good: Evidence) -> None:
    assert state(good, "P6", links=(Process(2, 200, udp=("0.0.0.0:4000",)),)) == "broken"
    assert state(good, "P6", support=(Process(3, 100, udp=("0.0.0.0:4000",)),)) == "broken"


def test_P7_outbound_pinned_and_enrolled(good: Evidence) -> None:
    assert state(good, "P7", links=(Process(2, 200, listening=("0.0.0.0:22",)),)) == "broken"
    assert state(good, "P7", enrolled=False) == "broken"
    assert state(good, "P7", config=configured(good, uplink={"hub": None, "host_keys": []})) == "broken"
    assert state(good, "P7", links=(), locked=False, enrolled=False) == "not applicable"


def test_P8_off_is_off(good: Evidence) -> None:
    assert state(good, "P8", switched_off=True) == "broken"
    assert state(good, "P8", switched_off=True, links=(), locked=False) == "kept"


def test_P9_what_listens_does_so_here_only(good: Evidence) -> None:
    assert state(good, "P9", config=configured(good, metrics={"listen": "0.0.0.0:9464"})) == "broken"
    assert state(good, "P9", config=configured(good, metrics={"listen": "[::1]:9464"})) == "kept"
    assert state(good, "P9", config=configured(good, agi={"listen": "192.0.2.1:4573"})) == "broken"
    assert state(good, "P9", config=configured(good, ami={"host": "192.0.2.1"})) == "broken"
    assert state(good, "P9", config=configured(good, ami={"host": "192.0.2.1", "tls": {"enabled": True}})) == "kept"


def test_P10_the_audit_log_is_whole(good: Evidence) -> None:
    assert state(good, "P10", audit=("row 3 is not what was written",)) == "broken"
    assert state(good, "P10", audit=None) == "not applicable"


def test_P11_no_secret_is_in_a_log(rig: Rig, kept: Said, broken: Said) -> None:
    assert kept["P11"][0] == "kept"
    said, evidence = broken["P11"]
    assert said == "broken"
    assert str(rig.folder / "support" / "leak.jsonl") in evidence[0]


def test_P11_says_what_was_read_and_what_was_not(good: Evidence) -> None:
    whole = Searched(2, 1, read=("the ledger (1 files)",))
    assert state(good, "P11", searched=whole) == "kept"
    assert state(good, "P11", searched=replace(whole, unread=("the log of pbxd",))) == "warning"
    assert state(good, "P11", searched=replace(whole, found=("a.log",), unread=("the log of pbxd",))) == "broken"


class TestSecrets:
    """The search for secrets."""

    PIN = "8412345679"

    @pytest.fixture
    def config(self, good: Evidence, tmp_path: Path) -> Config:
        return configured(
            good,
            agi={
                "agents": {
                    "17": {"interface": "PJSIP/101", "queues": ["sales"], "pin": self.PIN},
                    "18": {"interface": "PJSIP/102", "queues": ["sales"], "pin": "1234"},
                }
            },
            uplink={
                "outbox": str(tmp_path / "outbox"),
                "support": str(tmp_path / "support"),
                "key_file": str(tmp_path / "k"),
            },
            journal={"own": str(tmp_path / "own.csv")},
            comms={"key_file": str(tmp_path / "comms.key")},
            statistics={"database": "postgresql+asyncpg://pbxd:correct-horse@db/pbxd"},
        ).model_copy(deep=True)

    def test_they_are_found_wherever_they_are_nested(self, config: Config, tmp_path: Path) -> None:
        key = tmp_path / "comms.key"
        key.write_text("# public key: age1\nAGE-SECRET-KEY-1X\n")
        found = secrets.secrets_of(config, [key, tmp_path / "absent"])
        assert sorted(found) == sorted([self.PIN, "1234", "correct-horse", "AGE-SECRET-KEY-1X"])

    @pytest.mark.parametrize(
        "place", ["outbox/ledger", "outbox/bodies/7", "own.csv.1", "support/tickets/t/001.cast", "log"]
    )
    def test_every_place_is_read(self, config: Config, tmp_path: Path, place: str) -> None:
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (secrets.PIECE - 4) + self.PIN.encode())  # over the border of two pieces
        with (tmp_path / "log").open("a") as log, subprocess.Popen(["sleep", "600"], stderr=log) as process:
            found = secrets.search(config, Process(process.pid, 0), (), None)
            process.kill()
        assert (found.secrets, found.short, found.found) == (
            2,
            1,
            (f"/proc/{process.pid}/fd/2" if place == "log" else str(path),),
        )
        assert not found.unread
        assert any(str(tmp_path / "log") in one for one in found.read)

    @pytest.mark.parametrize(("says", "found"), [("correct-horse", 1), ("nothing", 0), ("", 0)])
    def test_journald_is_asked_where_the_log_goes_there(
        self, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, found: int
    ) -> None:
        command = tmp_path / "bin" / "journalctl"
        command.parent.mkdir()
        command.write_text(f"#!/bin/sh\nprintf '%s' '{says}'\n")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
        with subprocess.Popen(["sleep", "600"], stderr=subprocess.PIPE) as process:
            searched = secrets.search(config, Process(process.pid, 0), (), None)
            process.kill()
        assert len(searched.found) == found
        assert len(searched.unread) == (not says)


def test_P12_notices_are_hidden_but_for_security(good: Evidence) -> None:
    hidden = {"id": "1", "state": "hidden", "message": {"topic": "product"}}
    assert state(good, "P12", messages=(hidden,)) == "kept"
    assert state(good, "P12", messages=({**hidden, "message": {"topic": "security"}},)) == "broken"


def test_P13_there_is_no_field_for_card_data(good: Evidence) -> None:
    assert state(good, "P13", columns=("calls.card_number",)) == "broken"
    assert state(good, "P13", columns=("payments.pan",)) == "broken"
    assert state(good, "P13", columns=("calls.span", "calls.company")) == "kept"


def test_P14_what_is_stored_is_encrypted(good: Evidence, tmp_path: Path) -> None:
    assert state(good, "P14", plain=("/comms/objects/ab/1.age",)) == "broken"
    inside = configured(good, comms={"folder": str(tmp_path), "key_file": str(tmp_path / "key")})
    assert state(good, "P14", config=inside) == "broken"


def test_P14_a_stolen_disk_gives_nothing_only_if_the_key_is_not_on_it(good: Evidence) -> None:
    assert state(good, "P14", theft=Theft("none", "another disk")) == "kept"
    assert state(good, "P14", theft=Theft("taken", "the same disk")) == "broken"
    assert state(good, "P14", theft=Theft("unknown", "no word")) == "warning"
    assert state(good, "P14", theft=Theft("none", "another disk"), clear=("voice messages lie on sda",)) == "warning"
    assert state(good, "P14", theft=Theft("taken", "the same disk"), clear=("voice messages lie on sda",)) == "broken"
    assert state(good, "P14", theft=None, objects=0) == "kept"


@pytest.mark.parametrize(
    ("clause", "changed"),
    [
        ("P2", {"unlike": ("uplink.share_statistics is true for the pbxd that runs",)}),
        ("P7", {"unlike": ("the link goes to another hub",)}),
        (
            "P8",
            {
                "unlike": ("uplink.enabled is true for the pbxd that runs",),
                "switched_off": True,
                "links": (),
                "locked": False,
            },
        ),
        ("P9", {"core": Process(1, 100, listening=("127.0.0.1:4573", "0.0.0.0:8080"))}),
        ("P9", {"core": Process(1, 100, listening=("[::]:8080",))}),
        ("P10", {"modes": ("/comms belongs to user 7, who is not pbxd",)}),
    ],
)
def test_what_runs_counts_and_not_what_the_file_says(good: Evidence, clause: str, changed: dict[str, Any]) -> None:
    assert state(good, clause, **changed) == "broken"


def test_P2_a_ledger_that_does_not_know_of_the_switch_breaks_it(good: Evidence) -> None:
    off = configured(good, uplink={"share_statistics": False})
    assert state(good, "P2", config=off, ledger=LedgerFacts(1, (), stats_off=True)) == "kept"
    assert state(good, "P2", config=off, ledger=LedgerFacts(1, ())) == "broken"


def test_P1_a_ledger_signed_by_somebody_else_is_broken(good: Evidence, tmp_path: Path) -> None:
    """Who forges the outbox has not forged the key that pbxd signs with."""
    forger, box = Signer("pbxd-ledger-test", bytes(range(32))), Signer("pbxd-ledger-test", bytes(32))
    book = Ledger(tmp_path, forger)
    book.open()
    book.queue(Entry("stats", b"{}"))
    found = ledger.facts(tmp_path, forger.verifier.text, box.verifier.text)
    assert found is not None
    assert found.bodies == 1
    assert any("not the one that this box signs with" in fault for fault in found.faults)
    assert state(good, "P1", ledger=found) == "broken"
    book.close()


def test_a_file_that_was_not_reloaded_is_told(rig: Rig) -> None:
    text = rig.pbxd.config.read_text()
    rig.pbxd.config.write_text(text.replace("uplink:\n  {", "uplink:\n  {share_statistics: false, enabled: false, "))
    assert rig.pbxd.config.read_text() != text
    try:
        said = on_the_box(rig)
    finally:
        rig.pbxd.config.write_text(text)
    for clause in ("P2", "P8"):
        assert said[clause][0] == "broken"
        assert "pbxctl reload" in said[clause][1][0]
