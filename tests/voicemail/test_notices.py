"""Mails that tell of new messages, by a real mail server: each once, whatever is killed."""

from __future__ import annotations

import asyncio
import email
import signal
import subprocess
import sys
import time
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

from lab.tree import environment
from pbxd.voicemail.letter import LARGEST_ATTACHED, compose
from pbxd.voicemail.notices import GIVE_UP, LONGEST
from pbxd.voicemail.rules import BoxRule
from pbxd.voicemail.spool import Box, Message, Text
from tests.reports.postbox import Postbox
from tests.voicemail.keeper import ANNA, keep_once, keeping, rules
from tests.voicemail.messages import put

SOUND = b"RIFF and a voice" * 100


def mails(postbox: Postbox) -> list[EmailMessage]:
    found = [email.message_from_bytes(content, policy=default) for _, content in postbox.taken]
    return [mail for mail in found if isinstance(mail, EmailMessage)]


def lay(folder: Path, name: str, *, number: int = 0, where: str = "INBOX", mailbox: str = "101") -> None:
    when = int(time.time()) + 1  # after notices began
    put(folder / "voicemail", name, mailbox=mailbox, number=number, folder=where, when=when, sound=SOUND)


class TestLetter:
    """What is in the mail."""

    def test_a_caller_cannot_write_headers(self) -> None:
        text = Text(
            "id", 1_795_618_736, 75, "1\r\nBcc: x@example.org", "Zoë\r\n\x1b[31m Müller", urgent=True, extension="4"
        )
        message = Message(Box("default", "101"), "INBOX", 0, text, ("wav",))
        made = compose(message, (ANNA,), rules(1), ("wav", SOUND))
        assert made.as_bytes() == compose(message, (ANNA,), rules(1), ("wav", SOUND)).as_bytes()
        mail = email.message_from_bytes(made.as_bytes(), policy=default)
        assert mail["Bcc"] is None
        assert mail["Subject"] == "Voice message from Zoë   [31m Müller 1  Bcc: x@example.org (1:15)"
        assert mail["Importance"] == "high"
        (sound,) = mail.iter_attachments()
        assert (sound.get_content_type(), sound.get_content()) == ("audio/x-wav", SOUND)

    def test_without_the_sound(self) -> None:
        text = Text("id", 1_795_618_736, 5, "", "", urgent=False, extension="4")
        message = Message(Box("default", "101"), "INBOX", 0, text, ("wav",))
        for sound in (None, ("wav", bytes(LARGEST_ATTACHED + 1))):
            mail = compose(message, (ANNA,), rules(1), sound)
            assert "Listen to it by phone" in mail.get_content()
            assert "an unknown caller" in str(mail["Subject"])


async def test_each_new_message_is_told_of_once(tmp_path: Path, postbox: Postbox, port: int) -> None:
    lay(tmp_path, "id-before")
    async with keeping(tmp_path, 0, rules(port)) as made:
        made.clock = 5  # what lies there before is older than that
        await made.notices.look()
        made.clock = 0
        assert postbox.taken == []
        lay(tmp_path, "id-old", number=1, where="Old")
        lay(tmp_path, "id-other", mailbox="102")
        put(tmp_path / "voicemail", "id-new", number=1, when=int(time.time()) + 6, sound=SOUND)
        await made.index.look()
        for _ in range(2):
            await made.notices.look()
        ((to, _),) = postbox.taken
        (mail,) = mails(postbox)
        assert to == [ANNA]
        assert mail["Subject"] == "Voice message from Phone 121 121 (0:02)"
        (sound,) = mail.iter_attachments()
        assert sound.get_content() == SOUND
        rows = [entry async for entry, _ in made.store.audit.entries()]
        assert [(row.who, row.action, row.subject, row.via) for row in rows] == [("pbxd", "send", "id-new", "mail")]
        assert made.notices.sent == 1
        assert made.notices.error == ""


async def test_a_mailbox_that_has_notices_again_begins_anew(tmp_path: Path, postbox: Postbox, port: int) -> None:
    async with keeping(tmp_path, 0, rules(port)) as made:
        await made.notices.look()
        made.rules = rules()
        await made.notices.look()
        lay(tmp_path, "id-a")
        await made.index.look()
        made.rules, made.clock = rules(port), 5
        await made.notices.look()
        assert postbox.taken == []


