"""The parts of support that do no I/O: tickets, admission, certificates, words, the prompt, what is shown."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxd.errors import SupportError
from pbxd.uplink.support import certificate, views
from pbxd.uplink.support.admission import Admission, Presented, Refusal, admit
from pbxd.uplink.support.ticket import Ticket, as_json, checked, from_json
from pbxd.uplink.support.words import CHANGING, LOOKING, Command, Lines, Prompt, Unknown, understand
from tests.uplink.support.rig import Key

NOW = 1_800_000_000.0
TICKET = Ticket("0123456789abcdef", "diagnose", "request", "", "root", NOW - 60, NOW + 3600)
OTHER = replace(TICKET, id="fedcba9876543210")
OVER = replace(TICKET, id="aaaaaaaaaaaaaaaa", until=NOW - 1)
ENDED = replace(TICKET, id="bbbbbbbbbbbbbbbb", ended=NOW - 1, why="by root")
CA = "ssh-ed25519 AAAAca"
GOOD = Presented(CA, True, f"zoe ticket {TICKET.id}", (TICKET.id,), NOW - 60, NOW + 3600, False)
DAY = 86_400


def about(ticket: Ticket) -> dict[str, Any]:
    return {"key_id": f"zoe ticket {ticket.id}", "principals": (ticket.id,)}


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({}, ""),
        ({"authority": f"{CA} comment"}, ""),
        ({"authority": "ssh-ed25519 AAAAother"}, "other-ca"),
        ({"user": False}, "not-a-person"),
        ({"key_id": "zoe"}, "key-id"),
        ({"key_id": f"zoe ticket {TICKET.id}\n"}, "key-id"),
        ({"principals": ()}, "principal"),  # OpenSSH takes such a certificate for everybody's
        ({"principals": (TICKET.id, "root")}, "principal"),
        (about(OTHER), "other-ticket"),
        (about(OVER), "ticket-expired"),
        (about(ENDED), "ticket-ended"),
        (about(replace(TICKET, id="c" * 16)), "unknown-ticket"),
        ({"before": NOW}, "expired"),
        ({"after": NOW + 1}, "not-yet-valid"),
        ({"after": NOW - 366 * DAY, "before": NOW - 365 * DAY}, "clock"),
        ({"after": NOW + 365 * DAY, "before": NOW + 366 * DAY}, "clock"),
        ({"after": 0.0, "before": float(2**64 - 1)}, "long-lived"),
        ({"limited": True}, "limited"),
    ],
)
def test_each_refusal_has_its_word(changed: dict[str, Any], word: str) -> None:
    cert = replace(GOOD, **changed)
    user = cert.principals[0] if cert.principals else TICKET.id
    tickets = {one.id: one for one in (TICKET, OTHER, OVER, ENDED)}
    found = admit(cert, user, TICKET, tickets=tickets, authority=CA, now=NOW)
    if word:
        assert isinstance(found, Refusal)
        assert found.word == word
    else:
        assert found == Admission("zoe")


def test_the_user_asked_for_is_the_ticket() -> None:
    found = admit(GOOD, "root", TICKET, tickets={}, authority=CA, now=NOW)
    assert isinstance(found, Refusal)
    assert found.word == "principal"


def test_a_certificate_of_openssh_is_read(tmp_path: Path) -> None:
    ca, person = Key(tmp_path / "ca"), Key(tmp_path / "person")
    words = [
        "ssh-keygen",
        "-q",
        "-s",
        str(ca.path),
        "-I",
        "zoe ticket x",
        "-n",
        "one,two",
        "-V",
        "20270101000000Z:20270102000000Z",
    ]
    subprocess.run([*words, "-O", "source-address=10.0.0.0/8", str(person.path.with_suffix(".pub"))], check=True)
    blob = base64.b64decode((tmp_path / "person-cert.pub").read_text().split()[1])
    found = certificate.read(blob)
    assert found == Presented(ca.public, True, "zoe ticket x", ("one", "two"), 1798761600.0, 1798848000.0, True)
    for length in range(len(blob)):
        if length < len(blob) - 200:  # what follows are signatures, which others check
            with pytest.raises(SupportError):
                certificate.read(blob[:length])


@given(st.binary(max_size=300))
def test_anything_else_is_no_certificate(data: bytes) -> None:
    with pytest.raises(SupportError):
        certificate.read(data)


def test_a_ticket_is_checked_before_it_is_opened() -> None:
    assert checked("shell", "law", "", 60, 3600, shell_allowed=True) == ("shell", "law")
    for words in (
        ("all", "law", "", 60.0),
        ("shell", "fun", "", 60.0),
        ("shell", "law", "a\nb", 60.0),
        ("shell", "law", "", 3601.0),
    ):
        with pytest.raises(SupportError):
            checked(*words, 3600, shell_allowed=True)
    with pytest.raises(SupportError, match="allow_shell"):
        checked("shell", "law", "", 60, 3600, shell_allowed=False)
    assert from_json(as_json(TICKET)) == TICKET
    with pytest.raises(SupportError):
        from_json({**as_json(TICKET), "scope": "all"})


@pytest.mark.parametrize("word", [*LOOKING, *CHANGING])
def test_words_by_scope(word: str) -> None:
    line = {"propose": "propose site.trunks '[PJSIP/x]' because"}.get(word, word)
    looking = understand(line, "diagnose")
    assert isinstance(looking, Command) == (word in LOOKING)
    assert isinstance(understand(line, "configure"), Command)


@pytest.mark.parametrize(
    "line", ["calls", "status; id", "status extra", "propose x", "config a b", "'", "recordings list", "sh"]
)
def test_other_words_are_none(line: str) -> None:
    assert isinstance(understand(line, "configure"), Unknown)


def test_a_line_is_typed() -> None:
    prompt = Prompt()
    keys = b"stx\x7fatus\r" + b"no\x15live\r" + b"oops\x03" + b"\x1b" + b"\x04"
    found = list(prompt.typed(keys))
    assert [line for _, line in found if line is not None] == ["status", "live", "", "exit"]
    assert b"".join(echo for echo, _ in found) == b"stx\b \batus\r\nno\b \b\b \blive\r\noops^C\r\n\r\n"


@given(st.lists(st.binary(max_size=50)))
def test_lines_come_whole_in_whatever_pieces(pieces: list[bytes]) -> None:
    lines, data = Lines(), b"".join(pieces)
    found = [line for piece in pieces for line in lines.received(piece)] + lines.ended()
    assert [line.rstrip("\r") for line in found] == [
        line.decode("utf-8", "replace").rstrip("\r")
        for line in data.split(b"\n")[: None if data.split(b"\n")[-1] else -1]
    ]


def test_a_view_has_no_number_and_no_name() -> None:
    found = {
        "version": "1", "site": "Doctor Smith's", "live": {"calls": 2}, "reports": {"last_error": "to zoe@example.org"},
        "ami": {"connected": True, "last_error": "+493012345678 failed", "peer": "127.0.0.1:5038"},
        "recordings": {"failing": {"+4930123456": "x", "zoe": 1}, "waiting": 3}, "list": ["Zoë"], "agi": {"routes": {"zoe": 3}},
        "state": "running", "voicemail": {"last_error": "", "state": "/home/zoe"},
    }  # fmt: skip
    text = views.status(found)
    assert '"state": "running"' in text
    assert '"last_error": "…"' in text
    assert '"last_error": ""' in text
    assert '"waiting": 3' in text
    assert '"connected": true' in text
    for hidden in ("+4930", "493012345678", "Smith", "Zoë", "zoe", "127.0.0.1"):
        assert hidden not in text
    calls = {
        "calls": [{"state": "up", "caller": "+4930111", "dialled": "101", "channels": ["PJSIP/x"], "seconds": 3}],
        "queues": [{"name": "sales", "waiting": 1, "members": 2, "member": {"PJSIP/zoe": {}}}],
        "endpoints": {"PJSIP/trunk-a": "online", "PJSIP/zoe": "online"},
    }  # fmt: skip
    text = views.live(calls, ("PJSIP/trunk-*",))
    assert text.splitlines() == [
        "calls 1, up 1", "queue sales: 1 waiting, 2 members", "trunk PJSIP/trunk-a: online", "other endpoints, online: 1",
    ]  # fmt: skip
