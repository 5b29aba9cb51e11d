"""Chats of real SIP phones: MESSAGE in by the generated dialplan and FastAGI, out by AMI; kept while a phone is away."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab.asterisk import wait_until
from lab.box import Box
from lab.desk import Desk
from tests.conftest import reachable, say

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

SETTINGS = """
people:
  - {{name: anna, extensions: ['101']}}
  - {{name: bert, extensions: ['102'], full_name: Bert Smith}}
  - {{name: carl, extensions: ['150']}}
  - {{name: dora}}
chat: {{enabled: true, rooms: {{sales: {{number: '701', members: [anna, bert, dora]}}}}}}
comms: {{folder: {folder}/comms, key_file: {folder}/keys/comms.key}}
"""
MESSAGE = (
    "MESSAGE sip:{to}@{host} SIP/2.0\r\nVia: SIP/2.0/UDP {own}:5070;branch=z9hG4bK{id}\r\nMax-Forwards: 70\r\n"
    "From: <sip:101@{host}>;tag={id}\r\nTo: <sip:{to}@{host}>\r\nCall-ID: {id}\r\nCSeq: 1 MESSAGE\r\n"
    "Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """One box for all."""
    made = Box(reachable(tmp_path_factory.mktemp("chat")), say)
    try:
        made.pbxd.configure(more=SETTINGS.format(folder=made.pbxd.folder))
        made.start()
        wait_until(lambda: not chats(made)["error"] and bool(made.pbxd.status()["agi"]["listening"]), "the chats")
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def desk(box: Box) -> Iterator[Desk]:
    made = Desk(box.asterisk)
    try:
        made.phone("101")
        made.phone("102")
        yield made
    finally:
        made.close()


def chats(box: Box) -> dict[str, Any]:
    found: dict[str, Any] = box.pbxd.status()["chat"]
    return found


def kept(box: Box, room: str) -> list[tuple[str, str]]:
    shown = box.pbxd.ctl("chat", "show", room, "--json", check=False).stdout
    return [(one["sender"], one["text"]) for one in map(json.loads, shown.splitlines())]


def came(desk: Desk, phone: str, before: int, *wanted: tuple[str, str]) -> None:
    """Wait for these messages, these alone and in this order, on a phone's display."""
    desk.wait(lambda: len(desk.messages(phone)) >= before + len(wanted), f"{wanted} on {phone}")
    assert desk.messages(phone)[before:] == list(wanted)


def test_a_phone_to_a_stored_room_and_back(box: Box, desk: Desk) -> None:
    before = len(desk.messages("101")), len(desk.messages("102"))
    desk.message("101", "102", "hello Bert ü ✓\nsecond (line) ${EXTEN}: x) 200 result=0")
    came(desk, "102", before[1], ("101", "hello Bert ü ✓\nsecond (line) ${EXTEN}: x) 200 result=0"))
    desk.message("102", "101", "hello Anna")
    came(desk, "101", before[0], ("102", "hello Anna"))
    assert kept(box, "anna+bert") == [
        ("anna", "hello Bert ü ✓\nsecond (line) ${EXTEN}: x) 200 result=0"), ("bert", "hello Anna")
    ]  # fmt: skip
    box.pbxd.ctl("chat", "send", "anna", "from the office")
    came(desk, "101", before[0] + 1, ("root", "from the office"))
    desk.message("101", "root", "answered")
    wait_until(lambda: kept(box, "anna+root")[-1:] == [("anna", "answered")], "the answer")


def test_a_group_room_by_number_and_by_name(box: Box, desk: Desk) -> None:
    before = len(desk.messages("101")), len(desk.messages("102"))
    desk.message("102", "701", "to all")
    came(desk, "101", before[0], ("701", "Bert Smith: to all"))
    desk.message("101", "sales", "seen")
    came(desk, "102", before[1], ("701", "anna: seen"))
    assert kept(box, "sales") == [("bert", "to all"), ("anna", "seen")]
    members = json.loads(box.pbxd.ctl("chat", "show", "sales", "--facts").stdout)["members"]
    assert {one["person"]: one["delivered"] > 0 for one in members} == {"anna": True, "bert": True, "dora": False}


@pytest.mark.usefixtures("box")
def test_what_is_wrong_is_told_to_the_phone(desk: Desk) -> None:
    for to, text, said in (
        ("999", "hello", "Not sent: there is no person and no room '999' that you may write to"),
        ("150+102", "hello", "Not sent: there is no person and no room '150+102' that you may write to"),
        ("102", "x" * 1500, "Not sent: the message has 1500 bytes; Asterisk takes 1,022 from a phone"),
    ):
        before = len(desk.messages("101"))
        desk.message("101", to, text)
        came(desk, "101", before, (to, said))


