"""Nobody with a shell makes a ticket longer by its file: what counts is what the ledger has of its opening."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.asterisk import wait_until
from pbxd.errors import SupportError
from pbxd.uplink.support.agreement import entered, fault, too_long
from pbxd.uplink.support.ticket import Ticket, as_json, from_json
from tests.uplink.support.rig import Rig, halls, read_until, say

TICKET = Ticket("a" * 16, "shell", "request", "", "root", 1_800_000_000.0, 1_800_000_120.0)
NOW = TICKET.opened + 1


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Rig]:
    """A box that a test may spoil."""
    rig = Rig(tmp_path)
    rig.pbxd.start()
    yield rig
    rig.pbxd.kill()


def p4(rig: Rig) -> tuple[str, str]:
    """What `pbxctl policy verify` says of P4."""
    verdicts = json.loads(rig.pbxd.ctl("policy", "verify", "--json").stdout)
    (found,) = [one for one in verdicts if one["clause"] == "P4"]
    return found["state"], " ".join(found["evidence"])


def support_finding(rig: Rig) -> dict[str, str]:
    (found,) = [one for one in rig.ask("/v1/doctor")["findings"] if one["check"] == "support"]
    return dict(found)


def file_of(rig: Rig, ticket: str) -> Path:
    return rig.folder / "support" / "tickets" / ticket / "ticket.json"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look with the eyes of others")
def test_a_shell_cannot_make_its_ticket_longer(own: Rig) -> None:
    ticket = own.open("shell", "--for", "2h")
    opening, path = own.ledger()[-1], file_of(own, ticket)
    assert opening["event"] == "ticket-opened"
    assert opening["ticket"] == ticket
    with own.shell(ticket) as person:
        read_until(person, b"COMMUNICATIONS")
        later = time.time() + 400_000
        daemon = own.pbxd.process
        assert daemon is not None
        say(person, f'sed -i \'s/"until": [0-9.]*/"until": {later:.1f}/\' {path}; kill -9 {daemon.pid}')
        daemon.wait(60)
    own.pbxd.start()
    wait_until(lambda: own.shown(ticket)["state"] == "ended", "the ticket's end")
    assert json.loads(path.read_text())["until"] > time.time() + 300_000
    wait_until(lambda: own.ledger()[-1]["event"] == "ticket-ended", "its end in the ledger")
    assert not own.socket.exists()
    assert not halls()
    own.certify(ticket)
    assert own.ssh(ticket, "help").returncode == 255
    finding = support_finding(own)
    assert finding["state"] == "fault"
    assert f"{opening['until']}" in finding["detail"]
    assert "ALARM" in own.pbxd.ctl("status").stdout
    said, evidence = p4(own)
    assert said == "broken"
    assert f"ticket {ticket} is not what the ledger says: until is " in evidence
    own.pbxd.kill()
    own.pbxd.start()  # nothing is forgotten
    wait_until(lambda: support_finding(own)["state"] == "fault", "the alarm again")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look with the eyes of others")
def test_a_file_that_is_changed_while_its_ticket_is_open_ends_it(own: Rig) -> None:
    ticket = own.open("shell")
    path = file_of(own, ticket)
    value = json.loads(path.read_text())
    path.with_suffix(".other").write_text(json.dumps({**value, "scope": "diagnose"}))
    path.with_suffix(".other").replace(path)
    wait_until(lambda: not own.ask("/v1/status")["support"]["open"], "the ticket's end")
    wait_until(lambda: own.ledger()[-1]["event"] == "ticket-ended", "its end in the ledger")
    assert own.ledger()[-2]["event"] == "ticket-alarm"
    assert support_finding(own)["state"] == "fault"
    said, evidence = p4(own)
    assert said == "broken"
    assert "scope is diagnose, and the ledger has shell" in evidence


def test_a_ticket_that_the_ledger_does_not_have_lets_nobody_in(own: Rig) -> None:
    with own.ticket() as ticket:
        pass
    own.pbxd.kill()
    value = json.loads(file_of(own, ticket).read_text()) | {"ended": None, "why": ""}
    revived, forged = file_of(own, ticket), file_of(own, "f" * 16)
    forged.parent.mkdir()
    forged.write_text(json.dumps({**value, "id": "f" * 16}))
    revived.write_text(json.dumps(value))
    for path in (revived, forged):
        (path.parent / "open").touch()
    own.pbxd.start()
    wait_until(lambda: {own.shown(name)["state"] for name in (ticket, "f" * 16)} == {"ended"}, "both to be ended")
    assert not own.socket.exists()
    assert "that it has ended: by " in own.shown(ticket)["why"]
    assert "no opening" in own.shown("f" * 16)["why"]
    own.pbxd.kill()
    revived.write_text(json.dumps({**value, "until": "never"}))
    own.pbxd.start()
    wait_until(lambda: "has a time that is none" in support_finding(own)["detail"], "the alarm")
    assert not own.socket.exists()


def test_the_time_that_pbxd_was_down_is_entered_too(own: Rig) -> None:
    ticket = own.open_briefly()
    own.pbxd.kill()
    wait_until(lambda: time.time() > json.loads(file_of(own, ticket).read_text())["until"], "its time to be over")
    own.pbxd.start()
    wait_until(lambda: own.ledger()[-1]["event"] == "ticket-ended", "its end in the ledger")
    assert own.ledger()[-1]["ticket"] == ticket
    assert support_finding(own)["state"] == "ok"


def test_a_shorter_longest_time_ends_an_open_ticket(own: Rig) -> None:
    ticket = own.open("diagnose", "--for", "2h")
    with own.configured("health_wait: 1ms", "health_wait: 1ms, support_longest: 1h"):
        wait_until(lambda: own.shown(ticket)["state"] == "ended", "the ticket's end")
    assert "support_longest is 1.0 h" in own.shown(ticket)["why"]
    assert support_finding(own)["state"] == "ok"


@pytest.mark.parametrize(
    "changed", [{"scope": "diagnose"}, {"until": TICKET.until + 60}, {"by": "zoe"}, {"reason": "law"}]
)
def test_what_the_ledger_has_of_a_ticket_is_what_counts(changed: dict[str, Any]) -> None:
    line = entered(TICKET)
    assert fault(TICKET, line, None, NOW) == ""
    (name,) = changed
    assert f"{name} is " in fault(replace(TICKET, **changed), line, None, NOW)
    assert "no opening" in fault(TICKET, None, None, NOW)
    assert "by root" in fault(TICKET, line, "by root", NOW)
    assert fault(replace(TICKET, ended=NOW), line, "by root", NOW) == ""


def test_how_long_is_too_long() -> None:
    assert too_long(TICKET, 120.0) == ""
    assert too_long(TICKET, 119.0)


@pytest.mark.parametrize(
    "changed",
    [{"until": float("inf")}, {"opened": float("nan")}, {"until": "x"}, {"until": 1e18}, {"ended": "no"}, {"by": 3}],
)
def test_a_file_with_a_time_that_is_none_is_no_ticket(changed: dict[str, Any]) -> None:
    assert from_json(as_json(TICKET)) == TICKET
    with pytest.raises(SupportError):
        from_json({**as_json(TICKET), **changed})
