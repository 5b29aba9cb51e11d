"""What is handed over: the chats of a person or of a room, for a request for access to one's data."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

from pbxd.chat.message import Message
from pbxd.chat.service import ChatService, seen, thing_of
from pbxd.chat.store import ChatStore, Entry, Span
from pbxd.comms.chain import Entry as Row
from pbxd.comms.handover import File, Granted, as_json, whole
from pbxd.comms.people import Person, Thing, may
from pbxd.comms.store import Communications
from pbxd.errors import CommsError

UNSAFE = re.compile(r"[^\w .()+-]")  # in the name of a file within a zip
NOTE = "Chats: a folder for each room, messages as text and as JSON lines, and attachments. Times are UTC."


async def of_person(service: ChatService, who: Person, name: str) -> AsyncIterator[File]:
    """The rooms of a person (a name of `people`, or of one who was), what they were there for. AccessRefused: then nothing."""
    entries = await service.store.entries(name)
    await service.allow(who, "export", Thing("chat", name, frozenset({name})), rooms=len(entries))
    return _files(service, name, entries, name)


class ChatsOf:
    """Source of an access request: the person's rooms, what they were there for."""

    def __init__(self, service: ChatService) -> None:
        self._service = service

    async def grant(self, who: Person, person: Person) -> Granted:
        """AccessRefused if they are not theirs."""
        rooms = {person.name, *(entry.name for entry in await self._service.store.entries(person.name))}

        def concerns(row: Row) -> bool:
            return row.kind == "chat" and row.subject.partition("#")[0] in rooms  # room, or room#message

        return Granted(await of_person(self._service, who, person.name), concerns)


async def of_room(service: ChatService, who: Person, name: str) -> AsyncIterator[File]:
    """One room: what `who` was there for; all of it, if they may export whatever it is. AccessRefused, ObjectGone."""
    entry = await service.entry(who, "export", name)
    await service.allow(who, "export", thing_of(entry))
    everything = may(who, "export", Thing("chat")).allowed
    return _files(service, "" if everything else who.name, [entry], name)


async def _files(service: ChatService, whose: str, entries: list[Entry], of: str) -> AsyncIterator[File]:
    """`whose` says what is seen of each room; everything, if it is empty."""
    now = int(service.store.comms.vault.clock() * 1_000_000)
    index = {"of": of, "made": now, "note": NOTE, "rooms": [_facts(entry) for entry in entries]}
    yield whole("chats/index.json", now, as_json(index))
    for entry in entries:
        span = seen(entry, whose, Span(entry.name))
        folder = f"chats/{entry.name}"
        yield File(f"{folder}/messages.txt", now, _lines(service, span, as_text=True))
        yield File(f"{folder}/messages.jsonl", now, _lines(service, span, as_text=False))
        async for message in _messages(service, span):
            if (file := message.attachment) is not None:
                name = UNSAFE.sub("_", file.name).strip(". ") or "file"
                yield File(f"{folder}/attachments/{message.number}-{name}", message.at, _content(service, file.id))


async def texts(comms: Communications) -> AsyncIterator[File]:
    """All chats of a store, a file for each page of messages; their attachments are objects of the vault."""
    store = ChatStore(comms)
    for entry in await store.entries():
        span = Span(entry.name)
        while page := await store.history(span):
            said = _facts(entry) | {"messages": [message.as_json() for message in page]}
            yield whole(f"chat/{entry.name}/{page[0].number}-{page[-1].number}.json", page[-1].at, as_json(said))
            span = replace(span, after=page[-1].number)


def _facts(entry: Entry) -> dict[str, object]:
    return {
        "room": entry.name, "kind": entry.kind, "made": entry.made, "hold": entry.hold,
        "members": [{"person": one.person, "left": one.until is not None} for one in entry.members.values()],
    }  # fmt: skip


async def _messages(service: ChatService, span: Span) -> AsyncIterator[Message]:
    while page := await service.store.history(span):
        for message in page:
            yield message
        span = replace(span, after=page[-1].number)


async def _lines(service: ChatService, span: Span, *, as_text: bool) -> AsyncIterator[bytes]:
    async for message in _messages(service, span):
        line = text_line(message) if as_text else json.dumps(message.as_json(), ensure_ascii=False)
        yield line.encode() + b"\n"


def text_line(message: Message) -> str:
    """A message for reading; further lines of it are indented."""
    when = datetime.fromtimestamp(message.at / 1_000_000, UTC)
    file = f" [{message.attachment.name}]" if message.attachment is not None else ""
    said = f"({message.fault})" if message.fault else message.text
    return f"{when:%Y-%m-%d %H:%M:%S} {message.sender}: {said.replace(chr(10), chr(10) + '    ')}{file}"


async def _content(service: ChatService, name: str) -> AsyncIterator[bytes]:
    """An attachment; one that cannot be read says why, and does not keep the others from being handed over."""
    try:
        data = await service.store.comms.vault.read(name)
    except CommsError as error:
        data = f"This attachment cannot be read: {error}\n".encode()
    yield data
