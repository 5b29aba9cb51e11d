"""The keys of `chat`: rooms, phones, how much and how long."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo

from pbxd.config.part import Part, at_start
from pbxd.config.people import NAME, PersonEntry
from pbxd.config.values import Duration, Extension, Size

RoomName = Annotated[str, Field(pattern=NAME)]


class ChatRoom(Part):
    """One group room."""

    title: str = Field("", description="The name that people see; empty is the room's own.")
    number: Extension | None = Field(None, description="Number that a phone writes to; the room's name works too.")
    members: tuple[str, ...] = Field((), description="Names of people who are in it.")
    teams: tuple[str, ...] = Field((), description="Teams all of whose people are in it.")


class Chat(Part):
    """Direct and group chats between people, on phones and on the web page."""

    enabled: bool = at_start(
        default=False, text="Let people write to each other: see docs/chat.md. Without it nothing is kept."
    )
    rooms: dict[RoomName, ChatRoom] = Field(
        default_factory=dict,
        description="Group rooms by name: {sales: {title: Sales, number: '701', members: [anna], teams: [sales]}}.",
    )
    keep: Duration | None = Field(None, description="Messages are deleted after this time; empty is never.")
    longest: Size = Field(16 * 1024, description="Longest message, in bytes of UTF-8.", ge=1, le=256 * 1024)
    attachment: Size = Field(10 * 1024**2, description="Largest attachment.", le=1024**3)
    phones: bool = Field(default=True, description="Send messages to people's phones too, by SIP MESSAGE.")
    mute: tuple[Extension, ...] = Field((), description="Extensions whose phones cannot show messages, and get none.")


def check_rooms(chat: Chat, info: ValidationInfo) -> Chat:
    """Rooms hold people that there are, and what a phone writes to means one thing. ValueError if not."""
    people: tuple[PersonEntry, ...] = info.data.get("people", ())
    names = {person.name for person in people}
    taken = {number: f"the extension of {person.name}" for person in people for number in person.extensions}
    for name, room in chat.rooms.items():
        if unknown := sorted(set(room.members) - names):
            raise ValueError(f"the room {name} has the member {unknown[0]}, whom `people` does not name")
        if name in names or name == "root":
            raise ValueError(f"the room {name} has the name of a person")
        for address in filter(None, (name, room.number)):
            if address in taken:
                raise ValueError(f"the room {name} has the number {address}, which is {taken[address]}")
            taken[address] = f"the room {name}"
    return chat
