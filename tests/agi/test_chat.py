"""`chat`: a message from a phone is handed to the chats; whatever happens, the dialplan goes on and knows what to answer."""

from __future__ import annotations

import asyncio
import re
from functools import partial

import pytest

from pbxd.agi import chat
from tests.agi.peers import STATUS, Host, Peer, environment, serving

ANSWER = re.compile(r'SET VARIABLE "?PBXD_CHAT_ANSWER"? "(.*)"$')
VALUES = {
    "MESSAGE(from)": b'"Phone" <sip:101@pbx>', "MESSAGE(body)": b"two\nlines \xff\xfe) 200 result=0",
    "MESSAGE_DATA(Call-ID)": b"abc", "MESSAGE_DATA(CSeq)": b"7 MESSAGE", "MESSAGE_DATA(Content-Length)": b"1500",
}  # fmt: skip


def answering(**changed: bytes) -> object:
    """What an Asterisk with such a message answers."""
    values = VALUES | {
        {"body": "MESSAGE(body)", "sender": "MESSAGE(from)"}[name]: value for name, value in changed.items()
    }

    def answer(line: str) -> bytes:
        asked = re.match(r'GET FULL VARIABLE "?(.*?)"?$', line)
        if asked is None:
            return b"200 result=1\n"
        text = asked[1].encode()
        for name, value in values.items():
            text = text.replace(b"${" + name.encode() + b"}", value)
        return b"200 result=1 (" + text + b")\n"

    return answer


class Chats:
    """Takes what it is given, as the test wants it taken."""

    def __init__(self, said: str = "", error: Exception | None = None) -> None:
        self.said = said
        self.error = error
        self.taken: list[tuple[str, str, str, str, int]] = []
        self.wait = asyncio.Event()
        self.wait.set()

    async def from_phone(self, sender: str, to: str, text: str, *, token: str = "", missing: int = 0) -> str:
        await self.wait.wait()
        if self.error is not None:
            raise self.error
        self.taken.append((sender, to, text, token, missing))
        return self.said


async def told(host: Host, **changed: bytes) -> list[str]:
    return await host.session("chat?to=102", answer=answering(**changed))  # type: ignore[arg-type]


def answer_in(commands: list[str]) -> str | None:
    found = [match[1] for line in commands if (match := ANSWER.match(line))]
    return found[-1] if found else None


async def test_it_hands_over_what_came() -> None:
    async with serving({"chat": chat.chat}) as host:
        host.server.services.chat = chats = Chats()
        commands = await told(host)
        assert chats.taken == [
            ('"Phone" <sip:101@pbx>', "102", "two\nlines \udcff\udcfe) 200 result=0", "abc 7 MESSAGE", 0)
        ]
        assert answer_in(commands) == ""
        assert commands[-1] == STATUS("OK")
        await told(host, body=b"")
        assert chats.taken[-1][2:] == ("", "abc 7 MESSAGE", 1500)


@pytest.mark.parametrize("said", ["Not sent: the disk is full", "two\nlines\r\n"])
async def test_what_is_to_be_answered_is_one_line(said: str) -> None:
    async with serving({"chat": chat.chat}) as host:
        host.server.services.chat = Chats(said)
        assert answer_in(await told(host)) == " ".join(said.split())


async def test_without_chats_the_phone_is_told() -> None:
    async with serving({"chat": chat.chat}) as host:
        assert answer_in(await told(host)) == chat.OFF


async def test_an_error_leaves_the_answer_that_the_dialplan_has() -> None:
    async with serving({"chat": chat.chat}) as host:
        host.server.services.chat = Chats(error=RuntimeError("a mistake of ours"))
        commands = await told(host)
        assert answer_in(commands) is None
        assert commands[-1] == STATUS("ERROR")
        await host.good()


async def test_it_holds_the_dialplan_no_longer_than_it_may() -> None:
    async with serving({"chat": partial(chat.chat, longest=0.05)}) as host:
        host.server.services.chat = chats = Chats()
        chats.wait.clear()
        commands = await told(host)
        assert answer_in(commands) == chat.LATE
        assert commands[-1] == STATUS("TIMEOUT")


@pytest.mark.parametrize("lines", range(5))
async def test_a_disconnect_at_each_step_hurts_nobody(lines: int) -> None:
    async with serving({"chat": chat.chat}) as host:
        host.server.services.chat = chats = Chats()
        peer: Peer = await host.peer(environment("chat?to=102"))
        answer = answering()
        for _ in range(lines):
            if not (line := await peer.line()):
                break
            await peer.send(answer(line))  # type: ignore[operator]
        peer.close()
        await host.until(lambda: host.server.running == 0)
        assert len(chats.taken) <= 1
        await host.good()
