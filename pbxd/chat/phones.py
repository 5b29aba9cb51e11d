"""Messages on their way to phones, by AMI's MessageSend: in order, kept while a phone is away, handed over when it registers.

Asterisk does not tell what a phone answered to a SIP MESSAGE. A message counts as delivered when Asterisk has sent it to
a phone that is registered, and not known to be unreachable. What was on its way when AMI or pbxd died is sent again: rather twice
than never.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from pbxd.asterisk.wire import Message as AmiMessage
from pbxd.chat.message import Message
from pbxd.chat.rooms import Addresses
from pbxd.chat.store import ChatStore
from pbxd.chat.text import parts
from pbxd.errors import ActionError, ActionFailed, AmiError, CommsError
from pbxd.waking import woken

RETRY = 60.0  # s after which phones that took nothing are tried again, in case that an event was missed
BATCH = 20  # messages that are read from the store at a time for one person
BACKLOG = 50  # the newest messages that a phone gets which was away; of older ones it is told how many there are
NOTICE = "chat"  # who such a notice comes from; nobody has that address
AWAY = ("Removed", "Unreachable")  # states of a contact (AMI ContactStatus) in which nothing reaches it
log = structlog.get_logger("pbxd.chat")


class Sender(Protocol):
    """The AMI session."""

    @property
    def connected(self) -> bool:
        """Whether actions can be sent now."""

    async def action(self, name: str, **headers: str) -> object:
        """Send an action. ActionFailed, or another AmiError."""


@dataclass(slots=True)
class PhoneCounters:
    """Since the start."""

    sent: int = 0  # messages that at least one phone was handed
    failed: int = 0  # tries that Asterisk refused: mostly phones that are not registered


class Phones:
    """Hands messages to phones, one after the other."""

    def __init__(
        self,
        store: ChatStore,
        ami: Sender,
        addresses: Callable[[], Addresses],
        told: Callable[[str, Message], None],
    ) -> None:
        """`told` is called with a person and a message that their phone was handed."""
        self.counters = PhoneCounters()
        self.last_error = ""  # what a person has to mend; a phone that is away is no error
        self._store = store
        self._ami = ami
        self._addresses = addresses
        self._told = told
        self._contacts: dict[str, dict[str, str]] = {}  # endpoint -> URI -> state, as far as events have told
        self._wanted: set[str] = set()  # people for whom there may be something to do
        self._wake = asyncio.Event()
        self._handed: dict[tuple[str, str], int] = {}  # (person, room) -> last message handed over, noted or not

    def notice(self, people: frozenset[str]) -> None:
        """There is something new for these people."""
        self._wanted |= people
        self._wake.set()

    def contact(self, event: AmiMessage) -> None:
        """AMI ContactStatus: a phone has registered, is gone, or can be reached again."""
        endpoint, uri, state = event.get("EndpointName"), event.get("URI"), event.get("ContactStatus")
        known = self._contacts.setdefault(endpoint, {})
        known[uri] = state
        if state == "Removed":
            del known[uri]
        if not known:
            del self._contacts[endpoint]
        if state not in AWAY and (owner := self._addresses().owner_of(endpoint)) is not None:
            self.notice(frozenset({owner.name}))

    def connected(self) -> None:
        """AMI is up: what was known of phones is old, and all are tried."""
        self._contacts.clear()
        self._wanted.clear()
        self._wake.set()

    async def run(self) -> None:
        """Hand over until cancelled."""
        while True:
            if not await woken(self._wake, RETRY):
                self._wanted.clear()
            self._wake.clear()
            try:
                await self._round()
            except CommsError as error:
                log.error("messages to phones wait", error=str(error))

    async def _round(self) -> None:
        wanted, self._wanted = self._wanted, set()
        for person in sorted(wanted or await self._store.who_waits()):
            if not self._ami.connected:
                return  # `connected` wakes us
            try:
                await self._serve(person)
            except AmiError as error:
                log.warning("messages to phones wait", error=str(error))
                return

    async def _serve(self, person: str) -> None:
        """Hand over what waits for a person. AmiError if AMI fails; CommsError."""
        while phones := [phone for phone in self._addresses().phones_of(person) if self._may_be_there(phone)]:
            await self._skip_backlog(person, phones)
            waiting = await self._store.waiting(person, BATCH)
            for message in waiting:
                place = (person, message.room)
                if self._handed.get(place, 0) < message.number:
                    if not await self._hand(phones, message):
                        return
                    self._handed[place] = message.number
                await self._store.advance(person, {(message.room, "phoned"): message.number})
                self._told(person, message)
            if len(waiting) < BATCH:
                return

    def _may_be_there(self, endpoint: str) -> bool:
        known = self._contacts.get(endpoint)
        return known is None or any(state not in AWAY for state in known.values())

    async def _skip_backlog(self, person: str, phones: list[str]) -> None:
        """A phone that was away for long gets the newest messages only, and is told of the others."""
        count = (await self._store.who_waits()).get(person, 0)
        if count <= BACKLOG:
            return
        marks = await self._store.behind(person, BACKLOG)
        said = f"({count - BACKLOG} older messages are kept, and not shown here)"
        if await self._send(phones, NOTICE, said):
            await self._store.advance(person, {(room, "phoned"): number for room, number in marks.items()})

    async def _hand(self, phones: list[str], message: Message) -> bool:
        """Send a message to these phones; whether one took it."""
        addresses = self._addresses()
        group = addresses.group(message.room) is not None
        text = message.text or message.fault
        if message.attachment is not None:
            text = f"{text}\n[{message.attachment.name}]".strip()
        text = f"{addresses.display(message.sender)}: {text}" if group else text
        taken = await self._send(phones, addresses.reply_address(message.room, message.sender), text)
        if taken:
            self.counters.sent += 1
        return taken

    async def _send(self, phones: list[str], sender: str, text: str) -> bool:
        """Whether a phone was sent all of a text. AmiError if the session fails."""
        taken = False
        for phone in phones:
            try:
                for part in parts(text):
                    body = base64.b64encode(part.encode()).decode()
                    await self._ami.action("MessageSend", Destination=f"pjsip:{phone}", From=sender, Base64Body=body)
                taken = True
            except (ActionFailed, ActionError) as error:
                self.counters.failed += 1
                self._refused(str(error))
        if taken:
            self.last_error = ""
        return taken

    def _refused(self, said: str) -> None:
        """Tell apart a phone that is away from an AMI user that may not send."""
        if "permission" in said.lower():
            if said != self.last_error:
                log.error("messages cannot be sent to phones", error=said)
            self.last_error = said
