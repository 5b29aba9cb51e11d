"""The mailboxes, as people use them: every use is decided and in the audit log before it is done."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from pbxd.comms.people import Action, Person, Thing, may
from pbxd.comms.store import Communications
from pbxd.errors import ObjectGone, SpoolError, StillKept
from pbxd.voicemail.archive import Archived
from pbxd.voicemail.index import Index
from pbxd.voicemail.operations import Operations
from pbxd.voicemail.sounds import converted
from pbxd.voicemail.spool import Box, Message, parse_box
from pbxd.voicemail.upkeep import Upkeep

LONGEST_REASON = 200  # characters of a hold's
TRIES = 3  # of finding a message that is archived while it is looked for


@dataclass(frozen=True, slots=True)
class Sound:
    """A message's sound, as Asterisk wrote it."""

    format: str  # `wav`, `gsm`, …
    data: bytes


@dataclass(frozen=True, slots=True)
class Granted:
    """A message that is handed over."""

    facts: dict[str, Any]
    source: Message | Archived


class Mailboxes:
    """What lies in the spool and in the archive, and who may have it."""

    def __init__(self, store: Communications, index: Index, operations: Operations, upkeep: Upkeep) -> None:
        self.archive = upkeep.archive
        self._store = store
        self._access = store.access
        self._index = index
        self._operations = operations
        self._upkeep = upkeep

    def thing(self, box: Box, name: str = "") -> Thing:
        """A message, or the mailbox itself, as the rules of access see it."""
        owners, teams = self._access.people.owners(mailbox=str(box))
        return Thing("voicemail", name or str(box), owners, teams)

    def _sees(self, who: Person, box: Box) -> bool:
        return self._access.sees(who, self.thing(box))

    # what there is

    async def boxes(self, who: Person) -> list[dict[str, Any]]:
        """The mailboxes that Asterisk has and `who` may see, with their greetings. AmiError if it cannot be asked."""
        held = await self.archive.held_boxes()
        found = []
        for holder in await self._operations.holders():
            if self._sees(who, holder.box):
                greetings = await asyncio.to_thread(self._index.disk.greetings, holder.box)
                found.append({
                    "box": str(holder.box), "name": holder.name, "mail": holder.mail, "new": holder.new,
                    "old": holder.old, "greetings": sorted(greetings), "hold": held.get(str(holder.box)),
                })  # fmt: skip
        return found

    async def spooled(self, who: Person, box: Box | None, folder: str) -> list[dict[str, Any]]:
        """Messages in the spool that `who` may see, the newest first."""
        found = [message for message in self._index.messages(box, folder) if self._sees(who, message.box)]
        held = await self.archive.held_boxes()
        return [as_json(message) | {"hold": held.get(str(message.box))} for message in found]

    async def archived(self, who: Person, box: Box | None) -> list[dict[str, Any]]:
        """Messages in the archive that `who` may see, the newest first; not those that lie in the spool as well."""
        present, held = self._upkeep.present(), await self.archive.held_boxes()
        return [
            self._row(row, held)
            async for row in self.archive.entries(box="" if box is None else str(box))
            if (row.box, row.message) not in present and self._sees(who, parse_box(row.box))
        ]

    def _row(self, row: Archived, held: dict[str, str]) -> dict[str, Any]:
        return self.archive.as_json(row) | {"hold": row.hold or held.get(row.box)}

    async def show(self, who: Person, box: Box, name: str) -> dict[str, Any]:
        """All that is known of a message. AccessRefused, SpoolError."""
        if not self._sees(who, box):
            await self._access.claim(who, "see", self.thing(box, name))  # which refuses, and notes it
        held = await self.archive.held_boxes()
        rows = await self.archive.find(box, name)
        message = self._in_spool(box, name)
        if message is not None:
            own = next((row.hold for row in rows if row.hold), None)
            return as_json(message) | {"hold": own or held.get(str(box))}
        if not rows:
            raise _nothing(box, name)
        return self._row(rows[0], held)

    def _in_spool(self, box: Box, name: str) -> Message | None:
        copies = self._upkeep.present().get((str(box), name), [])
        return copies[0] if copies else None

    async def _claim(
        self, who: Person, action: Action, box: Box, name: str, detail: dict[str, Any] | None = None
    ) -> None:
        """Return if `who` may, when that is in the audit. Who may not is told the same of a message that is not there."""
        thing = self.thing(box, name[:64])
        allowed = may(who, action, thing).allowed
        if allowed and self._in_spool(box, name) is None and not await self.archive.find(box, name):
            raise _nothing(box, name)
        await self._access.claim(who, action, thing, detail={"box": str(box), **(detail or {})})

    # what is heard

    async def sound(self, who: Person, box: Box, name: str, *, download: bool) -> Sound:
        """A message's sound, from wherever it lies. AccessRefused, SpoolError, ObjectDamaged."""
        await self._claim(who, "download" if download else "play", box, name)
        return await self.content(box, name)

    async def content(self, box: Box, name: str) -> Sound:
        """The sound of a message that was granted. SpoolError if it is gone; ObjectDamaged, CommsError."""
        for _ in range(TRIES):
            message = self._in_spool(box, name)
            if message is not None:
                try:
                    return Sound(*await asyncio.to_thread(self._index.disk.sound, message))
                except SpoolError:
                    await self._index.look()  # moved, archived or deleted meanwhile
            for row in await self.archive.find(box, name):
                try:
                    return Sound(row.format, await self.archive.sound(row))
                except ObjectGone:
                    continue
        raise _nothing(box, name)

    # what is done in the spool, by Asterisk

    async def move(self, who: Person, box: Box, name: str, folder: str) -> dict[str, Any]:
        """Move a message into another folder. AccessRefused; errors as `Operations.move`."""
        await self._claim(who, "change", box, name, {"folder": folder})
        self._must_be_spooled(box, name)
        return as_json(await self._operations.move(box, name, folder))

    async def mark(self, who: Person, box: Box, name: str, *, read: bool) -> dict[str, Any]:
        """Make a message one that was heard, or a new one again. Errors: as `move`."""
        await self._claim(who, "change", box, name, {"read": read})
        self._must_be_spooled(box, name)
        return as_json(await self._operations.mark(box, name, read=read))

    async def forward(self, who: Person, box: Box, name: str, to: Box, folder: str) -> dict[str, Any]:
        """Put a copy into another mailbox, anybody's; from the archive too. Errors: as `move`, `Upkeep.forward`."""
        await self._claim(who, "send", box, name, {"to": str(to)})
        if self._in_spool(box, name) is not None:
            return as_json(await self._operations.forward(box, name, to, folder))
        async with self._upkeep.turn:
            await self._upkeep.forward(box, name, to, folder)
        return await self.show(who, box, name)

    def _must_be_spooled(self, box: Box, name: str) -> None:
        if self._in_spool(box, name) is None:
            raise SpoolError(
                f"{name} of {box} is in the archive, where it can be played, forwarded, exported and deleted only"
            )

    async def archive_now(self, who: Person, box: Box, name: str) -> None:
        """Move a message into the archive. AccessRefused; errors as `Upkeep.move`."""
        await self._claim(who, "change", box, name, {"archive": True})
        async with self._upkeep.turn:
            self._must_be_spooled(box, name)
            await self._upkeep.move(box, name)

    async def delete(self, who: Person, box: Box, name: str) -> None:
        """Delete a message, wherever it lies. AccessRefused; StillKept if it, or its mailbox, is held; AmiError."""
        thing = self.thing(box, name[:64])
        reason = await self.archive.hold_of(box, name)
        if reason is not None and may(who, "delete", thing).allowed:
            said = f"it is held: {reason}"
            await self._store.audit.record(
                who, "delete", thing.kind, thing.id, allowed=False, reason=said, detail={"box": str(box)}
            )
            raise StillKept(f"{name} of {box} is not deleted: {said}")
        await self._claim(who, "delete", box, name)
        async with self._upkeep.turn:
            if await self.archive.hold_of(box, name) is not None:
                raise StillKept(f"{name} of {box} is not deleted: it is held since just now")
            await self._upkeep.remove(box, name)
            for row in await self.archive.find(box, name):
                await self.archive.shred(row)

    # holds

    async def hold(self, who: Person, box: Box, name: str, reason: str) -> None:
        """Keep a message, or the whole mailbox if `name` is empty, until it is released. ValueError without a reason."""
        reason = reason.strip()[:LONGEST_REASON]
        if not reason:
            raise ValueError("a hold needs a reason: which case it is for")
        if name:
            await self._claim(who, "hold", box, name, {"why": reason})
            async with self._upkeep.turn:
                rows = await self.archive.find(box, name)
                await self.archive.set_hold([row.id for row in rows], reason)
                await self._upkeep.copy(box, name, reason)
                if not await self.archive.find(box, name):
                    raise _nothing(box, name)
        else:
            await self._access.claim(who, "hold", self.thing(box), detail={"why": reason})
            await self.archive.hold_box(box, reason)
            await self._upkeep.copy_box(box)

    async def release(self, who: Person, box: Box, name: str) -> None:
        """Take a hold off a message, or off the mailbox if `name` is empty. AccessRefused, SpoolError."""
        if name:
            await self._claim(who, "release", box, name)
            await self.archive.set_hold([row.id for row in await self.archive.find(box, name)], None)
        else:
            held = (await self.archive.held_boxes()).get(str(box), "")
            await self._access.claim(who, "release", self.thing(box), detail={"hold": held})
            await self.archive.hold_box(box, None)
        self._upkeep.notice()

    # greetings

    async def greetings(self, who: Person, box: Box) -> dict[str, int]:
        """The greetings of a mailbox: what for -> bytes. AccessRefused."""
        if not self._sees(who, box):
            await self._access.claim(who, "see", self.thing(box))
        return await asyncio.to_thread(self._index.disk.greetings, box)

    async def set_greeting(self, who: Person, box: Box, kind: str, data: bytes | None) -> dict[str, int]:
        """Make a sound file a mailbox's greeting; None takes the greeting away. AccessRefused; SpoolError says what is wrong."""
        await self._access.claim(who, "change", self.thing(box), detail={"greeting": kind, "removed": data is None})
        made = None if data is None else await converted(data)
        await asyncio.to_thread(self._index.disk.greet, box, kind, made)
        return await self.greetings(who, box)

    # all of it

    async def export(self, who: Person, of: str, boxes: list[Box]) -> list[Granted]:
        """All messages of these mailboxes, oldest first, whose export is granted and in the audit.

        `of` says whose they are. AccessRefused, and nothing at all, if one of the mailboxes may not be exported.
        """
        refused = [box for box in boxes if not may(who, "export", self.thing(box)).allowed]
        for box in refused or boxes:
            await self._access.claim(who, "export", self.thing(box), detail={"of": of})  # a refusal ends it
        held = await self.archive.held_boxes()
        found: list[Granted] = []
        for box in boxes:
            async with self._upkeep.turn:  # none is on its way from the one to the other
                present = self._upkeep.present()
                found += [Granted(as_json(message), message) for message in self._index.messages(box)]
                found += [
                    Granted(self._row(row, held), row)
                    async for row in self.archive.entries(box=str(box))
                    if (row.box, row.message) not in present
                ]
        for one in found:
            detail, name = {"of": of, "box": one.facts["box"]}, one.facts["id"]
            await self._store.audit.record(who, "export", "voicemail", name, reason="as its mailbox", detail=detail)
        return sorted(found, key=lambda one: (one.facts["box"], one.facts["when"], one.facts["id"]))

    async def granted(self, one: Granted) -> Sound:
        """The sound of a message whose export was granted. SpoolError if it is gone; ObjectDamaged, CommsError."""
        try:
            if isinstance(one.source, Message):
                return Sound(*await asyncio.to_thread(self._index.disk.sound, one.source))
            return Sound(one.source.format, await self.archive.sound(one.source))
        except (SpoolError, ObjectGone):
            await self._index.look()  # moved, archived or deleted meanwhile
            return await self.content(parse_box(one.facts["box"]), one.facts["id"])

    def greeting_files(self, box: Box) -> dict[str, bytes]:
        """The greetings of a mailbox that was granted: file's name -> what is in it. Blocks."""
        return self._index.disk.greeting_files(box)


def _box(row: Archived) -> Box:
    mailbox, _, context = row.box.partition("@")
    return Box(context, mailbox)


def _nothing(box: Box, name: str) -> SpoolError:
    return SpoolError(f"there is no message {name[:64]} in {box}")


def as_json(message: Message) -> dict[str, Any]:
    """A message for the API: `when` in epoch seconds, `duration` in seconds."""
    text = message.text
    return {
        "id": text.id,
        "box": str(message.box),
        "folder": message.folder,
        "number": message.number,
        "new": message.new,
        "when": text.when,
        "duration": text.duration,
        "caller": text.caller,
        "caller_name": text.caller_name,
        "urgent": text.urgent,
        "extension": text.extension,
        "formats": list(message.formats),
        "archived": None,
        "hold": None,
    }
