"""Chat's tables. What people wrote is encrypted to the key of its room, which the store's key wraps."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, LargeBinary, String, Table, UniqueConstraint

from pbxd.comms.schema import Part, metadata

rooms = Table(
    "chat_rooms",
    metadata,
    Column("name", String, primary_key=True),
    Column("kind", String, nullable=False),  # direct | group
    Column("made", Integer, nullable=False),  # µs
    Column("hold", String),  # why nothing of it may be deleted; NULL is no hold
    Column("wrapped", LargeBinary, nullable=False),  # the room's own age identity, sealed with the store's key
)

members = Table(  # what a person has of a room: the messages after `since` up to `until`
    "chat_members",
    metadata,
    Column("room", String, ForeignKey("chat_rooms.name", ondelete="CASCADE"), primary_key=True),
    Column("person", String, primary_key=True),
    Column("since", Integer, nullable=False),  # number of the last message from before they came
    Column("until", Integer),  # number of the last message before they left; NULL while they are in it
    Column("delivered", Integer, nullable=False),  # number of the last message that reached them, by whichever way
    Column("read", Integer, nullable=False),  # … that they read
    Column("phoned", Integer, nullable=False),  # … that was handed to one of their phones
    Index("chat_members_by_person", "person"),
)

messages = Table(
    "chat_messages",
    metadata,
    Column(
        "number", Integer, primary_key=True
    ),  # over all rooms, in the order in which they were taken; never used again
    Column("room", String, ForeignKey("chat_rooms.name", ondelete="CASCADE"), nullable=False),
    Column("at", Integer, nullable=False),  # µs
    Column("sender", String, nullable=False),
    Column("via", String, nullable=False),  # phone | control | web
    Column("token", String),  # of the sender's choice: a message that is sent again with it is the same message
    Column(
        "body", LargeBinary, nullable=False
    ),  # JSON, age to the room's key: text, and name and type of an attachment
    UniqueConstraint("room", "sender", "token"),
    Index("chat_messages_by_room", "room", "number"),
    Index("chat_messages_by_time", "at"),
    sqlite_autoincrement=True,
)

attachments = Table(
    "chat_attachments",
    metadata,
    Column("id", String, primary_key=True),  # of the object in the vault
    Column("message", Integer, ForeignKey("chat_messages.number", ondelete="CASCADE"), nullable=False, unique=True),
    Column("size", Integer, nullable=False),  # bytes, in the clear
)

ATTACHMENT = (
    "chat-"  # ids of attachments begin with it; one without its row was not taken, and its sender was not told so
)
CHAT = Part("chat", (rooms, members, messages, attachments), sealed=(rooms.c.wrapped,), remade=ATTACHMENT)
