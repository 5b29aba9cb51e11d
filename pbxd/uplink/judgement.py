"""What a message from the vendor is worth: signed by the key of the enrolment, for this box, new, and of now. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from pbxd.errors import FrameError, MessageRefused, NoteError
from pbxd.uplink.notes import Verifier, opened
from pbxd.uplink.vocabulary import message_of, time_of

SLACK = 300.0  # s that the vendor's clock may be before ours


def judge(note: bytes, key: Verifier, box: str, seen: Collection[str], now: float) -> dict[str, Any]:
    """The message in a note. MessageRefused with its own word for each thing that can be wrong."""
    try:
        text = opened(note, [key])
    except NoteError as error:
        raise MessageRefused("signature", f"it is not signed by the vendor's message key: {error}") from error
    try:
        message = message_of(text)
    except FrameError as error:
        raise MessageRefused("vocabulary", f"it says what there is no word for: {error}") from error
    issued, expires = (time_of(message[name]).timestamp() for name in ("issued", "expires"))
    if message["box"] != box:
        raise MessageRefused("box", f"it is for the box {message['box']}, and this is {box}")
    if message["id"] in seen:
        raise MessageRefused("seen", f"the message {message['id']} was here before")
    if now < issued - SLACK:
        raise MessageRefused("not-yet-issued", f"it was issued at {message['issued']}, and it is {_text(now)} here")
    if now >= expires:
        raise MessageRefused("expired", f"it expired at {message['expires']}, and it is {_text(now)} here")
    return message


def _text(now: float) -> str:
    return f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}"
