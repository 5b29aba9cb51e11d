"""What runs under the chats: the store, the phones, the watchers, retention; and what is done with rooms as a whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from typing import Any

import structlog

from pbxd.asterisk.wire import Message as AmiMessage
from pbxd.chat.message import Message
from pbxd.chat.phones import PhoneCounters, Phones, Sender
from pbxd.chat.rooms import Addresses
from pbxd.chat.settings import ChatSettings
from pbxd.chat.store import ChatStore, Mark
from pbxd.chat.watchers import Event, Watcher, Watchers
from pbxd.comms.host import CommsHost
from pbxd.comms.people import SYSTEM, Action, Person, Thing, may
from pbxd.errors import CommsError, ObjectGone, StillKept

PURGE = 3600.0  # s between looks for messages that have been kept long enough
COUNT = 60.0  # s between counts for the status
log = structlog.get_logger("pbxd.chat")


@dataclass(slots=True)
class ChatCounters:
    """Since the start."""

    from_phones: int = 0  # messages that phones sent, and that were kept
    refused: int = 0  # messages of phones that were not


class Keeping:
    """The part of the service that is not about one person's reading and writing."""

    def __init__(self, host: CommsHost, settings: Callable[[], ChatSettings], ami: Sender) -> None:
        self.host = host
        self.settings = settings
        self.watchers = Watchers()
        self.counters = ChatCounters()
        self._ami = ami
        self._store: ChatStore | None = None
        self._phones: Phones | None = None
        self._totals = {"rooms": 0, "messages": 0, "attachments": 0, "held": 0, "waiting": 0}
        self.last_error = ""
        self._addresses: tuple[ChatSettings, Addresses] | None = None

    @property
    def store(self) -> ChatStore:
        """The chats. CommsError if the store is not open."""
        if self._store is None:
            raise CommsError(f"chats cannot be reached: {self.host.last_error or 'pbxd is starting'}")
        return self._store

    def addresses(self) -> Addresses:
        """Rooms, people and phones of the configuration in force."""
        settings, known = self.settings(), self._addresses
        if known is None or known[0] is not settings:
            known = self._addresses = (settings, Addresses(settings.people, settings.plan))
        return known[1]

    def caller(self, uid: int) -> Person:
        """Who a user of this machine is."""
        return self.host.store.access.caller(uid)

    def handlers(self) -> dict[str, Callable[[AmiMessage], None]]:
        """What is done at AMI events."""
        return {"ContactStatus": self._contact}

    def _contact(self, event: AmiMessage) -> None:
        if self._phones is not None:
            self._phones.contact(event)

    def connected(self) -> None:
        """AMI is up."""
        if self._phones is not None:
            self._phones.connected()

    def notice(self, people: frozenset[str]) -> None:
        """There is a new message for these people."""
        if self._phones is not None:
            self._phones.notice(people)

    def _phoned(self, person: str, message: Message) -> None:
        self.receipt(message.room, frozenset({message.sender, person}), person, "delivered", message.number)

    def receipt(self, room: str, present: frozenset[str], person: str, mark: Mark, number: int) -> None:
        """Tell who is online how far somebody is."""
        self.watchers.publish(Event("receipt", room, facts={"person": person, mark: number}), present)

    async def run(self) -> None:
        """Wait for the store, then keep rooms, phones and retention going, until cancelled."""
        comms = await self.host.opened()
        store = ChatStore(comms)
        self._store = store
        self._phones = Phones(store, self._ami, self.addresses, self._phoned)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._phones.run())
                tasks.create_task(self._keep_in_order())
                self._phones.connected()  # AMI may have been up before the store
        finally:
            self._store = self._phones = None
            self.watchers.close()

    async def configured(self) -> None:
        """Make rooms and members as the configuration in force says. CommsError."""
        await self.store.ensure(self.addresses().groups)

    async def _keep_in_order(self) -> None:
        looked: float | None = None
        known: Addresses | None = None
        loop = asyncio.get_running_loop()
        while True:
            try:
                if known is not self.addresses():
                    await self.configured()
                    known = self.addresses()
                if looked is None or loop.time() - looked >= PURGE:
                    await self.purge()
                    looked = loop.time()
                await self.count()
                self.last_error = ""
            except CommsError as error:
                log.error("chats cannot be put in order", error=str(error))
                self.last_error = str(error)
            await asyncio.sleep(COUNT)

    async def count(self) -> None:
        """Count what there is, for the status."""
        addresses = self.addresses()
        waiting = sum(n for person, n in (await self.store.who_waits()).items() if addresses.phones_of(person))
        self._totals = await self.store.totals() | {"waiting": waiting}

    async def purge(self) -> int:
        """Delete messages that have been kept long enough; how many. What is held stays."""
        keep = self.settings().keep
        if keep is None:
            return 0
        before = int((self.host.store.vault.clock() - keep) * 1_000_000)
        count = 0
        while found := await self.store.old(before):
            rooms: dict[str, int] = {}
            for _, room, _ in found:
                rooms[room] = rooms.get(room, 0) + 1
            for room, number in sorted(rooms.items()):
                day = time.strftime("%Y-%m-%d", time.gmtime(before / 1_000_000))
                detail = {"messages": number, "why": f"kept until {day}"}
                await self._claim(SYSTEM, "delete", Thing("chat", room), via="retention", **detail)
            await self.store.strike((number for number, _, _ in found), (file for _, _, file in found if file))
            count += len(found)
        return count

    async def _claim(self, who: Person, action: Action, thing: Thing, *, via: str = "control", **detail: Any) -> None:  # noqa: ANN401
        """Return if `who` may, when that is in the audit log. AccessRefused."""
        await self.host.store.access.claim(who, action, thing, via=via, detail=detail)

    async def delete(self, who: Person, name: str) -> None:
        """Destroy a room with all in it, its key first. StillKept if it is held. Its members may not: it is not one's alone."""
        await self._not_held(who, name, Thing("chat", name[:64]))
        await self._claim(who, "delete", Thing("chat", name[:64]))
        if (entry := await self.store.find(name)) is None:
            raise ObjectGone(f"there is no room {name}")
        await self.store.strike_room(name)
        self.watchers.publish(Event("deleted", name), entry.present)

    async def delete_message(self, who: Person, number: int) -> None:
        """Destroy a message, one's own. StillKept if its room is held."""
        message = await self.store.message(number)
        entry = None if message is None else await self.store.find(message.room)
        owners = frozenset({message.sender}) if message is not None else frozenset[str]()
        thing = Thing("chat", f"{message.room}#{number}" if message is not None else str(number), owners)
        if message is not None:
            await self._not_held(who, message.room, thing)
        await self._claim(who, "delete", thing)
        if message is None or entry is None:
            raise ObjectGone(f"there is no message {number}")
        await self.store.strike([number], [message.attachment.id] if message.attachment else [])
        self.watchers.publish(Event("deleted", message.room, facts={"number": number}), entry.present)

    async def _not_held(self, who: Person, room: str, thing: Thing) -> None:
        entry = await self.store.find(room)
        if entry is not None and entry.hold is not None and may(who, "delete", thing).allowed:
            reason = f"it is held: {entry.hold}"
            await self.host.store.audit.record(who, "delete", "chat", thing.id, allowed=False, reason=reason)
            raise StillKept(f"{thing.id} is not deleted: {reason}")

    async def hold(self, who: Person, name: str, reason: str) -> None:
        """Keep all of a room until it is released, whatever else says. ValueError without a reason."""
        if not reason.strip():
            raise ValueError("a hold needs a reason: which case it is for")
        await self._claim(who, "hold", Thing("chat", name[:64]), why=reason)
        await self._must_be(name)
        await self.store.set_hold(name, reason.strip()[:200])

    async def release(self, who: Person, name: str) -> None:
        """Take a hold off."""
        await self._claim(who, "release", Thing("chat", name[:64]))
        await self._must_be(name)
        await self.store.set_hold(name, None)

    async def _must_be(self, name: str) -> None:
        if await self.store.find(name) is None:
            raise ObjectGone(f"there is no room {name}")

    async def _watched(self, who: Person, watcher: Watcher) -> AsyncIterator[Event]:
        """The events of a watcher; messages that were taken are noted as delivered whenever nothing more waits."""
        marks: dict[tuple[str, Mark], int] = {}
        members: dict[str, frozenset[str]] = {}
        try:
            while (event := await watcher.next()) is not None:
                yield event
                if event.message is not None and event.message.sender != who.name:
                    marks[event.room, "delivered"] = event.message.number
                if marks and watcher.queue.empty():
                    await self.store.advance(who.name, marks)
                    for (room, mark), number in marks.items():
                        if room not in members and (entry := await self.store.find(room)) is not None:
                            members[room] = entry.present
                        self.receipt(room, members.get(room, frozenset()), who.name, mark, number)
                    marks.clear()
        finally:
            self.watchers.leave(watcher)

    def status(self) -> dict[str, Any]:
        """How it stands; `error` is why nothing is taken, `phone_error` why phones get nothing; both empty while they do."""
        phones = asdict(PhoneCounters() if self._phones is None else self._phones.counters)
        return {
            "error": self.host.last_error or "the store is being opened" if self._store is None else self.last_error,
            "phone_error": "" if self._phones is None else self._phones.last_error,
            **self._totals, **asdict(self.counters), "to_phones": phones["sent"], "phone_failures": phones["failed"],
            "watchers": len(self.watchers),
        }  # fmt: skip
