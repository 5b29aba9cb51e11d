"""Checkpoints out of the box's reach: by mail each once, whatever is killed; to syslog; and `verify` takes them as they came."""

from __future__ import annotations

import asyncio
import email
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest

from pbxd.cli.uplink import notes_in
from pbxd.config.schema import Config
from pbxd.errors import UplinkError
from pbxd.uplink.audit import verify
from pbxd.uplink.checkpoint_letter import DAY, Letter, compose, is_due
from pbxd.uplink.checkpoint_log import to_syslog
from pbxd.uplink.checkpoint_mail import FILE, LONGEST, CheckpointMail
from pbxd.uplink.ledger import Ledger
from pbxd.uplink.notes import Checkpoint, Signer
from tests.reports.postbox import Postbox
from tests.uplink.boxes import health
from tests.uplink.test_results import SIGNER, killed

TO = "ledger@example.org"
NOW = 1_795_000_000.0


def note(lines: int, root: int = 1, signer: Signer = SIGNER) -> str:
    return signer.sign(Checkpoint(signer.name, lines, bytes([root]) * 32).text)


LAST = Letter(note(10), NOW, sent=True)


@pytest.mark.parametrize(
    ("last", "new", "switched", "later", "due"),
    [
        (None, note(1), 0, 0.0, True),  # the first one
        (LAST, note(10), 10, 9 * DAY, False),  # nothing new
        (LAST, note(11), 10, DAY - 1, False),  # the switch was in the last one
        (LAST, note(11), 10, DAY, True),
        (LAST, note(11), 11, 1.0, True),  # something was switched
        (LAST, note(11), 10, -1.0, True),  # the clock was set back
        (LAST, note(9, 2), 1, 1.0, True),  # another ledger by the same key
        (LAST, note(11, 1, Signer("another", bytes(32))), 1, 1.0, True),
    ],
)
def test_when_a_letter_is_due(last: Letter | None, new: str, switched: int, later: float, *, due: bool) -> None:
    assert is_due(last, new, switched, NOW + later) is due


def test_the_same_letter_is_the_same_mail() -> None:
    made = compose(LAST, TO, "pbx@example.org", "Praxis\nBcc: x@example.org")
    assert (
        made.as_bytes()
        == compose(replace(LAST, sent=False), TO, "pbx@example.org", "Praxis Bcc: x@example.org").as_bytes()
    )
    assert made["Bcc"] is None
    assert made["Message-ID"] != compose(Letter(note(11), NOW), TO, "pbx@example.org", "Praxis")["Message-ID"]


def test_a_letter_is_read_as_it_was_kept() -> None:
    assert Letter.of(LAST.fields()) == LAST
    wrongs: list[object] = [None, [], {}, {"note": "x", "at": 1, "sent": True}, {"note": 1, "at": 1, "sent": True}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="it "):
            Letter.of(wrong)


def test_notes_are_found_however_they_were_kept() -> None:
    notes = [note(10), note(11)]
    assert notes_in("".join(notes)) == notes
    assert notes_in("\n".join(["Dear admin,", "", *notes, "-- ", "the box"])) == notes
    assert notes_in("nothing of it") == ["nothing of it"]  # which is told as a fault


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "outbox", SIGNER)
    made.open()
    made.queue(health(1))
    yield made
    made.close()


def configured(folder: Path, mail_port: int) -> Config:
    mail = {"host": "127.0.0.1", "port": mail_port, "security": "none", "sender": "pbx@example.org"}
    uplink = {"checkpoints": "mail", "checkpoints_to": TO, "support": str(folder / "support")}
    return Config.model_validate({"reports": {"mail": mail}, "uplink": uplink})


def post_once(folder: Path, mail_port: int) -> None:
    """One look."""
    ledger, config = Ledger(folder / "outbox", SIGNER), configured(folder, mail_port)
    ledger.open()
    asyncio.run(CheckpointMail(lambda: config, lambda: ledger, time.time).look())
    ledger.close()