async def test_what_is_deferred_waits_and_what_is_refused_waits_long(
    tmp_path: Path, postbox: Postbox, port: int
) -> None:
    postbox.answers = {ANNA: ["451 greylisted", "550 no such user", "250 OK"]}
    async with keeping(tmp_path, 0, rules(port)) as made:
        await made.notices.look()
        lay(tmp_path, "id-a")
        await made.index.look()
        for _ in range(2):
            await made.notices.look()  # the second one does not ask again
        assert "greylisted" in made.notices.error
        assert len(postbox.answers[ANNA]) == 2
        made.clock = LONGEST
        await made.notices.look()
        assert "no such user" in made.notices.error
        await made.notices.look()
        assert postbox.taken == []
        made.notices.configure()  # a reload tries at once
        await made.notices.look()
        assert len(postbox.taken) == 1
        assert made.notices.error == ""


async def test_a_stop_while_the_server_takes_it_is_noted(tmp_path: Path, postbox: Postbox, port: int) -> None:
    async with keeping(tmp_path, 0, rules(port)) as made:
        await made.notices.look()
        lay(tmp_path, "id-a")
        await made.index.look()
        postbox.may_answer.clear()
        telling = asyncio.create_task(made.notices.look())
        assert await asyncio.to_thread(postbox.asked.wait, 60)
        telling.cancel()
        await asyncio.sleep(0)
        postbox.may_answer.set()
        await asyncio.wait([telling])
        assert telling.cancelled()
        await made.notices.look()
        assert len(postbox.taken) == 1


async def test_what_was_heard_meanwhile_or_is_too_old_is_no_news(tmp_path: Path, postbox: Postbox, port: int) -> None:
    postbox.answers = {ANNA: ["451 later"]}
    async with keeping(tmp_path, 0, rules(port)) as made:
        await made.notices.look()
        lay(tmp_path, "id-a")
        await made.index.look()
        await made.notices.look()
        assert made.notices.error
        postbox.answers = {}
        made.clock = GIVE_UP + 10
        await made.notices.look()
        made.clock = LONGEST
        folder = tmp_path / "voicemail" / "default" / "101"
        (folder / "INBOX").rename(folder / "Old")
        await made.index.look()
        await made.notices.look()
        assert made.notices.error == ""
        assert postbox.taken == []


def begun(folder: Path, mail_port: int, step: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.voicemail.keeper", str(folder), "0", str(mail_port), str(step)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())


def look_again(folder: Path, mail_port: int) -> None:
    asyncio.run(keep_once(folder, 0, mail_port, 0))


class TestKills:
    """Real processes, really killed."""

    def test_at_each_step(self, tmp_path: Path, postbox: Postbox, port: int) -> None:
        """A mail comes twice only if the kill was between the server's yes and our note; it has the same Message-ID then."""
        look_again(tmp_path, port)
        counts = []
        for step in range(1, 10):
            lay(tmp_path, f"id-{step}", number=step)
            process = begun(tmp_path, port, step)
            process.communicate()
            look_again(tmp_path, port)
            ids = [mail["Message-ID"] for mail in mails(postbox)]
            postbox.taken.clear()
            assert len(set(ids)) == 1
            counts.append(len(ids))
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL
        assert counts == [1, 1, 2, 1]  # before the audit, before the intent, before the note, not at all

    def test_while_the_server_takes_it(self, tmp_path: Path, postbox: Postbox, port: int) -> None:
        look_again(tmp_path, port)
        lay(tmp_path, "id-a")
        postbox.may_answer.clear()
        first = begun(tmp_path, port)
        assert postbox.asked.wait(60)
        first.kill()
        first.communicate()
        assert postbox.gone.wait(60)  # what sent it has ended with it
        postbox.may_answer.set()
        look_again(tmp_path, port)
        assert len(postbox.taken) == 1


def test_the_rule_of_a_box_goes_before_the_general_one() -> None:
    made = rules(1, keep=5)
    assert made.of("101@default").keep == 5
    assert made.of(Box("default", "102")) == BoxRule(archive_after=86_400)
    assert made.shortest_keep() == 5