def test_a_phone_that_is_away_gets_each_message_once_when_it_registers(box: Box, desk: Desk) -> None:
    texts = [f"for later {n}" for n in range(3)]
    for text in texts:
        desk.message("101", "150", text)
        wait_until(lambda text=text: kept(box, "anna+carl")[-1:] == [("anna", text)], "it to be kept")  # type: ignore[misc]
    desk.register("150")
    came(desk, "150", 0, *(("101", text) for text in texts))
    long = "a long story " * 100
    box.pbxd.ctl("chat", "send", "150", long)
    desk.wait(lambda: len(desk.messages("150")) == 5, "its two parts")
    parts = [text.rpartition(" (")[0] for _, text in desk.messages("150")[3:]]
    assert "".join(" ".join(parts).split()) == "".join(long.split())
    desk.unregister("150")
    desk.message("101", "150", "while away")
    wait_until(lambda: kept(box, "anna+carl")[-1] == ("anna", "while away"), "it to be kept")
    box.pbxd.kill()
    box.pbxd.start()
    wait_until(lambda: not chats(box)["error"] and box.pbxd.status()["ami"]["connected"], "the chats")
    desk.register("150")
    desk.wait(lambda: len(desk.messages("150")) >= 6, "what was kept over the kill")
    desk.message("150", "101", "I am back")
    wait_until(lambda: kept(box, "anna+carl")[-1] == ("carl", "I am back"), "the answer")
    assert desk.messages("150")[5:] == [("101", "while away")]


def test_without_pbxd_the_dialplan_answers(box: Box, desk: Desk) -> None:
    box.pbxd.kill()
    before = len(desk.messages("101"))
    desk.message("101", "102", "is anybody there?")
    came(desk, "101", before, ("102", "Not sent: the phone system cannot keep messages now"))
    box.pbxd.start()
    wait_until(lambda: not chats(box)["error"] and bool(box.pbxd.status()["agi"]["listening"]), "the chats")


def test_garbage(box: Box, desk: Desk) -> None:
    """By a socket of our own, as no good phone would send it: each is answered by SIP or by a text, and the next one is taken."""
    host, own = box.asterisk.address, box.asterisk.phone(149)

    def throw(name: str, body: bytes, to: str = "102") -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.bind((own, 5070))
            link.settimeout(10)
            head = MESSAGE.format(to=to, host=host, own=own, id=name, length=len(body))
            link.sendto(head.encode() + body, (host, 5060))
            return link.recv(4096).partition(b"\r\n")[0]

    def told(name: str, body: bytes, check: Callable[[str], bool]) -> None:
        before = len(desk.messages("101"))
        assert throw(name, body).startswith(b"SIP/2.0 202"), name
        desk.wait(lambda: len(desk.messages("101")) > before, f"an answer to {name}")
        assert check(desk.messages("101")[before][1]), name

    said_empty = "Not sent: the message is empty"
    told("empty", b"", lambda said: said == said_empty)
    told("spaces", b" \r\n\t ", lambda said: said == said_empty)
    told("control", b"\x01\x02\x1b\x7f", lambda said: said == said_empty)
    told("long", b"z" * 30_000, lambda said: said.startswith("Not sent: the message has 30000 bytes"))
    assert throw("huge", b"h" * 20_000, to="x" * 300).startswith(b"SIP/2.0 ")
    before = len(kept(box, "anna+bert"))
    for n in range(2):  # the second is the same message again, by its Call-ID and CSeq, some time after the first
        assert throw(f"bad-utf8{n}", b"bad \xff\xfe\xc3 end\x00nul").startswith(b"SIP/2.0 202")
    assert throw("again", b"once").startswith(b"SIP/2.0 202")
    throw("again", b"once")
    wait_until(lambda: kept(box, "anna+bert")[-1] == ("anna", "once"), "the last of them")
    desk.message("101", "102", "after all that")
    wait_until(lambda: kept(box, "anna+bert")[-1] == ("anna", "after all that"), "a good one")
    assert [text for _, text in kept(box, "anna+bert")[before:]] == [
        "bad \ufffd\ufffd\ufffd end", "bad \ufffd\ufffd\ufffd end", "once", "after all that"
    ]  # fmt: skip


def test_what_people_wrote_is_in_no_file_of_pbxd(box: Box, desk: Desk) -> None:
    desk.message("101", "102", "Kanarienvogel 4711")
    wait_until(lambda: kept(box, "anna+bert")[-1] == ("anna", "Kanarienvogel 4711"), "it to be kept")
    stored = b"".join(path.read_bytes() for path in box.pbxd.folder.rglob("*") if path.is_file())
    assert b"Kanarienvogel" not in stored
    assert "Kanarienvogel".encode("utf-16-le") not in stored
    assert b"4711" not in box.pbxd.log.read_bytes()
    findings = {one["check"]: one["state"] for one in json.loads(box.pbxd.ctl("doctor", "--json", check=False).stdout)}
    assert findings["chat"] == "ok"