def mails(postbox: Postbox) -> list[EmailMessage]:
    found = [email.message_from_bytes(content, policy=default) for _, content in postbox.taken]
    return [mail for mail in found if isinstance(mail, EmailMessage)]


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def letters(tmp_path: Path, ledger: Ledger, port: int, clock: Clock) -> CheckpointMail:
    config = configured(tmp_path, port)
    return CheckpointMail(lambda: config, lambda: ledger, clock)


async def test_a_letter_a_day_and_after_each_switch(
    letters: CheckpointMail, ledger: Ledger, postbox: Postbox, clock: Clock, tmp_path: Path
) -> None:
    for number in range(3):
        for _ in range(2):
            await letters.look()
        assert len(postbox.taken) == 1
        ledger.queue(health(number + 2))
    ledger.append({"what": "switch", "name": "uplink", "value": "false", "by": "pbxctl"})
    for _ in range(2):
        await letters.look()
    assert len(postbox.taken) == 2
    ledger.queue(health(9))
    clock.now += DAY
    for _ in range(2):
        await letters.look()
    assert [to for to, _ in postbox.taken] == [[TO]] * 3
    kept = ""
    for mail, lines in zip(mails(postbox), (1, 5, 6), strict=True):
        (attached,) = mail.iter_attachments()
        assert attached.get_filename() == f"checkpoint-{lines}.txt"
        kept += attached.get_content()
    assert verify(ledger.folder, SIGNER.verifier, notes_in(kept)).faults == []
    assert verify(ledger.folder, SIGNER.verifier, notes_in(kept)).checkpoints >= 4
    other = Ledger(tmp_path / "fork", SIGNER)
    other.open()
    other.close()
    assert len(verify(other.folder, SIGNER.verifier, notes_in(kept)).faults) == 3
    assert letters.status() == {"at": clock.now, "lines": 6, "error": ""}


async def test_what_is_deferred_or_refused_waits_and_goes_once(
    letters: CheckpointMail, postbox: Postbox, clock: Clock
) -> None:
    postbox.answers = {TO: ["451 greylisted", "550 no such user", "250 OK"]}
    await letters.look()
    assert "greylisted" in letters.status()["error"]
    clock.now += LONGEST
    for _ in range(2):  # the second one does not ask again
        await letters.look()
        assert "no such user" in letters.status()["error"]
    letters.configure()  # a reload tries at once
    await letters.look()
    assert len(postbox.taken) == 1
    assert letters.status()["error"] == ""


async def test_a_file_that_is_none_is_told(letters: CheckpointMail, tmp_path: Path, postbox: Postbox) -> None:
    (tmp_path / "support").mkdir()
    (tmp_path / "support" / FILE).write_text("{}")
    with pytest.raises(UplinkError, match="move it away"):
        await letters.look()
    assert postbox.taken == []


def test_killed_at_each_step(tmp_path: Path, postbox: Postbox, port: int, ledger: Ledger) -> None:
    """A letter comes twice only if the kill was between the server's yes and our note; it has the same Message-ID then."""
    ledger.close()
    counts = []
    for step in range(1, 9):
        ended = not killed(lambda: post_once(tmp_path, port), step)
        post_once(tmp_path, port)
        assert len({mail["Message-ID"] for mail in mails(postbox)}) == 1
        counts.append(len(postbox.taken))
        postbox.taken.clear()
        (tmp_path / "support" / FILE).unlink()
        if ended:
            break
    # Before the letter was a file, and in its folder for good; before the file said so of the taking, and for good; not at all.
    assert counts == [1, 1, 2, 1, 1]


class TestSyslog:
    """A socket of the test stands where the system's log does."""

    def test_a_checkpoint_arrives_as_it_is_looked_for(self, tmp_path: Path, ledger: Ledger) -> None:
        kept = ledger.outbox.checkpoint().decode()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.bind(str(tmp_path / "log"))
            to_syslog(kept, tmp_path / "log", time.time())
            line = log.recv(8192).decode()
        assert line.startswith("<85>")  # authpriv, notice
        assert f" pbxd[{os.getpid()}]: uplink checkpoint " in line
        assert "\n" not in line
        assert notes_in(line) == [kept]

    def test_nobody_listens(self, tmp_path: Path) -> None:
        with pytest.raises(UplinkError, match="does a syslog listen there"):
            to_syslog(note(1), tmp_path / "log", NOW)
