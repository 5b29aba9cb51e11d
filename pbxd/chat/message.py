"""A message, its attachment, and how both are written down."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

Via = Literal["phone", "control", "web"]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that came with a message."""

    id: str  # of the object in the vault
    name: str
    type: str  # as the sender says: media/type
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Message:
    """One message, in the clear."""

    number: int  # later messages have greater ones, over all rooms
    room: str
    at: int  # µs
    sender: str
    via: Via
    text: str
    attachment: Attachment | None = None
    fault: str = ""  # why it cannot be read, if it is damaged

    def as_json(self) -> dict[str, Any]:
        """For people and programs."""
        file = self.attachment
        return {
            "number": self.number, "room": self.room, "at": self.at, "sender": self.sender, "via": self.via,
            "text": self.text, "attachment": None if file is None else
            {"id": file.id, "name": file.name, "type": file.type, "size": file.size},
            **({"fault": self.fault} if self.fault else {}),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that has not been taken yet."""

    sender: str
    via: Via
    text: str
    token: str = ""  # empty is none
    attachment: Attachment | None = None

    def body(self) -> bytes:
        """What is encrypted of it."""
        content: dict[str, str] = {"text": self.text}
        if self.attachment is not None:
            content |= {"name": self.attachment.name, "type": self.attachment.type}
        return json.dumps(content, ensure_ascii=False).encode()


def opened(row: Any, body: bytes) -> Message:  # noqa: ANN401 - a row of messages, with its attachment's `file` and `size`
    """The message of a row whose body was decrypted."""
    content = json.loads(body)
    file = None
    if row.file is not None:
        file = Attachment(row.file, content.get("name", ""), content.get("type", ""), row.size)
    return Message(row.number, row.room, row.at, row.sender, row.via, content["text"], file)
