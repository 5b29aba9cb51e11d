"""The chats in the store's database: rooms with their keys and members, messages in their order, and how far each member is.

Message numbers only grow, so that how far somebody is in a room is one number for each of delivered, read and phoned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, case, delete, func, insert, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.chat.message import Draft, Message, opened
from pbxd.chat.rooms import Room, RoomKind
from pbxd.chat.schema import attachments, members, messages, rooms
from pbxd.comms import age
from pbxd.comms.store import Communications
from pbxd.errors import CommsError, ObjectDamaged, ObjectGone

PAGE = 200  # messages that are decrypted at a time
KEYS = 1000  # rooms whose keys are in memory
FOREVER = 2**62
Mark = Literal["delivered", "read", "phoned"]


@dataclass(frozen=True, slots=True)
class Membership:
    """What a person has of a room."""

    person: str
    since: int
    until: int | None
    delivered: int
    read: int
    phoned: int

    def has(self, number: int) -> bool:
        """Whether they were there for the message of this number."""
        return self.since < number and (self.until is None or number <= self.until)


@dataclass(frozen=True, slots=True)
class Entry:
    """A room with its members, past ones too."""

    name: str
    kind: RoomKind
    made: int  # µs
    hold: str | None
    members: dict[str, Membership] = field(default_factory=dict)

    @property
    def present(self) -> frozenset[str]:
        """Those who are in it now."""
        return frozenset(name for name, member in self.members.items() if member.until is None)


@dataclass(frozen=True, slots=True)
class Span:
    """Which messages of one room; the numbers are exclusive."""

    room: str
    after: int = 0
    before: int = FOREVER
    limit: int = FOREVER
    newest_first: bool = False


class ChatStore:
    """The chats of an open store."""

    def __init__(self, store: Communications) -> None:
        self.comms = store
        self._keys: dict[str, str] = {}  # room -> its identity

    async def send(self, room: Room, draft: Draft) -> tuple[Message, bool]:
        """Keep a message; on the disk when it is returned, and whether it is new: False if its token was sent before.

        CommsFull or CommsError if it cannot be kept; then nothing of it is.
        """

        async def work(connection: AsyncConnection) -> tuple[Message, bool]:
            identity = await self._ensure(connection, room)
            return await self._enter(connection, room.name, identity, draft)

        return await self.comms.database.run("keeping a message", work)

    async def attach(self, room: Room, draft: Draft, data: bytes) -> tuple[Message, bool]:
        """Keep a message with its attachment, both or neither; else as `send`."""
        file = draft.attachment
        if file is None:
            raise ValueError("the draft has no attachment")
        if draft.token and (known := await self._known(room.name, draft)) is not None:
            return known, False
        made: list[tuple[Message, bool]] = []

        async def also(connection: AsyncConnection) -> None:
            identity = await self._ensure(connection, room)
            made.append(await self._enter(connection, room.name, identity, draft))

        try:
            await self.comms.vault.put(file.id, "attachment", data, also)
        except CommsError:
            await self.comms.vault.discard(file.id)
            raise
        if not made[0][1]:
            await self.comms.vault.shred(file.id)  # the same message had come meanwhile
        return made[0]

    async def _known(self, room: str, draft: Draft) -> Message | None:
        rows = await self.comms.database.fetch(_selected(_same(room, draft)))
        return self._open(await self.identity(room), rows[0]) if rows else None

    async def _enter(self, connection: AsyncConnection, room: str, identity: str, draft: Draft) -> tuple[Message, bool]:
        if draft.token:
            same = (await connection.execute(_selected(_same(room, draft)))).first()
            if same is not None:
                return self._open(identity, same), False
        at = int(self.comms.vault.clock() * 1_000_000)
        body = age.encrypt(draft.body(), age.recipient_of(identity))
        values = {
            "room": room, "at": at, "sender": draft.sender, "via": draft.via, "token": draft.token or None, "body": body
        }  # fmt: skip
        number = (await connection.execute(insert(messages).values(values).returning(messages.c.number))).scalar_one()
        if draft.attachment is not None:
            file = draft.attachment
            await connection.execute(insert(attachments).values(id=file.id, message=number, size=file.size))
        # Who writes has read what was written before: on a phone, as much as the phone was handed.
        seen: Any = members.c.phoned if draft.via == "phone" else number
        await connection.execute(_advance(draft.sender, room, "read", seen))
        await connection.execute(_advance(draft.sender, room, "delivered", seen))
        return Message(number, room, at, draft.sender, draft.via, draft.text, draft.attachment), True

    async def ensure(self, wanted: Iterable[Room]) -> None:
        """Make group rooms that are new, let those in who are members now, and those out of any group who are not."""
        configured = {room.name: room for room in wanted}

        async def work(connection: AsyncConnection) -> None:
            for room in configured.values():
                await self._ensure(connection, room)
            last = await _last(connection)
            here = select(members.c.room, members.c.person).join(rooms, rooms.c.name == members.c.room)
            for row in (await connection.execute(here.where(rooms.c.kind == "group", members.c.until.is_(None)))).all():
                known = configured.get(row.room)
                if known is None or row.person not in known.members:
                    gone = update(members).where(members.c.room == row.room, members.c.person == row.person)
                    await connection.execute(gone.values(until=last))

        await self.comms.database.run("making rooms", work)

    async def _ensure(self, connection: AsyncConnection, room: Room) -> str:
        """The room's key; the room and its members are made if they are not there."""
        row = (await connection.execute(select(rooms.c.wrapped).where(rooms.c.name == room.name))).first()
        if row is None:
            identity = age.new_identity()
            sealed = self.comms.vault.seal(identity.encode())
            now = int(self.comms.vault.clock() * 1_000_000)
            await connection.execute(
                insert(rooms).values(name=room.name, kind=room.kind, made=now, hold=None, wrapped=sealed)
            )
        else:
            identity = self._unsealed(room.name, row.wrapped)
        last: int | None = None
        found = await connection.execute(
            select(members.c.person).where(members.c.room == room.name, members.c.until.is_(None))
        )
        for person in sorted(room.members - {row.person for row in found}):
            last = await _last(connection) if last is None else last
            new = upsert(members).values(
                room=room.name, person=person, since=last, until=None, delivered=last, read=last, phoned=last
            )
            # who comes back sees what was written meanwhile, and gets none of it on the phone
            back = {"until": None, "phoned": last}
            await connection.execute(new.on_conflict_do_update(index_elements=["room", "person"], set_=back))
        return identity

    def _unsealed(self, room: str, wrapped: bytes) -> str:
        if (identity := self._keys.get(room)) is None:
            try:
                identity = self.comms.vault.unseal(wrapped).decode()
            except ObjectDamaged as error:
                raise ObjectDamaged(f"the key of the room {room} {error}") from error
            if len(self._keys) >= KEYS:
                self._keys.clear()
            self._keys[room] = identity
        return identity

    async def identity(self, room: str) -> str:
        """The key of a room. ObjectGone; ObjectDamaged."""
        rows = await self.comms.database.fetch(select(rooms.c.wrapped).where(rooms.c.name == room))
        if not rows:
            self._keys.pop(room, None)
            raise ObjectGone(f"there is no room {room}")
        return self._unsealed(room, rows[0].wrapped)

    def _open(self, identity: str, row: Any) -> Message:  # noqa: ANN401 - a row
        """A message in the clear; one that is damaged says so, and does not keep the others from being read."""
        try:
            return opened(row, age.decrypt(row.body, identity))
        except ObjectDamaged as error:
            return Message(row.number, row.room, row.at, row.sender, row.via, "", None, f"it {error}")

    async def find(self, name: str) -> Entry | None:
        """A room."""
        found = await self._entries(rooms.c.name == name)
        return found[0] if found else None

    async def entries(self, person: str = "") -> list[Entry]:
        """All rooms, or those of a person, past ones too; by name."""
        own = select(members.c.room).where(members.c.person == person)
        return await self._entries(*((rooms.c.name.in_(own),) if person else ()))

    async def _entries(self, *conditions: ColumnElement[bool]) -> list[Entry]:
        columns = [rooms.c.name, rooms.c.kind, rooms.c.made, rooms.c.hold, *members.c]
        query = select(*columns).outerjoin(members, members.c.room == rooms.c.name).where(*conditions)
        found: dict[str, Entry] = {}
        for row in await self.comms.database.fetch(query.order_by(rooms.c.name, members.c.person)):
            entry = found.setdefault(row.name, Entry(row.name, row.kind, row.made, row.hold))
            if row.person is not None:
                entry.members[row.person] = Membership(
                    row.person, row.since, row.until, row.delivered, row.read, row.phoned
                )
        return list(found.values())

    async def lasts(self) -> dict[str, tuple[int, int, int]]:
        """How many messages each room has, the last one's number, and its time (µs)."""
        query = select(messages.c.room, func.count(), func.max(messages.c.number), func.max(messages.c.at))
        return {
            row[0]: (row[1], row[2], row[3]) for row in await self.comms.database.fetch(query.group_by(messages.c.room))
        }

    async def unread(self, person: str) -> dict[str, int]:
        """How many messages of others a person has not read, by room."""
        query = select(members.c.room, func.count()).join(messages, _theirs()).where(members.c.person == person)
        query = query.where(messages.c.sender != person, messages.c.number > members.c.read).group_by(members.c.room)
        return {row[0]: row[1] for row in await self.comms.database.fetch(query)}

    async def history(self, span: Span) -> list[Message]:
        """Messages of a room; decrypted in a thread. ObjectGone if there is no such room; ObjectDamaged."""
        order = messages.c.number.desc() if span.newest_first else messages.c.number
        rows = await self.comms.database.fetch(_selected(_within(span)).order_by(order).limit(min(PAGE, span.limit)))
        return await self._decrypted(rows)

    async def count(self, span: Span) -> int:
        """How many messages those are, whatever the limit."""
        return int((await self.comms.database.fetch(select(func.count()).where(_within(span))))[0][0])

    async def _decrypted(self, rows: Sequence[Any]) -> list[Message]:
        if not rows:
            return []
        identities = {name: await self.identity(name) for name in {row.room for row in rows}}
        # Not in the vault's thread: that one has the lowest priority, and people wait for this.
        return await asyncio.to_thread(lambda: [self._open(identities[row.room], row) for row in rows])

    async def message(self, number: int) -> Message | None:
        """One message."""
        found = await self._decrypted(await self.comms.database.fetch(_selected(messages.c.number == number)))
        return found[0] if found else None

    async def attached(self, name: str) -> Message | None:
        """The message that an attachment came with."""
        of = select(attachments.c.message).where(attachments.c.id == name).scalar_subquery()
        found = await self._decrypted(await self.comms.database.fetch(_selected(messages.c.number == of)))
        return found[0] if found else None

    async def waiting(self, person: str, limit: int) -> list[Message]:
        """The oldest messages for a person's phones."""
        query = _selected(members.c.person == person).join(members, _theirs()).where(_for_phone())
        return await self._decrypted(
            await self.comms.database.fetch(query.order_by(messages.c.number).limit(min(limit, PAGE)))
        )

    async def behind(self, person: str, newest: int) -> dict[str, int]:
        """The last message of each room that waits for a person's phone, without the `newest` of all."""
        query = select(messages.c.room, messages.c.number).join(members, _theirs())
        query = query.where(members.c.person == person, _for_phone())
        older = query.order_by(messages.c.number.desc()).offset(newest).subquery()
        rows = await self.comms.database.fetch(select(older.c.room, func.max(older.c.number)).group_by(older.c.room))
        return {row[0]: row[1] for row in rows}

    async def who_waits(self) -> dict[str, int]:
        """For whose phones messages wait, and how many; people without a phone are among them."""
        query = select(members.c.person, func.count()).join(messages, _theirs()).where(_for_phone())
        return {row[0]: row[1] for row in await self.comms.database.fetch(query.group_by(members.c.person))}

    async def advance(self, person: str, marks: dict[tuple[str, Mark], int]) -> None:
        """Note how far a person is, by room and mark. It never goes back; what was read or phoned was delivered."""

        async def work(connection: AsyncConnection) -> None:
            for (room, mark), number in marks.items():
                await connection.execute(_advance(person, room, mark, number))
                if mark != "delivered":
                    await connection.execute(_advance(person, room, "delivered", number))

        await self.comms.database.run("noting what was delivered", work)

    async def set_hold(self, room: str, reason: str | None) -> None:
        """Put a hold on a room, or take it off."""

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(update(rooms).where(rooms.c.name == room).values(hold=reason))

        await self.comms.database.run("holding a room", work)

    async def old(self, before: int, limit: int = PAGE) -> list[tuple[int, str, str | None]]:
        """The oldest messages from before `before` (µs) that no hold is on: number, room, id of the attachment."""
        query = select(messages.c.number, messages.c.room, attachments.c.id.label("file"))
        query = query.outerjoin(attachments, attachments.c.message == messages.c.number)
        query = query.join(rooms, rooms.c.name == messages.c.room).where(messages.c.at < before, rooms.c.hold.is_(None))
        return [
            (row.number, row.room, row.file)
            for row in await self.comms.database.fetch(query.order_by(messages.c.number).limit(limit))
        ]

    async def files_of(self, room: str) -> list[str]:
        """Ids of all attachments of a room."""
        query = select(attachments.c.id).join(messages, messages.c.number == attachments.c.message)
        return [row.id for row in await self.comms.database.fetch(query.where(messages.c.room == room))]

    async def strike(self, numbers: Iterable[int], files: Iterable[str] = ()) -> None:
        """Destroy messages of these numbers, first those that have attachments, and overwrite what is left of them."""
        for name in files:
            await self.comms.vault.shred(name, _struck(attachments.c.id == name))
        gone = messages.c.number.in_(list(numbers))

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(delete(messages).where(gone))

        await self.comms.database.run("deleting messages", work)
        await self.comms.vault.erase()

    async def strike_room(self, room: str) -> None:
        """Destroy a room: its attachments, then its key with all that was encrypted to it."""
        for name in await self.files_of(room):
            await self.comms.vault.shred(name, _struck(attachments.c.id == name))

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(delete(rooms).where(rooms.c.name == room))

        await self.comms.database.run(f"destroying the room {room}", work)
        self._keys.pop(room, None)
        await self.comms.vault.erase()

    async def totals(self) -> dict[str, int]:
        """How much there is."""
        held = select(func.count()).select_from(rooms).where(rooms.c.hold.is_not(None))
        counts = [select(func.count()).select_from(table) for table in (rooms, messages, attachments)]
        row = (await self.comms.database.fetch(select(*(one.scalar_subquery() for one in (*counts, held)))))[0]
        return {"rooms": row[0], "messages": row[1], "attachments": row[2], "held": row[3]}


