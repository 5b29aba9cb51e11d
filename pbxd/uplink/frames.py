"""The uplink's frames (docs/uplink-protocol.md): bytes to frames and back, without I/O. Both ends read them here.

    header length (32 bit, big endian) · body length (the same) · header (JSON object with `type`) · body

A peer that sends anything else has ended the connection: nothing is guessed, nothing is skipped.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pbxd.errors import FrameError
from pbxd.uplink.vocabulary import (
    BYE_WHYS,
    ENROL_WHYS,
    REJECT_WHYS,
    SKIP_WHYS,
    Check,
    box,
    check_fields,
    entry_class,
    hash64,
    identity,
    line,
    moment,
    one_of,
    parsed,
    protocol,
    text,
    whole,
)

LARGEST_HEADER = 64 * 1024  # bytes
LARGEST_BODY = 256 * 1024  # bytes of a frame; an entry's body goes up in pieces
PREFIX = struct.Struct(">II")

ENROL_UP: Mapping[str, Mapping[str, Check]] = {
    "enrol": {"protocol": protocol, "key": line, "ledger": line, "name": line},
}
ENROL_DOWN: Mapping[str, Mapping[str, Check]] = {
    "enrolled": {"box": box, "certificate": text, "until": moment, "support_ca": line, "message_key": line},
    "refused": {"why": one_of(ENROL_WHYS), "detail": line},
}
UP: Mapping[str, Mapping[str, Check]] = {
    "hello": {"protocol": protocol, "version": line, "ledger": hash64, "size": whole},
    "entry": {
        "number": whole, "class": entry_class, "size": whole, "sha256": hash64, "offset": whole, "created": moment,
    },
    "skip": {"number": whole, "why": one_of(SKIP_WHYS)},
    "checkpoint": {},
    "received": {"id": identity},
    "noted": {"number": whole},
}  # fmt: skip
DOWN: Mapping[str, Mapping[str, Check]] = {
    "welcome": {"protocol": protocol, "time": moment, "next": whole, "have": whole},
    "accepted": {"number": whole},
    "rejected": {"number": whole, "why": one_of(REJECT_WHYS)},
    "message": {"id": identity},
    "renewed": {"certificate": text, "until": moment},
    "bye": {"why": one_of(BYE_WHYS)},
}
FRAMES: Mapping[str, Mapping[str, Check]] = {**ENROL_UP, **ENROL_DOWN, **UP, **DOWN}
WITH_BODY = frozenset({"entry", "checkpoint", "message"})  # all others have none


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its type, the other fields of its header, its body."""

    type: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    body: bytes = b""

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - a field of any kind
        return self.fields[name]


def frame(kind: str, body: bytes = b"", /, **fields: Any) -> Frame:  # noqa: ANN401 - fields of any kind
    """A frame from its fields; `class` is written `class_`."""
    return Frame(kind, {name.rstrip("_"): value for name, value in fields.items()}, body)


def encode(one: Frame) -> bytes:
    """A frame as bytes. FrameError if it is none of the protocol: then the mistake is ours."""
    check(one)
    header = json.dumps({"type": one.type, **one.fields}, ensure_ascii=False, separators=(",", ":")).encode()
    if len(header) > LARGEST_HEADER:
        raise FrameError(f"{one.type}: a header of {len(header)} bytes; {LARGEST_HEADER} may be")
    return PREFIX.pack(len(header), len(one.body)) + header + one.body


def check(one: Frame) -> None:
    """A frame has exactly the fields of its type, and a body only where there is one. FrameError says what does not hold."""
    wanted = FRAMES.get(one.type)
    if wanted is None:
        raise FrameError(f"the frame {one.type[:40]!r} is none of the protocol")
    check_fields(wanted, dict(one.fields), one.type)
    if len(one.body) > LARGEST_BODY:
        raise FrameError(f"{one.type}: a body of {len(one.body)} bytes; {LARGEST_BODY} may be")
    if one.body and one.type not in WITH_BODY:
        raise FrameError(f"{one.type}: it has no body, and {len(one.body)} bytes came")
    if one.type == "entry" and one["offset"] + len(one.body) > one["size"]:
        raise FrameError("entry: its piece goes over its size")


class Decoder:
    """Takes bytes in any pieces, gives frames. After a FrameError it takes no more."""

    def __init__(self, expected: Collection[str]) -> None:
        self.expected = frozenset(expected)  # types that the other end may send
        self._buffer = bytearray()
        self._broken = False

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now. FrameError at the first that is none; those before it have been given."""
        if self._broken:
            raise FrameError("the connection had ended with an earlier fault")
        self._buffer += data
        try:
            while (one := self._next()) is not None:
                yield one
        except FrameError:
            self._broken = True
            raise

    @property
    def empty(self) -> bool:
        """Whether no part of a frame is waiting for its rest."""
        return not self._buffer

    def _next(self) -> Frame | None:
        if len(self._buffer) < PREFIX.size:
            return None
        header_length, body_length = PREFIX.unpack_from(self._buffer)
        if header_length > LARGEST_HEADER or body_length > LARGEST_BODY:
            raise FrameError(f"a frame of {header_length} and {body_length} bytes is longer than one may be")
        start, end = PREFIX.size + header_length, PREFIX.size + header_length + body_length
        if len(self._buffer) < end:
            return None
        with memoryview(self._buffer) as view:  # so that each is copied once
            raw, body = bytes(view[PREFIX.size : start]), bytes(view[start:end])
        header = parsed(raw, "frame")
        if not isinstance(header, dict) or not isinstance(header.get("type"), str):
            raise FrameError("a header is an object with a type")
        kind = header.pop("type")
        if kind not in self.expected:
            raise FrameError(f"the frame {kind[:40]!r} is not one that may come here")
        found = Frame(kind, header, body)
        check(found)
        del self._buffer[:end]
        return found
