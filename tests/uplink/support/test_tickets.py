"""Tickets on the disk, and recordings."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pbxd.errors import RecordingStopped, SupportError
from pbxd.uplink.support.cast import Cast, measure
from pbxd.uplink.support.tickets import MARK, Tickets

NOW = 1_800_000_000.0


def test_a_ticket_is_over_when_its_mark_is_gone(tmp_path: Path) -> None:
    tickets = Tickets(tmp_path, lambda: NOW)
    made, again = (tickets.drawn("diagnose", "request", note, "root", 60.0) for note in ("a note", ""))
    tickets.make(made)
    assert tickets.find(made.id) == made
    assert made.state(NOW) == "open"
    assert made.state(NOW + 60) == "expired"
    (tmp_path / "tickets" / made.id / MARK).unlink()  # all that could be done on a full disk
    assert tickets.find(made.id).state(NOW) == "ended"
    tickets.make(again)
    assert tickets.end(again, "by root").state(NOW) == "ended"
    assert tickets.find(again.id).why == "by root"
    with pytest.raises(SupportError):
        tickets.recording("../..", 1)


def test_a_recording_is_asciicast_and_keeps_letters_whole(tmp_path: Path) -> None:
    path = tmp_path / "001.cast"
    cast = Cast(path, {"width": 80, "height": 24, "timestamp": 1})
    for piece in ("Zoë".encode()[:3], "Zoë".encode()[3:], b"\xff\r\n"):
        cast.shown(piece)
    cast.typed(b"x")
    cast.resized(100, 30)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == {"version": 2, "width": 80, "height": 24, "timestamp": 1}
    assert "".join(text for _, kind, text in lines[1:] if kind == "o") == "Zoë\ufffd\r\n"
    assert [(kind, text) for _, kind, text in lines[1:]][-2:] == [("i", "x"), ("r", "100x30")]
    assert measure(path) == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    cast.close()
    with pytest.raises(RecordingStopped):
        cast.shown(b"more")
    with pytest.raises(RecordingStopped):
        Cast(path, {})  # nothing is written over
    with pytest.raises(RecordingStopped):
        Cast(tmp_path / "none" / "001.cast", {})
