"""Messages on their way to phones, with an Asterisk whose answers the test chooses: order, once, kept, told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pbxd.asterisk.wire import Message as AmiMessage
from pbxd.chat.phones import BACKLOG, NOTICE
from pbxd.chat.service import ChatService
from pbxd.errors import ActionFailed, ActionTimeout, Disconnected
from tests.chat.office import Office, opened, person

anna, bert, carl, sue = map(person, ("anna", "bert", "carl", "sue"))


class Exchange:
    """Answers MessageSend as Asterisk does: a phone that is not registered fails."""

    def __init__(self) -> None:
        self.connected = True
        self.away: set[str] = set()
        self.sent: list[tuple[str, str, str]] = []  # to, from, text
        self.fails: list[Exception] = []  # the next answers
        self.tries = 0
        self.tried = ""  # the last text

    async def action(self, name: str, **headers: str) -> object:
        assert name == "MessageSend"
        await asyncio.sleep(0)
        self.tries += 1
        self.tried = base64.b64decode(headers["Base64Body"]).decode()
        phone = headers["Destination"].removeprefix("pjsip:")
        if self.fails:
            raise self.fails.pop(0)
        if phone in self.away:
            raise ActionFailed("Message failed to send.")
        self.sent.append((phone, headers["From"], self.tried))
        return None


class Site(Office):
    """An office with phones."""

    def __init__(self, office: Office) -> None:
        super().__init__(office.host, office.settings)
        self.exchange = Exchange()
        self.chat = ChatService(office.host, lambda: self.settings, self.exchange)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - the phones' own state
                await asyncio.sleep(0.01)

    async def idle(self) -> None:
        """Nothing waits for a phone that may be there."""
        store = self.chat.store
        async with asyncio.timeout(20):
            while {name for name in await store.who_waits() if self.chat.addresses().phones_of(name)} - {"bert"}:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def contact(self, endpoint: str, state: str) -> None:
        self.chat.handlers()["ContactStatus"](
            AmiMessage(
                f"Event: ContactStatus\r\nURI: sip:{endpoint}@10.0.0.9\r\nContactStatus: {state}\r\n"
                f"AOR: {endpoint}\r\nEndpointName: {endpoint}".encode()
            )
        )


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with opened(tmp_path) as office:
        made = Site(office)
        task = asyncio.create_task(made.chat.run())
        await made.until(lambda: made.chat._phones is not None)
        try:
            yield made
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_each_goes_to_the_phones_of_its_members(site: Site) -> None:
    await site.chat.send(anna, "bert", "hello")
    await site.chat.send(sue, "sales", "to all")
    await site.until(lambda: len(site.exchange.sent) == 3)
    assert sorted(site.exchange.sent) == [
        ("101", "701", "sue: to all"), ("reception", "101", "hello"), ("reception", "701", "sue: to all")
    ]  # fmt: skip
    assert site.chat.status()["to_phones"] == 3  # carl's phone is mute


async def test_what_is_kept_comes_in_order_when_the_phone_registers(site: Site) -> None:
    site.exchange.away.add("reception")
    for text in "abc":
        await site.chat.send(anna, "bert", text)
    await site.until(lambda: site.chat.status()["phone_failures"] > 0)
    assert site.exchange.sent == []
    site.exchange.away.clear()
    site.contact("reception", "NonQualified")
    await site.until(lambda: len(site.exchange.sent) == 3)
    site.contact("reception", "Reachable")
    site.contact("reception", "Updated")
    await site.chat.send(anna, "bert", "d")
    await site.until(lambda: len(site.exchange.sent) == 4)
    assert [text for _, _, text in site.exchange.sent] == ["a", "b", "c", "d"]


async def test_a_phone_that_cannot_be_reached_is_not_tried(site: Site) -> None:
    site.contact("reception", "Unreachable")
    await site.chat.send(anna, "bert", "kept")
    await site.chat.send(anna, "sue", "another's")
    await site.until(lambda: [to for to, _, _ in site.exchange.sent] == ["110"])
    assert site.exchange.tries == 1
    site.contact("reception", "Reachable")
    await site.until(lambda: len(site.exchange.sent) == 2)


async def test_one_phone_that_fails_keeps_nothing_from_others(site: Site) -> None:
    site.exchange.away.add("101")
    await site.chat.send(carl, "sales", "to all")
    await site.until(lambda: len(site.exchange.sent) == 2)
    assert {to for to, _, _ in site.exchange.sent} == {"reception", "110"}


async def test_a_broken_session_loses_and_changes_nothing(site: Site) -> None:
    site.exchange.fails = [Disconnected("gone")]
    await site.chat.send(anna, "bert", "one")
    await site.until(lambda: site.exchange.tries == 1)
    site.exchange.connected = False
    await site.chat.send(anna, "bert", "two")
    site.exchange.connected = True
    site.exchange.fails = [ActionTimeout("late")]
    site.chat.connected()
    await site.until(lambda: site.exchange.tries == 2)
    site.chat.connected()
    await site.until(lambda: len(site.exchange.sent) == 2)
    assert [text for _, _, text in site.exchange.sent] == ["one", "two"]


async def test_what_was_read_elsewhere_is_not_sent(site: Site) -> None:
    site.exchange.away.add("reception")
    first = await site.chat.send(anna, "bert", "read on the page")
    await site.chat.send(anna, "bert", "not read")
    await site.chat.mark_read(bert, "anna+bert", first.number)
    site.contact("reception", "NonQualified")
    await site.until(lambda: site.exchange.tried == "not read")  # what waits was looked up after the first was read
    site.exchange.away.clear()
    site.contact("reception", "NonQualified")
    await site.until(lambda: len(site.exchange.sent) == 1)
    assert site.exchange.sent == [("reception", "101", "not read")]


async def test_an_answer_from_the_phone_skips_nothing_that_it_has_not_been_shown(site: Site) -> None:
    site.exchange.away.add("reception")
    await site.chat.send(anna, "bert", "question")
    assert await site.chat.from_phone("<sip:reception@pbx>", "101", "written before it came") == ""
    site.exchange.away.clear()
    site.contact("reception", "NonQualified")
    await site.until(lambda: ("reception", "101", "question") in site.exchange.sent)


async def test_after_a_long_time_only_the_newest(site: Site) -> None:
    site.contact("reception", "Unreachable")
    for n in range(BACKLOG + 5):
        await site.chat.send(anna, "bert", str(n))
    site.contact("reception", "Reachable")
    await site.until(lambda: len(site.exchange.sent) == BACKLOG + 1)
    assert site.exchange.sent[0] == ("reception", NOTICE, "(5 older messages are kept, and not shown here)")
    assert [text for _, _, text in site.exchange.sent[1:]] == [str(n) for n in range(5, BACKLOG + 5)]


async def test_a_user_of_ami_that_may_not_send_is_told(site: Site) -> None:
    site.exchange.fails = [ActionFailed("Permission denied")]
    await site.chat.send(anna, "bert", "hello")
    await site.until(lambda: site.chat.status()["phone_error"] == "Permission denied")
    site.chat.connected()
    await site.until(lambda: site.chat.status()["phone_error"] == "")
    assert len(site.exchange.sent) == 1


async def test_the_sender_is_told_that_it_was_delivered(site: Site) -> None:
    watch = await site.chat.watch(anna)
    task = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    await site.chat.send(anna, "bert", "hello")
    async with asyncio.timeout(20):
        events = [await task, await anext(watch)]
    assert [(event.kind, event.facts) for event in events][1] == ("receipt", {"person": "bert", "delivered": 1})
    site.chat.watchers.close()
