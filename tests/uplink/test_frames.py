"""Frames in any pieces; what is not of the protocol ends the connection, and is never guessed."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxd.errors import FrameError
from pbxd.uplink import frames, vocabulary
from pbxd.uplink.frames import DOWN, FRAMES, UP, Decoder, Frame, encode, frame

PAGE = Path(__file__).parent.parent.parent / "docs" / "uplink-protocol.md"
UUID = "0b5c2c5e-6a0b-4d9e-8a55-6f0e2d0f9a11"
ENTRY: dict[str, Any] = {
    "number": 3, "class_": "stats", "size": 5, "sha256": "ab" * 32, "offset": 0, "created": "2026-11-28T07:00:00Z",
}  # fmt: skip
STREAM = [
    frame("hello", protocol=1, version="0.1.0", ledger="0" * 64, size=7),
    frame("entry", b"bytes", **ENTRY),
    frame("skip", number=4, why="destroyed"),
    frame("checkpoint", b"a note\n"),
    frame("received", id=UUID),
]


@given(st.lists(st.integers(0, 600), max_size=12))
def test_any_split_gives_the_same_frames(places: list[int]) -> None:
    stream = b"".join(map(encode, STREAM))
    decoder, found = Decoder(UP), list[Frame]()
    for a, b in pairwise([0, *sorted(min(place, len(stream)) for place in places), len(stream)]):
        found += decoder.feed(stream[a:b])
    assert found == STREAM
    assert decoder.empty


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_any_bytes_raise_nothing_but_a_frame_error(chunks: list[bytes]) -> None:
    decoder = Decoder(UP)
    try:
        for chunk in chunks:
            list(decoder.feed(chunk))
    except FrameError:
        pass


def raw(header: bytes, body: bytes = b"") -> bytes:
    return frames.PREFIX.pack(len(header), len(body)) + header + body


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (raw(b"{}"), "type"),
        (raw(b"[]"), "object"),
        (raw(b'{"type":"exec","command":"id"}'), "exec"),
        (raw(b'{"type":"welcome","protocol":1}'), "may come here"),
        (raw(b'{"type":"skip","number":1}'), "why is missing"),
        (raw(b'{"type":"skip","number":1,"why":"destroyed","more":1}'), "'more' is no field"),
        (raw(b'{"type":"skip","number":-1,"why":"destroyed"}'), "number is not a whole number"),
        (raw(b'{"type":"skip","number":true,"why":"destroyed"}'), "number is not"),
        (raw(b'{"type":"skip","number":1,"number":1,"why":"destroyed"}'), "twice"),
        (raw(b'{"type":"skip","number":NaN,"why":"destroyed"}'), "NaN"),
        (raw(b'{"type":"skip","number":1,"why":"because"}'), "one of destroyed"),
        (raw(b'{"type":"skip","number":1,"why":"destroyed"}', b"x"), "no body"),
        (raw(b"\xff"), "no JSON"),
        (frames.PREFIX.pack(frames.LARGEST_HEADER + 1, 0), "longer"),
        (frames.PREFIX.pack(10, frames.LARGEST_BODY + 1), "longer"),
        (raw(b"[" * 60_000), "no JSON"),
    ],
)
def test_what_is_none_of_the_protocol_is_refused(data: bytes, said: str) -> None:
    decoder = Decoder(UP)
    with pytest.raises(FrameError, match=re.escape(said)):
        list(decoder.feed(data))
    with pytest.raises(FrameError, match="earlier"):
        list(decoder.feed(encode(STREAM[0])))


def test_a_piece_stays_within_its_entry() -> None:
    with pytest.raises(FrameError, match="over its size"):
        encode(frame("entry", b"123456", **ENTRY))


def test_frames_before_a_fault_are_given() -> None:
    found = Decoder(UP).feed(encode(STREAM[0]) + raw(b"{}"))
    assert next(found).type == "hello"
    with pytest.raises(FrameError):
        next(found)


def test_the_page_has_these_frames_and_no_others() -> None:
    text = PAGE.read_text().partition("### Messages down")[0]
    rows = re.findall(r"^\| (box|hub) \| `([a-z]+)` \|([^\n]*)\|$", text, re.MULTILINE)
    assert {name for _, name, _ in rows} == set(FRAMES)
    for end, name, fields in rows:
        assert name in ({**UP, **frames.ENROL_UP} if end == "box" else {**DOWN, **frames.ENROL_DOWN})
        assert all(f"`{field}`" in fields for field in FRAMES[name]), name


def message(kind: str, **fields: Any) -> dict[str, Any]:
    times = {"issued": "2026-11-28T07:00:00Z", "expires": "2026-11-29T07:00:00Z"}
    return {"id": UUID, "box": "0123456789abcdef", "kind": kind, **times, **fields}


GOOD = [
    message("propose-config", changes=[{"path": "site.name", "value": "x"}], reason="because", by="anna"),
    message("notice", title="News", text="of the\nday", topic="security"),
    message("offer-update", version="0.2.0", summary="better", sha256="ab" * 32),
    message("checkpoint", size=0, root="47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
]


@pytest.mark.parametrize("one", GOOD, ids=lambda one: str(one["kind"]))
def test_a_message_there_and_back(one: dict[str, Any]) -> None:
    assert vocabulary.message_of(vocabulary.message_text(one)) == one


@pytest.mark.parametrize(
    "one",
    [
        message("exec", command="id"),
        message("notice", title="News", text="x", topic="advertisement"),
        message("notice", title="News", text="\x1b[2J", topic="product"),
        message("notice", title="News", text="\ud800", topic="product"),
        message("notice", title="News", text="x", topic="product", run="id"),
        message("propose-config", changes=[], reason="r", by="b"),
        message("propose-config", changes=[{"path": "../etc", "value": 1}], reason="r", by="b"),
        message("propose-config", changes=[{"path": "a", "value": {"b": 1}}], reason="r", by="b"),
        message("checkpoint", size=1, root="AAAA"),
        {**GOOD[1], "box": "other"},
        {**GOOD[1], "id": "1"},
        {**GOOD[1], "expires": "tomorrow"},
        {**GOOD[1], "expires": "2026-13-29T07:00:00Z"},
    ],
)
def test_no_other_message(one: dict[str, Any]) -> None:
    with pytest.raises(FrameError):
        vocabulary.message_text(one)


def test_the_page_has_these_kinds_of_messages() -> None:
    text = PAGE.read_text().partition("### Messages down")[2].partition("An unknown kind")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)) == set(vocabulary.MESSAGES)
