"""Who calls, writes or sends chooses what they are called: no listing lets that act on a terminal, and JSON stays what it was."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.asterisk import wait_until
from pbxd.cli.main import main
from pbxd.cli.plain import PlainText, called, plain
from tests.running import Running

HOSTILE = "\x1b]52;c;QUJD\x07Eve\x9b6n\u202e"
ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
MAILBOX = """[message]
origmailbox=101
context=default
macrocontext=
exten=101
priority=1
callerchan=PJSIP/trunk-1
callerid="{name}" <4930123>
origdate=Wed Nov 25 08:00:00 AM UTC 2026
origtime=1795593600
category=
msg_id=1795593600-00000001
flag=
duration=3
"""


@given(st.text())
def test_a_plain_text_does_not_act_and_json_stays_what_it_was(text: str) -> None:
    assert ACTS.search(plain(text).replace("\r\n", "")) is None
    assert json.loads(plain(json.dumps([text], ensure_ascii=False))) == [text]
    assert "\n" not in called(text)


def test_a_stream_says_what_it_was_given_plainly() -> None:
    raw = io.BytesIO()
    stream = PlainText(raw, "utf-8", "backslashreplace", newline="")
    csv.writer(stream).writerow(["a\rb", "\x1b[31m", "ü"])
    assert stream.write("\ud800") == 1
    stream.flush()
    assert raw.getvalue().decode() == '"a\\u000db",\\u001b[31m,ü\r\n\\ud800'


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A box that somebody with a hostile name has called, left a message on and is called by in the chat."""
    folder = tmp_path_factory.mktemp("hostile")
    folder.chmod(0o755)
    box = Running(folder)
    inbox = folder / "spool" / "default" / "101" / "INBOX"
    inbox.mkdir(parents=True)
    (inbox / "msg0000.txt").write_text(MAILBOX.format(name=HOSTILE))
    (inbox / "msg0000.wav").write_bytes(b"RIFF")
    box.config.write_text(
        box.config.read_text()
        + f"voicemail: {{enabled: true, spool: {folder}/spool}}\n"
        + f"comms: {{folder: {folder}/comms, key_file: {folder}/comms.key}}\n"
        + "chat: {enabled: true, rooms: {sales: {title: x, members: [zoe]}}}\npeople: [{name: zoe}]\n"
    )
    box.start()
    yield box
    box.kill()


LISTINGS = (
    ("calls", "list", "--format", "csv"), ("calls", "list", "--format", "json"), ("calls", "list"), ("calls", "watch", "--help"),
    ("voicemail", "list"), ("voicemail", "list", "--json"), ("voicemail", "boxes"), ("live",), ("recorder", "list"),
    ("chat", "rooms"), ("chat", "show", "sales"), ("recordings", "list"), ("status",), ("doctor",), ("audit", "list"),
    ("support", "list"),    ("uplink", "messages"), ("uplink", "proposals"), ("--help",), ("nothing", HOSTILE),
    ("calls", "show", HOSTILE),
)  # fmt: skip


def test_no_listing_lets_a_caller_act(
    box: Running, journals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (journals / "inbound.csv").read_text()
    assert "Zoë" in text
    hostile = tmp_path / "hostile.csv"
    hostile.write_text(text.replace("Zoë", HOSTILE))
    box.append(hostile)

    def said(*words: str) -> str:
        with pytest.raises(SystemExit):
            main(["--socket", str(box.folder / "control.sock"), *words])
        found = capsys.readouterr()
        return found.out + found.err

    wait_until(lambda: "Eve" in said("calls", "list", "--format", "json"), "the call")
    call = json.loads(said("calls", "list", "--format", "json"))["id"]
    for words in (*LISTINGS, ("calls", "show", call)):
        assert ACTS.search(said(*words).replace("\r\n", "\n")) is None, words
    assert "Eve" in said("calls", "show", call)
    assert "Eve" in said("voicemail", "list")
