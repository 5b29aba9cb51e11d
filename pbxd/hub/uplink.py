"""What is said over the two subsystems of a box: its enrolment, and its uplink (docs/uplink-protocol.md)."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from pbxd.errors import FrameError, HubError
from pbxd.hub import boxes, checkpoints, messages
from pbxd.hub import entries as uploads
from pbxd.hub.boxes import SECOND, BoxRow, Enrolled, TokenRefused, Wish
from pbxd.hub.channel import Event, FrameChannel
from pbxd.hub.database import now
from pbxd.hub.entries import Entries, Replaced, Writer
from pbxd.uplink.frames import Frame, frame
from pbxd.uplink.vocabulary import PROTOCOL, time_text

if TYPE_CHECKING:
    from pbxd.hub.node import Node
    from pbxd.hub.sign_in import SignIn

log = structlog.get_logger("pbxd.hub")


def text_of(micros: int) -> str:
    """A time as the protocol writes it."""
    return time_text(datetime.fromtimestamp(micros // SECOND, UTC))


async def enrolment(node: Node, owner: SignIn, channel: FrameChannel) -> None:
    """A new box asks once and is answered once."""
    async with asyncio.timeout(node.config.limits.sign_in):
        await channel.started.wait()
        asked = await channel.next()
    if not isinstance(asked, Frame):
        return
    if asked["protocol"] != PROTOCOL:
        detail = f"this hub speaks protocol {PROTOCOL}, not {asked['protocol']}"
        await channel.send(frame("refused", why="protocol", detail=detail))
        return
    wish = Wish(asked["key"], asked["ledger"], asked["name"])
    try:
        made = await boxes.enrol(node.database, node.keys.box_ca, owner.token, wish, node.config.certificates.box)
    except TokenRefused as error:
        node.counts["refused"] += 1
        log.info("an enrolment was refused", detail=str(error), address=owner.address)
        await channel.send(frame("refused", why="token", detail=str(error)))
        return
    except HubError as error:  # its key or ledger is none: the box is what has the fault
        raise FrameError(str(error)) from error
    node.counts["enrolled"] += 1
    log.info("a box was enrolled", box=made.box, name=wish.name, address=owner.address)
    await channel.send(
        frame(
            "enrolled", box=made.box, certificate=made.certificate, until=text_of(made.until),
            support_ca=node.keys.support_ca, message_key=node.keys.message.verifier.text,
        )
    )  # fmt: skip


def is_upload(item: Frame) -> bool:
    """Whether a frame is stored in one transaction with those beside it."""
    return item.type in ("entry", "skip")


class Uplink:
    """The conversation with one box."""

    def __init__(self, node: Node, owner: SignIn, box: BoxRow, channel: FrameChannel) -> None:
        self.node = node
        self.owner = owner
        self.box = box
        self.channel = channel
        self.session = uuid.uuid4().hex
        self.entries = Entries(node.database, Writer(box.number, box.ledger, self.session))
        self._sent: set[str] = set()  # messages that went over this connection and were not received yet
        self._refused: set[int] = set()  # entries of which this connection was told that they are not taken
        self._ended = ""  # why we end it

    def end(self, why: str) -> None:
        """Say goodbye, from outside of the conversation."""
        self._ended = self._ended or why
        self.channel.wake()

    async def run(self) -> None:
        """Talk until either end has enough. FrameError if the box breaks the protocol, StoreError if the store fails."""
        node = self.node
        async with asyncio.timeout(node.config.limits.sign_in):
            await self.channel.started.wait()
            hello = await self.channel.next()
        if not isinstance(hello, Frame):
            return
        if hello.type != "hello" or hello["protocol"] != PROTOCOL:
            raise FrameError(f"{hello.type} came first, or another protocol than {PROTOCOL}")
        if not await self._same_ledger(hello["ledger"]):
            await self.channel.send(frame("bye", why="ledger"))
            return
        try:
            # Who had this box until now is ended by this: it may write no more.
            await boxes.hold(node.database, self.box.number, self.session, node.config.node, hello["version"])
            node.holds(self)
            number, have = await self.entries.begin()
            await checkpoints.hello(node.database, self.box, hello["size"])
            await self.channel.send(frame("welcome", protocol=PROTOCOL, time=text_of(now()), next=number, have=have))
            await checkpoints.say(node.database, node.keys.message, self.box)
            await self._look()
            await self._listen()
        except Replaced:
            self._ended = "replaced"
        finally:
            node.dropped(self)
            await boxes.let_go(node.database, self.box.number, self.session)
        if self._ended:
            await self.channel.send(frame("bye", why=self._ended))

    async def _same_ledger(self, sha256: str) -> bool:
        sql = "SELECT sha256 FROM ledgers WHERE id = ?"
        ((known,),) = await self.node.database.read("reading a ledger", sql, self.box.ledger)
        if known == sha256:
            return True
        async with self.node.database.writing("telling of a ledger") as connection:
            text = f"it came with the ledger {sha256[:16]}…, and {known[:16]}… was enrolled"
            if await boxes.alarm(connection, self.box.number, "ledger", text):
                log.error("a box has another ledger", box=self.box.id, text=text)
        return False

    async def _listen(self) -> None:
        """Take what comes until it ends."""
        database = self.node.database
        while not self._ended:
            items = await self.channel.batch(is_upload)
            first = items[0]
            if isinstance(first, Event):
                if first is Event.END:
                    return
                await self._look()
            elif is_upload(first):
                await self._take([item for item in items if isinstance(item, Frame)])
            elif first.type == "checkpoint":
                if await checkpoints.take(database, self.box, first.body):
                    self.node.counts["alarms"] += 1
            elif first.type == "received":
                await messages.received(database, self.box.number, first["id"])
                self._sent.discard(first["id"])
            elif first.type == "noted":
                await uploads.noted(database, self.box.ledger, first["number"])
            else:
                raise FrameError(f"{first.type} came in the middle of an uplink")

    async def _take(self, frames: list[Frame]) -> None:
        """Store uploads, then answer."""
        answers = await self.entries.take(frames)
        counts = Counter(answer.type for answer in answers)
        self.node.counts["entries"] += counts["accepted"]
        self.node.counts["rejected"] += counts["rejected"]
        if counts["accepted"]:
            self.node.reader.wake()
        self._refused |= {answer["number"] for answer in answers if answer.type == "rejected"}
        await self.channel.send(*answers)

    async def _look(self) -> None:
        """See what is new of this box: it was revoked, has messages, or needs a new certificate."""
        if self._ended:
            return
        database, node = self.node.database, self.node
        box = await boxes.find(database, self.box.id)
        if box is None or box.revoked is not None:
            self._ended = "revoked"
            return
        if box.ledger != self.box.ledger or box.session != self.session:
            self._ended = "replaced"
            return
        if self.owner.certificate_until - now() // SECOND < node.config.certificates.renew:
            made: Enrolled = await boxes.renew(database, node.keys.box_ca, box.number, node.config.certificates.box)
            self.owner.certificate_until = made.until // SECOND
            log.info("a certificate was renewed", box=box.id, until=text_of(made.until))
            await self.channel.send(frame("renewed", certificate=made.certificate, until=text_of(made.until)))
        for message in await messages.waiting(database, box.number):
            if message.id not in self._sent:
                self._sent.add(message.id)
                node.counts["messages"] += 1
                await self.channel.send(frame("message", message.note, id=message.id))
        for refusal in await uploads.refused(database, self.box.ledger):
            if refusal["number"] not in self._refused:
                self._refused.add(refusal["number"])
                node.counts["rejected"] += 1
                await self.channel.send(refusal)
