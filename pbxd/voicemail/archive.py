"""The archive: voice messages in the vault, encrypted, a row each; and the holds of mailboxes.

A message that is archived goes LEAVING -> ARCHIVED: first the object and its row, in one transaction; then Asterisk takes the
message out of the spool; then the row says so. A kill between them leaves a row that says LEAVING, and the next look goes on there.
A message that is held is KEPT: a copy lies here beside it, and becomes ARCHIVED when the message is gone from the spool.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from sqlalchemy import Column, Index, Integer, LargeBinary, String, Table, delete, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.comms.schema import Part, metadata, objects
from pbxd.comms.store import Communications
from pbxd.voicemail.spool import Box, Message

KIND = "voicemail"  # of the objects
PAGE = 500  # rows that are in memory at a time
FOREVER = 2**62
KEPT, LEAVING, ARCHIVED = "kept", "leaving", "archived"

messages = Table(
    "voicemail_messages",
    metadata,
    Column("id", String, primary_key=True),  # of the object
    Column("box", String, nullable=False),  # 101@default
    Column("message", String, nullable=False),  # its id in the spool; a copy in another box has the same one
    Column("folder", String, nullable=False),  # in which it lay
    Column("when", Integer, nullable=False),  # epoch seconds at which it was left
    Column("duration", Integer, nullable=False),  # s
    Column("urgent", Integer, nullable=False),
    Column("format", String, nullable=False),  # of its sound
    Column("state", String, nullable=False),  # kept, leaving, archived
    Column("hold", String),  # why it must not be deleted; NULL is no hold of its own
    Column("at", Integer, nullable=False),  # µs at which it came here
    Column("details", LargeBinary, nullable=False),  # sealed JSON: who called, and what was dialled
    Index("voicemail_messages_by_box", "box", "message"),
    Index("voicemail_messages_by_when", "when", "id"),
    Index("voicemail_messages_by_state", "state"),
)

holds = Table(
    "voicemail_holds",
    metadata,
    Column("box", String, primary_key=True),
    Column("reason", String, nullable=False),
    Column("at", Integer, nullable=False),  # µs
)

notices = Table(  # the mails that tell of messages; rows go when their messages are too old to be told of
    "voicemail_notices",
    metadata,
    Column("box", String, primary_key=True),
    Column("message", String, primary_key=True),
    Column("at", Integer, nullable=False),  # µs of the intent
    Column("told", Integer),  # µs at which the server had taken it; NULL while it has not
)

notified = Table(  # since when a mailbox has notices: what lay there before is not told of
    "voicemail_notified",
    metadata,
    Column("box", String, primary_key=True),
    Column("since", Integer, nullable=False),  # epoch seconds
)

PREFIX = "vm-"  # of the objects' ids
VOICEMAIL = Part("voicemail", (messages, holds, notices, notified), sealed=(messages.c.details,), remade=PREFIX)


@dataclass(frozen=True, slots=True)
class Archived:
    """A message in the archive."""

    id: str  # of its object
    box: str
    message: str
    folder: str
    when: int
    duration: int
    urgent: bool
    format: str
    state: str
    hold: str | None
    at: int
    size: int  # bytes of sound
    details: bytes = field(repr=False)


class Archive:
    """Finds, enters and destroys; decides nothing."""

    def __init__(self, store: Communications) -> None:
        self._store = store

    async def put(self, message: Message, form: str, sound: bytes, state: str, hold: str | None = None) -> None:
        """Enter a message with its sound. What is there already, byte for byte, only changes its state. CommsFull, CommsError."""
        vault = self._store.vault
        name = await self._name(message, sound)
        if await vault.find(name) is not None:
            await self.set_state([name], state)
            if hold is not None:
                await self.set_hold([name], hold)
            return
        text = message.text
        details = {"caller": text.caller, "caller_name": text.caller_name, "extension": text.extension}

        async def enter(connection: AsyncConnection) -> None:
            sealed = vault.seal(json.dumps(details, ensure_ascii=False).encode())
            row = {
                "id": name, "box": str(message.box), "message": text.id, "folder": message.folder, "when": text.when,
                "duration": text.duration, "urgent": int(text.urgent), "format": form, "state": state, "hold": hold,
                "at": int(vault.clock() * 1_000_000), "details": sealed,
            }  # fmt: skip
            await connection.execute(insert(messages).values(row))

        await vault.put(name, KIND, sound, enter)

    async def _name(self, message: Message, sound: bytes) -> str:
        """The id of its object: the same for the same message, however often it is asked; another one after it was destroyed."""
        for turn in count():
            said = json.dumps([str(message.box), message.text.id, hashlib.sha256(sound).hexdigest(), turn])
            name = f"{PREFIX}{hashlib.sha256(said.encode()).hexdigest()[:40]}"
            if not await self._store.vault.is_shredded(name):
                return name
        raise AssertionError  # count() has no end

    async def facts(self, name: str) -> dict[str, Any] | None:
        """All that is known of a message, by the id of its object; None if there is none such."""
        return next(iter([self.as_json(row) async for row in self.entries(object_=name)]), None)

    async def find(self, box: Box, name: str) -> list[Archived]:
        """What there is of a message."""
        return [row async for row in self.entries(box=str(box), name=name)]

    async def entries(
        self, *, box: str = "", name: str = "", state: str = "", object_: str = "", before: int = FOREVER
    ) -> AsyncIterator[Archived]:
        """Rows, the newest message first; left before `before` (epoch seconds). Read page by page."""
        conditions = [messages.c.when < before]
        if box:
            conditions.append(messages.c.box == box)
        if name:
            conditions.append(messages.c.message == name)
        if object_:
            conditions.append(messages.c.id == object_)
        if state:
            conditions.append(messages.c.state == state)
        page = select(messages, objects.c.length).join(objects, objects.c.id == messages.c.id).where(*conditions)
        page = page.order_by(messages.c.when.desc(), messages.c.id.desc()).limit(PAGE)
        after: tuple[int, str] | None = None
        while True:
            beyond = page if after is None else page.where(tuple_(messages.c.when, messages.c.id) < tuple_(*after))
            rows = await self._store.database.fetch(beyond)
            for row in rows:
                yield Archived(
                    row.id, row.box, row.message, row.folder, row.when, row.duration, bool(row.urgent), row.format,
                    row.state, row.hold, row.at, row.length, row.details,
                )  # fmt: skip
            if len(rows) < PAGE:
                return
            after = (rows[-1].when, rows[-1].id)

    async def sound(self, row: Archived) -> bytes:
        """A message's sound. ObjectGone, ObjectDamaged."""
        return await self._store.vault.read(row.id)

    async def set_state(self, names: list[str], state: str) -> None:
        """Say where these messages are."""
        await self._update("noting where voice messages are", names, state=state)

    async def set_hold(self, names: list[str], reason: str | None) -> None:
        """Put a hold on messages, or take it off."""
        await self._update("holding voice messages", names, hold=reason)

    async def _update(self, what: str, names: list[str], **values: str | None) -> None:
        async def work(connection: AsyncConnection) -> None:
            await connection.execute(update(messages).where(messages.c.id.in_(names)).values(**values))

        await self._store.database.run(what, work)

    async def shred(self, row: Archived) -> None:
        """Destroy a message's object, and its row with it."""

        async def strike(connection: AsyncConnection) -> None:
            await connection.execute(delete(messages).where(messages.c.id == row.id))

        await self._store.vault.shred(row.id, strike)

    async def held_boxes(self) -> dict[str, str]:
        """The mailboxes that are held, and why."""
        return {row.box: row.reason for row in await self._store.database.fetch(select(holds))}

    async def hold_box(self, box: Box, reason: str | None) -> None:
        """Put a hold on a mailbox, or take it off."""

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(delete(holds).where(holds.c.box == str(box)))
            if reason is not None:
                at = int(self._store.vault.clock() * 1_000_000)
                await connection.execute(insert(holds).values(box=str(box), reason=reason, at=at))

        await self._store.database.run("holding a mailbox", work)

    async def hold_of(self, box: Box, name: str) -> str | None:
        """Why a message must not be deleted: its own hold, or its box's; None if it may be."""
        own = [row.hold for row in await self.find(box, name) if row.hold is not None]
        return own[0] if own else (await self.held_boxes()).get(str(box))

    async def totals(self) -> dict[str, int]:
        """How many are in the archive, how many are on their way there, how much is held."""
        of = {
            row.state: row.number
            for row in await self._store.database.fetch(
                select(messages.c.state, func.count().label("number")).group_by(messages.c.state)
            )
        }
        held = select(func.count()).select_from(messages).where(messages.c.hold.is_not(None))
        return {
            "archived": of.get(ARCHIVED, 0),
            "leaving": of.get(LEAVING, 0),
            "kept": of.get(KEPT, 0),
            "held_messages": (await self._store.database.fetch(held))[0][0],
            "held_boxes": len(await self.held_boxes()),
        }

    def details(self, row: Archived) -> dict[str, Any]:
        """What is sealed in a row."""
        opened: dict[str, Any] = json.loads(self._store.vault.unseal(row.details))
        return opened

    def as_json(self, row: Archived) -> dict[str, Any]:
        """A message of the archive for the API, in the form of one in the spool."""
        return {
            "id": row.message, "box": row.box, "folder": row.folder, "new": False, "when": row.when,
            "duration": row.duration, "urgent": row.urgent, "formats": [row.format], "archived": row.at // 1_000_000,
            "hold": row.hold, "object": row.id, **self.details(row),
        }  # fmt: skip
