"""What people do with chats: kept once, encrypted, seen by those who were there, and written down where it is somebody else's."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from pbxd.chat import handover
from pbxd.chat.schema import CHAT
from pbxd.chat.service import ChatService
from pbxd.chat.settings import ChatSettings
from pbxd.chat.watchers import LIMIT, Event
from pbxd.comms import upkeep
from pbxd.comms.host import CommsHost
from pbxd.comms.people import Directory, Person
from pbxd.comms.zipping import zipped
from pbxd.config.people import PersonEntry
from pbxd.errors import AccessRefused, ChatRefused, CommsError, ObjectGone, StillKept
from tests.chat.office import PLAN, NoAmi, Office, opened, person
from tests.comms.conftest import PEOPLE, settings

CANARY = "Der Kanarienvogel 4711 ☃"
anna, bert, carl, sue, ada, otto, root = map(person, ("anna", "bert", "carl", "sue", "ada", "otto", "root"))
mallory = Person("anna", "nobody")  # a login of the machine that happens to be called as somebody is


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with opened(tmp_path) as made:
        yield made


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def spellings(text: str) -> list[bytes]:
    """A text as it may stand in a file: raw, base64 at each offset, UTF-16, hexadecimal."""
    raw = text.encode()
    coded = [base64.b64encode(b"x" * shift + raw)[4:-4] for shift in range(3)]
    return [raw, text.encode("utf-16-le"), text.encode("utf-16-be"), raw.hex().encode(), *coded]


async def test_direct_and_group(office: Office) -> None:
    first = await office.chat.send(anna, "102", "hello")
    assert (first.room, first.sender) == ("anna+bert", "anna")
    await office.chat.send(bert, "anna", "hi")
    await office.chat.send(carl, "701", "to all")
    assert await office.texts(anna, "anna+bert") == ["hello", "hi"]
    assert await office.texts(sue, "sales") == ["to all"]
    assert [one.text async for one in await office.chat.history(bert, "anna+bert", limit=1)] == ["hi"]
    assert await office.texts(bert, "anna+bert", after=first.number) == ["hi"]
    assert await office.audit() == []  # one's own chats are one's own business
    found = {one["room"]: (one["unread"], one["messages"]) for one in await office.chat.rooms(anna)}
    assert found == {"anna+bert": (1, 2), "board": (0, 0), "sales": (1, 1)}


async def test_unread_and_receipts(office: Office) -> None:
    numbers = [(await office.chat.send(anna, "sales", text)).number for text in "abc"]

    async def marks(who: Person) -> dict[str, tuple[int, int]]:
        shown = await office.chat.show(who, "sales")
        return {one["person"]: (one["delivered"], one["read"]) for one in shown["members"]}

    assert await marks(anna) == {"anna": (numbers[2],) * 2, "bert": (0, 0), "carl": (0, 0), "sue": (0, 0)}
    await office.texts(bert, "sales")
    await office.chat.mark_read(bert, "sales", numbers[1])
    assert (await marks(anna))["bert"] == (numbers[2], numbers[1])
    assert [one["unread"] for one in await office.chat.rooms(bert) if one["room"] == "sales"] == [1]
    await office.chat.mark_read(bert, "sales", numbers[0])  # it never goes back
    await office.chat.mark_read(carl, "sales", 10**9)  # and not beyond what is there
    assert await marks(anna) == {
        "anna": (numbers[2],) * 2, "bert": (numbers[2], numbers[1]), "carl": (numbers[2],) * 2, "sue": (0, 0)
    }  # fmt: skip
    await office.chat.send(sue, "sales", "I have read it")
    assert [one["unread"] for one in await office.chat.rooms(sue) if one["room"] == "sales"] == [0]


async def test_a_token_makes_a_message_one(office: Office) -> None:
    first = await office.chat.send(anna, "bert", "once", token="t1")
    assert await office.chat.send(anna, "bert", "once", token="t1") == first
    assert await office.chat.send(bert, "anna", "another's", token="t1") != first
    file = await office.chat.attach(anna, "bert", "a.txt", "text/plain", b"x", token="t2")
    assert await office.chat.attach(anna, "bert", "a.txt", "text/plain", b"x", token="t2") == file
    assert await office.texts(anna, "anna+bert") == ["once", "another's", ""]
    assert (await office.chat.store.totals())["attachments"] == 1


OTHERS: list[tuple[str, Callable[[Office, Person], Awaitable[object]]]] = [
    ("play", lambda office, who: office.texts(who, "anna+bert")),
    ("send", lambda office, who: office.chat.send(who, "anna+bert", "me too")),
    ("see", lambda office, who: office.chat.show(who, "anna+bert")),
    ("play", lambda office, who: office.chat.watch(who, "anna+bert")),
    ("play", lambda office, who: office.chat.search(who, "hello", room="anna+bert")),
    ("play", lambda office, who: office.chat.mark_read(who, "anna+bert", 1)),
    ("export", lambda office, who: handover.of_room(office.chat, who, "anna+bert")),
    ("export", lambda office, who: handover.of_person(office.chat, who, "bert")),
    ("delete", lambda office, who: office.chat.delete(who, "anna+bert")),
    ("delete", lambda office, who: office.chat.delete_message(who, 1)),
    ("hold", lambda office, who: office.chat.hold(who, "anna+bert", "case")),
    ("release", lambda office, who: office.chat.release(who, "anna+bert")),
]


@pytest.mark.parametrize("n", range(len(OTHERS)))
async def test_P10_what_others_may_and_that_it_is_written_down(office: Office, n: int) -> None:
    action, work = OTHERS[n]
    await office.chat.send(anna, "bert", "hello")
    may = {
        "ada": {"see", "delete", "hold", "release"},
        "root": {"play", "send", "see", "export", "delete", "hold", "release"},
    }
    for who in (carl, sue, otto, mallory, ada, root):
        before = await office.audit()
        allowed = action in may.get("mallory" if who is mallory else who.name, ())
        if not allowed:
            with pytest.raises(AccessRefused):
                await work(office, who)
        else:
            with contextlib.suppress(
                ObjectGone, ChatRefused
            ):  # root is in no room; what is deleted is gone for the next
                await work(office, who)
        new = (await office.audit())[len(before) :]
        if action == "see" and allowed:
            assert new == []  # a listing
        else:
            assert [(row[0], row[1], row[3]) for row in new] == [(who.name, action, allowed)], who


async def test_P10_what_is_not_there_is_refused_as_what_is_not_theirs(office: Office) -> None:
    await office.chat.send(anna, "bert", "hello")
    said = set()
    for room in ("anna+bert", "bert+sue", "nothing"):
        with pytest.raises(AccessRefused) as caught:
            await office.chat.history(carl, room)
        said.add(str(caught.value))
    assert len(said) == 1
    with pytest.raises(ObjectGone):
        await office.chat.history(root, "nothing")


async def test_P10_nobody_sees_rooms_that_are_not_theirs(office: Office) -> None:
    await office.chat.send(anna, "bert", "hello")
    await office.chat.send(anna, "board", "secret")
    seen = {
        who.name: sorted(one["room"] for one in await office.chat.rooms(who)) for who in (bert, carl, ada, otto, root)
    }
    all_rooms = ["anna+bert", "board", "sales"]
    assert seen == {"bert": ["anna+bert", "sales"], "carl": ["sales"], "ada": all_rooms, "otto": [], "root": all_rooms}
    assert await office.chat.rooms(mallory) == []
    for who in (carl, mallory, otto):
        assert [one async for one in await office.chat.search(who, "hello")] == []
    with pytest.raises(AccessRefused):
        await office.chat.watch(mallory)


async def test_who_comes_sees_what_follows_and_who_leaves_keeps_what_was(office: Office) -> None:
    await office.chat.send(anna, "sales", "before")
    teams = {"zoe": ("sales",), "bert": ()}
    entries = [
        PersonEntry(name=one.name, role=one.role, extensions=tuple(one.extensions), teams=teams.get(one.name, tuple(one.teams)),
                    supervises=tuple(one.supervises))
        for one in PEOPLE if one.role in ("user", "supervisor")
    ]  # fmt: skip
    now = Directory([*entries, PersonEntry(name="zoe", teams=("sales",))])
    office.reconfigure(now)
    zoe, former = now.by_name("zoe"), now.by_name("bert")
    assert zoe is not None
    assert former is not None
    await office.chat.send(anna, "sales", "after")  # before any look at the new configuration
    assert await office.texts(zoe, "sales") == ["after"]
    assert await office.texts(former, "sales") == ["before"]
    assert [one.text async for one in await office.chat.search(former, "after")] == []
    with pytest.raises(AccessRefused):
        await office.chat.send(former, "sales", "still here?")
    files = {
        file.name: b"".join([part async for part in file.content])
        async for file in await handover.of_person(office.chat, root, "bert")
    }
    assert b"before" in files["chats/sales/messages.txt"]
    assert b"after" not in files["chats/sales/messages.txt"]
    office.reconfigure(PEOPLE)
    await office.chat.send(anna, "sales", "back")
    assert await office.texts(bert, "sales") == ["before", "after", "back"]
    assert await office.texts(zoe, "sales") == ["after"]


async def test_a_search_finds_what_one_may_read(office: Office) -> None:
    for n in range(250):  # more than a page
        await office.chat.send(anna, "bert", f"Grüße Nummer {n}")
    await office.chat.attach(bert, "anna", "Rechnung März.pdf", "application/pdf", b"%PDF")
    assert [one.text async for one in await office.chat.search(bert, "GRUSSE 249")] == ["Grüße Nummer 249"]
    assert len([one async for one in await office.chat.search(bert, "nummer")]) == 250
    assert [one.attachment.name async for one in await office.chat.search(anna, "rechnung marz") if one.attachment] == [
        "Rechnung März.pdf"
    ]
    assert [one async for one in await office.chat.search(carl, "nummer")] == []
    with pytest.raises(ChatRefused):
        await office.chat.search(anna, " ")
    assert [one.text async for one in await office.chat.search(root, "grüße 7", end=0)] == []
    assert await office.audit() == [("root", "play", "*", True)]


async def test_P3_nothing_can_be_read_in_the_files(office: Office, tmp_path: Path) -> None:
    await office.chat.send(anna, "bert", CANARY)
    sent = await office.chat.attach(bert, "anna", f"{CANARY}.txt", "text/x-canary", CANARY.encode() * 1000, text=CANARY)
    assert sent.attachment is not None
    assert (await office.chat.download(anna, sent.attachment.id))[1] == CANARY.encode() * 1000
    stored = everything(tmp_path / "comms")
    assert len(stored) > 50_000
    for word in (CANARY, "Kanarienvogel", "text/x-canary"):
        assert [spelling for spelling in spellings(word) if spelling in stored] == []
    assert b"anna+bert" in stored  # who is in a room is not encrypted: docs/vault.md says so
    assert (await upkeep.verify(office.store)).faults == []
    assert (await upkeep.rekey(office.store))["resealed"] == 4  # three rooms and an attachment
    assert await office.texts(anna, "anna+bert") == [CANARY, CANARY]


async def test_deleting_shreds(office: Office, tmp_path: Path) -> None:
    sent = await office.chat.attach(anna, "bert", "a.bin", "", b"\0" * 100)
    assert sent.attachment is not None
    other = await office.chat.send(anna, "bert", "keep this")
    rows = await office.store.database.fetch(CHAT.tables[0].select().where(CHAT.tables[0].c.name == "anna+bert"))
    wrapped = bytes(rows[0].wrapped)
    file = office.store.vault.path(sent.attachment.id)
    assert file.exists()
    await office.chat.delete_message(anna, sent.number)
    assert not file.exists()
    assert await office.store.vault.is_shredded(sent.attachment.id)
    with pytest.raises(AccessRefused):
        await office.chat.download(anna, sent.attachment.id)
    with pytest.raises(AccessRefused):
        await office.chat.delete_message(bert, other.number)
    with pytest.raises(AccessRefused):
        await office.chat.delete(anna, "anna+bert")
    assert await office.texts(bert, "anna+bert") == ["keep this"]
    await office.chat.hold(ada, "anna+bert", "case 4711")
    for attempt in (office.chat.delete(ada, "anna+bert"), office.chat.delete_message(anna, other.number)):
        with pytest.raises(StillKept, match="case 4711"):
            await attempt
    await office.chat.release(ada, "anna+bert")
    assert wrapped in everything(tmp_path / "comms")
    await office.chat.delete(ada, "anna+bert")
    assert wrapped not in everything(tmp_path / "comms")
    assert await office.texts(anna, (await office.chat.send(anna, "bert", "again")).room) == ["again"]


async def test_retention_leaves_what_is_held(tmp_path: Path) -> None:
    async with opened(tmp_path, keep=3600.0) as office:
        now = [1_800_000_000.0]
        office.store.vault.clock = lambda: now[0]
        await office.chat.send(anna, "sales", "old")
        old = await office.chat.attach(anna, "sales", "a", "", b"x")
        await office.chat.send(anna, "bert", "held")
        await office.chat.hold(root, "anna+bert", "case")
        now[0] += 3000
        await office.chat.send(anna, "sales", "young")
        now[0] += 1000
        assert await office.chat.purge() == 2
        assert await office.texts(anna, "sales") == ["young"]
        assert await office.texts(anna, "anna+bert") == ["held"]
        assert old.attachment is not None
        assert await office.store.vault.is_shredded(old.attachment.id)
        assert ("pbxd", "delete", "sales", True) in await office.audit()
        assert await office.chat.purge() == 0
        await office.chat.release(root, "anna+bert")
        assert await office.chat.purge() == 1
        last = await office.chat.send(anna, "sales", "numbers are never used again")
        assert last.number == 5


async def test_an_export_is_whole(office: Office) -> None:
    await office.chat.send(bert, "anna", "two\nlines")
    await office.chat.attach(anna, "bert", "../../etc/pass:wd", "text/plain", b"content", text="look")
    await office.chat.send(anna, "sales", CANARY)
    await office.chat.send(carl, "sue", "not Anna's")
    data = b"".join([part async for part in zipped(await handover.of_person(office.chat, anna, "anna"))])
    with zipfile.ZipFile(io.BytesIO(data)) as made:
        assert made.testzip() is None
        assert sorted(made.namelist()) == [
            "chats/anna+bert/attachments/2-_.._etc_pass_wd", "chats/anna+bert/messages.jsonl", "chats/anna+bert/messages.txt",
            "chats/board/messages.jsonl", "chats/board/messages.txt", "chats/index.json", "chats/sales/messages.jsonl",
            "chats/sales/messages.txt",
        ]  # fmt: skip
        assert made.read("chats/anna+bert/attachments/2-_.._etc_pass_wd") == b"content"
        assert "bert: two\n    lines\n" in made.read("chats/anna+bert/messages.txt").decode()
        lines = [json.loads(line) for line in made.read("chats/anna+bert/messages.jsonl").splitlines()]
        assert [line["text"] for line in lines] == ["two\nlines", "look"]
        assert CANARY in made.read("chats/sales/messages.txt").decode()
    assert await office.audit() == [("anna", "export", "anna", True)]


async def test_online_it_comes_at_once_and_counts_as_delivered(office: Office) -> None:
    events: list[Event] = []
    watch = await office.chat.watch(bert)

    async def follow() -> None:
        async for event in watch:
            events.append(event)  # noqa: PERF401 - as they come

    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    await office.chat.send(anna, "bert", "are you there?")
    await office.chat.send(anna, "board", "not for bert")
    async with asyncio.timeout(10):
        while not [event for event in events if event.kind == "receipt"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert [event.message.text for event in events if event.message] == ["are you there?"]
    (told,) = [event.facts for event in events if event.kind == "receipt"]
    assert told == {"person": "bert", "delivered": 1}
    await office.chat.mark_read(bert, "anna+bert", 1)
    office.chat.watchers.close()
    await task
    assert events[-1].facts == {"person": "bert", "read": 1} or len(office.chat.watchers) == 0


async def test_who_does_not_keep_up_is_let_go(office: Office) -> None:
    watcher = office.chat.watchers.join("bert")
    for _ in range(LIMIT + 1):
        office.chat.watchers.publish(Event("receipt", "anna+bert"), frozenset({"bert"}))
    assert len(office.chat.watchers) == 0
    assert await watcher.next() is None


async def test_sizes(tmp_path: Path) -> None:
    async with opened(tmp_path, longest=10, attachment=5) as office:
        await office.chat.send(anna, "bert", "ü" * 5)
        await office.chat.attach(anna, "bert", "x", "", b"12345")
        for attempt in (
            office.chat.send(anna, "bert", "ü" * 5 + "."), office.chat.attach(anna, "bert", "x", "", b"123456"),
            office.chat.attach(anna, "bert", "x", "", b""), office.chat.attach(anna, "bert", "", "", b"1"),
            office.chat.send(anna, "bert", "x", token="t" * 201), office.chat.send(anna, "anna", "x"),
        ):  # fmt: skip
            with pytest.raises(ChatRefused):
                await attempt
        assert await office.chat.store.totals() == {"rooms": 3, "messages": 2, "attachments": 1, "held": 0}


async def test_a_damaged_message_hides_no_other(office: Office) -> None:
    await office.chat.send(anna, "bert", "one")
    await office.chat.send(anna, "bert", "two")

    async def damage(connection: object) -> None:
        await connection.exec_driver_sql("UPDATE chat_messages SET body = x'00' WHERE number = 1")  # type: ignore[attr-defined]

    await office.store.database.run("damaging", damage)
    found = [one async for one in await office.chat.history(bert, "anna+bert", newest_first=False)]
    assert [(one.text, bool(one.fault)) for one in found] == [("", True), ("two", False)]


@pytest.mark.parametrize(
    ("sender", "to", "text", "missing", "said"),
    [
        ('"Phone 101" <sip:101@pbx>', "102", "hello", 0, ""),
        ("<sip:reception@pbx>", "701", "hello", 0, ""),
        ("<sip:101@pbx>", "nobody", "hello", 0, "no room 'nobody'"),
        ("<sip:reception@pbx>", "board", "hello", 0, "no room 'board'"),
        ("<sip:999@pbx>", "102", "hello", 0, "the phone 999 is nobody's"),
        ("garbage", "102", "hello", 0, "is nobody's"),
        ("<sip:101@pbx>", "102", "", 0, "the message is empty"),
        ("<sip:101@pbx>", "102", "\0\x07", 0, "the message is empty"),
        ("<sip:101@pbx>", "102", "", 1500, "1500 bytes"),
        ("<sip:101@pbx>", "102", "x" * 64_000, 0, "64000 bytes"),
        ("<sip:101@pbx>", "102", b"\xff\xfe!".decode("utf-8", "surrogateescape"), 0, ""),
    ],
)
async def test_what_a_phone_is_answered(
    office: Office, sender: str, to: str, text: str, missing: int, said: str
) -> None:
    answer = await office.chat.from_phone(sender, to, text, missing=missing)
    assert (said in answer and answer.startswith("Not sent: ")) if said else answer == ""
    assert office.chat.status()["from_phones"] == (not said)
    assert office.chat.status()["refused"] == bool(said)


async def test_without_its_store_everything_says_so(tmp_path: Path) -> None:
    host = CommsHost(settings(tmp_path), lambda: PEOPLE, lambda: None, [CHAT])
    chosen = ChatSettings(PEOPLE, PLAN)
    service = ChatService(host, lambda: chosen, NoAmi())
    with pytest.raises(CommsError):
        await service.send(anna, "bert", "hello")
    assert "cannot keep messages" in await service.from_phone("<sip:101@pbx>", "102", "hello")
    assert service.status()["error"]
