"""Chats, as people use them: the API that the control socket, the phones and the web page go by.

Every method takes who asks. One's own chats are one's own business; whatever somebody else does with them (read, export, delete,
hold) and every refusal is in the audit log before it is done. Errors: AccessRefused; ChatRefused for a message that cannot be
taken; ObjectGone, StillKept; CommsFull and CommsError if the store fails.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import structlog

from pbxd.chat.keeping import Keeping
from pbxd.chat.message import Attachment, Draft, Message, Via
from pbxd.chat.rooms import Room, nobody, takes_part
from pbxd.chat.schema import ATTACHMENT
from pbxd.chat.store import Entry, Mark, Span
from pbxd.chat.text import cleaned, folded, sender_of, words_of
from pbxd.chat.watchers import Event
from pbxd.comms.people import ROOT, Action, Person, Thing, may
from pbxd.errors import AccessRefused, ChatRefused, CommsError, CommsFull, ObjectGone

LONGEST_NAME = 200  # characters of an attachment's name
LONGEST_TOKEN = 200
LONGEST_TYPE = 100
log = structlog.get_logger("pbxd.chat")


class ChatService(Keeping):
    """What people do."""

    async def send(self, who: Person, to: str, text: str, *, token: str = "", via: Via = "control") -> Message:
        """Send a text to a room or a person (name, number, extension); it is on the disk when the message is returned.

        A `token` makes it safe to send again: the same sender's message with it is kept once in a room.
        """
        room = await self._writable(who, to)
        draft = Draft(who.name, via, cleaned(text, self.settings().longest), _token(token))
        return await self._sent(room, *await self.store.send(room, draft))

    async def attach(
        self, who: Person, to: str, name: str, type_: str, data: bytes, *, text: str = "", token: str = "", via: Via = "control"
    ) -> Message:  # fmt: skip
        """Send a file, with a text if there is one. ChatRefused if it is larger than `chat.attachment`, or empty."""
        room = await self._writable(who, to)
        settings = self.settings()
        if not 0 < len(data) <= settings.attachment:
            raise ChatRefused(f"the attachment has {len(data)} bytes; from 1 to {settings.attachment} are taken")
        name = cleaned(name.replace("/", "_").replace("\n", " "), 4 * LONGEST_NAME)[:LONGEST_NAME]
        kind = type_ if type_.isascii() and type_.isprintable() else ""
        file = Attachment(ATTACHMENT + secrets.token_hex(16), name, kind[:LONGEST_TYPE], len(data))
        said = cleaned(text, settings.longest) if text.strip() else ""
        return await self._sent(
            room, *await self.store.attach(room, Draft(who.name, via, said, _token(token), file), data)
        )

    async def from_phone(self, sender: str, to: str, text: str, *, token: str = "", missing: int = 0) -> str:
        """A SIP MESSAGE from a phone; what to answer it, empty if the message was taken. `sender` is its From header.

        `missing` is the length in bytes of a body that Asterisk did not hand over, for it was too long.
        """
        try:
            await self._take(sender_of(sender), to, text, token, missing)
        except AccessRefused:
            self.counters.refused += 1
            return f"Not sent: {nobody(to)}"
        except ChatRefused as error:
            self.counters.refused += 1
            return f"Not sent: {error}"
        except CommsFull:
            self.counters.refused += 1
            return "Not sent: the disk of the phone system is full"
        except CommsError as error:
            self.counters.refused += 1
            log.error("a message of a phone cannot be kept", error=str(error), sender=sender[:80])
            return "Not sent: the phone system cannot keep messages now"
        self.counters.from_phones += 1
        return ""

    async def _take(self, endpoint: str, to: str, text: str, token: str, missing: int) -> None:
        who = self.addresses().owner_of(endpoint)
        if who is None:
            raise ChatRefused(f"the phone {endpoint[:40]} is nobody's: `people` does not name its extension")
        if missing and not text:
            raise ChatRefused(f"the message has {missing} bytes; Asterisk takes 1,022 from a phone")
        await self.send(who, to, text, token=token, via="phone")

    async def _writable(self, who: Person, to: str) -> Room:
        """The room that is meant, if `who` may write there."""
        addresses = self.addresses()
        room = addresses.target(who, to)
        entry = None if room.kind == "direct" else await self.store.find(room.name)
        if room.kind == "group" and (entry is None or entry.present != room.members):
            await self.store.ensure(addresses.groups)
        await self.allow(who, "send", Thing("chat", room.name, room.members))
        return room

    async def _sent(self, room: Room, message: Message, new: bool) -> Message:
        if new:
            entry = await self.store.find(room.name)
            present = room.members if entry is None else entry.present
            self.watchers.publish(Event("message", room.name, message), present)
            self.notice(present - {message.sender})
        return message

    async def allow(self, who: Person, action: Action, thing: Thing, **detail: Any) -> None:  # noqa: ANN401 - JSON
        """Return if `who` may. What is theirs goes without a row in the audit log."""
        own = who.name in thing.owners and may(who, action, thing).allowed
        if not own or action == "export":
            await self._claim(who, action, thing, **detail)

    async def rooms(self, who: Person) -> list[dict[str, Any]]:
        """The rooms that `who` may know of: facts, unread, how far each member is. Of one's own, and for an admin of all."""
        everything = may(who, "see", Thing("chat")).allowed
        unread = await self.store.unread(who.name)
        found = await self.store.entries("" if everything else who.name)
        lasts = await self.store.lasts()
        sees = self.host.store.access.sees
        return [
            self._facts(entry, lasts.get(entry.name), unread.get(entry.name, 0))
            for entry in found
            if sees(who, thing_of(entry))
        ]

    def _facts(self, entry: Entry, last: tuple[int, int, int] | None, unread: int) -> dict[str, Any]:
        group = self.addresses().group(entry.name)
        count, number, at = last or (0, 0, entry.made)
        return {
            "room": entry.name, "kind": entry.kind, "title": group.title if group else entry.name,
            "number": group.number if group else "", "hold": entry.hold, "messages": count, "last": number, "at": at,
            "unread": unread,
            "members": [
                {"person": one.person, "delivered": one.delivered, "read": one.read, "left": one.until is not None}
                for one in entry.members.values()
            ],
        }  # fmt: skip

    async def show(self, who: Person, name: str) -> dict[str, Any]:
        """One room's facts."""
        entry = await self.entry(who, "see", name)
        if not self.host.store.access.sees(who, thing_of(entry)):
            await self._claim(who, "see", thing_of(entry))  # which refuses, and notes it
        unread = await self.store.unread(who.name)
        return self._facts(entry, (await self.store.lasts()).get(name), unread.get(name, 0))

    async def entry(self, who: Person, action: Action, name: str) -> Entry:
        """A room. Who may not see all is told the same of one that is not there, and both are in the audit."""
        entry = await self.store.find(name)
        if entry is None:
            if not may(who, action, Thing("chat", name)).allowed and who is not ROOT:
                await self._claim(who, action, Thing("chat", name[:64]))
            raise ObjectGone(f"there is no room {name}")
        return entry

    async def history(
        self, who: Person, name: str, *, after: int = 0, before: int = 2**62, limit: int = 50, newest_first: bool = True
    ) -> AsyncIterator[Message]:
        """Messages of a room, those that `who` was there for; decided and written down before the first is given.

        Newest first: the `limit` messages before `before`; else those after `after`. To read them marks them as delivered.
        """
        entry = await self.entry(who, "play", name)
        await self.allow(who, "play", thing_of(entry), after=after, before=min(before, 2**53))
        span = seen(entry, who.name, Span(name, after, before, limit, newest_first))
        return self._pages(who, entry, span)

    async def length(self, who: Person, name: str, *, after: int = 0, before: int = 2**62) -> int:
        """How many those are, whatever the limit. Nothing is decided here: their history was given already."""
        return await self.store.count(seen(await self.entry(who, "play", name), who.name, Span(name, after, before)))

    async def _pages(self, who: Person, entry: Entry, span: Span) -> AsyncIterator[Message]:
        highest = 0
        while span.limit > 0 and (page := await self.store.history(span)):
            for message in page:
                highest = max(highest, message.number)
                yield message
            left, last = span.limit - len(page), page[-1].number
            span = (
                replace(span, limit=left, before=last) if span.newest_first else replace(span, limit=left, after=last)
            )
        mine = entry.members.get(who.name)
        if mine is not None and highest > mine.delivered:
            await self._moved(who.name, entry.present, {(entry.name, "delivered"): highest})

    async def mark_read(self, who: Person, name: str, upto: int) -> None:
        """Say that one has read a room up to the message of this number. Only a member can."""
        entry = await self.entry(who, "play", name)
        await self.allow(who, "play", thing_of(entry))
        if (mine := entry.members.get(who.name)) is None or mine.until is not None:
            raise ChatRefused(f"{who.name} is not in the room {name}")
        last = (await self.store.lasts()).get(name, (0, 0, 0))[1]
        await self._moved(who.name, entry.present, {(name, "read"): min(upto, last)})

    async def _moved(self, person: str, present: frozenset[str], marks: dict[tuple[str, Mark], int]) -> None:
        await self.store.advance(person, marks)
        for (room, mark), number in marks.items():
            self.receipt(room, present, person, mark, number)

    async def watch(self, who: Person, room: str = "") -> AsyncIterator[Event]:
        """What happens from now on in one's rooms, or in one room; for root in all. Messages that it gives count as delivered.

        It ends when pbxd stops, or when 256 events wait: then the reader has to look at the history.
        """
        everything = may(who, "play", Thing("chat")).allowed
        if room:
            await self.allow(who, "play", thing_of(await self.entry(who, "play", room)), watch=True)
        elif everything:
            await self._claim(who, "play", Thing("chat", "*"), watch=True)
        elif not takes_part(who):
            await self._claim(who, "play", Thing("chat", "*"), watch=True)  # which refuses, and notes it
        watcher = self.watchers.join(who.name, room, everything=everything)
        return self._watched(who, watcher)

    async def search(
        self, who: Person, text: str, *, room: str = "", start: int = 0, end: int = 2**62
    ) -> AsyncIterator[Message]:
        """Messages in which all words of `text` occur, whatever their case and accents, newest first in each room.

        Of what `who` may read; `start` and `end` are times in µs. Every message is decrypted for it.
        """
        words = words_of(text)
        if room:
            entries = [await self.entry(who, "play", room)]
            await self.allow(who, "play", thing_of(entries[0]), search=True)
        elif may(who, "play", Thing("chat")).allowed:
            await self._claim(who, "play", Thing("chat", "*"), search=True)
            entries = await self.store.entries()
        else:
            own = await self.store.entries(who.name)
            entries = [entry for entry in own if may(who, "play", thing_of(entry)).allowed]
        return self._found(who, entries, words, start, end)

    async def _found(
        self, who: Person, entries: list[Entry], words: list[str], start: int, end: int
    ) -> AsyncIterator[Message]:
        for entry in entries:
            span = seen(entry, who.name, Span(entry.name, newest_first=True))
            while page := await self.store.history(span):
                for message in page:
                    file = message.attachment
                    said = folded(f"{message.text} {file.name if file else ''}")
                    if start <= message.at < end and all(word in said for word in words):
                        yield message
                span = replace(span, before=page[-1].number)
                if page[-1].at < start:
                    break

    async def download(self, who: Person, name: str) -> tuple[Attachment, bytes]:
        """An attachment. ObjectGone, also for one that `who` may not see; ObjectDamaged."""
        message = await self.store.attached(name)
        entry = None if message is None else await self.store.find(message.room)
        if message is None or message.attachment is None or entry is None:
            await self.allow(who, "download", Thing("chat", name[:64]))
            raise ObjectGone(f"there is no attachment {name}")
        there = frozenset(name for name, one in entry.members.items() if one.has(message.number))
        await self.allow(who, "download", Thing("chat", entry.name, there), attachment=name)
        return message.attachment, await self.host.store.vault.read(name)


def seen(entry: Entry, name: str, span: Span) -> Span:
    """What of a span a member was there for; others, who may read it all, see all."""
    mine = entry.members.get(name)
    if mine is None:
        return span
    before = span.before if mine.until is None else min(span.before, mine.until + 1)
    return replace(span, after=max(span.after, mine.since), before=before)


def thing_of(entry: Entry) -> Thing:
    """A room as the rules of access see it: its members own it, past ones what was written while they were there."""
    return Thing("chat", entry.name, frozenset(entry.members))


def _token(token: str) -> str:
    if len(token) > LONGEST_TOKEN:
        raise ChatRefused(f"a token has at most {LONGEST_TOKEN} characters")
    return token