def _theirs() -> ColumnElement[bool]:
    """Messages that a member has: of their room, while they are or were in it."""
    number, until = messages.c.number, members.c.until
    return and_(messages.c.room == members.c.room, number > members.c.since, or_(until.is_(None), number <= until))


def _for_phone() -> ColumnElement[bool]:
    """Messages of others that the member neither was handed on a phone nor has read elsewhere."""
    number = messages.c.number
    return and_(messages.c.sender != members.c.person, number > members.c.phoned, number > members.c.read)


def _same(room: str, draft: Draft) -> ColumnElement[bool]:
    return and_(messages.c.room == room, messages.c.sender == draft.sender, messages.c.token == draft.token)


def _within(span: Span) -> ColumnElement[bool]:
    return and_(messages.c.room == span.room, messages.c.number > span.after, messages.c.number < span.before)


def _selected(condition: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Rows of messages, each with its attachment's id and size."""
    columns = [*messages.c, attachments.c.id.label("file"), attachments.c.size]
    return select(*columns).outerjoin(attachments, attachments.c.message == messages.c.number).where(condition)


def _advance(person: str, room: str, mark: Mark, number: Any) -> Any:  # noqa: ANN401 - a number or a column; a statement
    column = members.c[mark]
    higher = case((column < number, number), else_=column)
    return update(members).where(members.c.room == room, members.c.person == person).values({column.name: higher})


async def _last(connection: AsyncConnection) -> int:
    """The number of the last message of all; 0 if there is none."""
    return int((await connection.execute(select(func.coalesce(func.max(messages.c.number), 0)))).scalar_one())


def _struck(file: ColumnElement[bool]) -> Any:  # noqa: ANN401 - an `Also`
    """Takes the message of an attachment out, in the transaction that destroys the attachment's key."""

    async def also(connection: AsyncConnection) -> None:
        of = select(attachments.c.message).where(file).scalar_subquery()
        await connection.execute(delete(messages).where(messages.c.number == of))

    return also
