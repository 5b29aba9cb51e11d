"""What becomes of the frames of uploads, whatever they are cut into: pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxd.errors import FrameError
from pbxd.hub.intake import UNREAD, Batch, Held, Intake
from pbxd.uplink.bodies import LARGEST
from pbxd.uplink.frames import Frame, frame
from tests.hub.peer import entry, pieces

bodies = st.lists(st.one_of(st.none(), st.binary(min_size=1, max_size=40)), min_size=1, max_size=8)  # None: skipped


class Store:
    """What batches add up to, as the tables would have it."""

    def __init__(self) -> None:
        self.parts: dict[int, dict[int, bytes]] = {}
        self.entries: dict[int, Held] = {}

    def put(self, batch: Batch) -> None:
        for number in batch.dropped:
            self.parts.pop(number, None)
        for piece in batch.pieces:
            kept = self.parts.setdefault(piece.number, {})
            assert piece.offset not in kept
            kept[piece.offset] = piece.body
        for one in batch.entries:
            assert one.number not in self.entries
            self.entries[one.number] = one

    def body(self, number: int) -> bytes | None:
        one = self.entries[number]
        if one.why != UNREAD:
            return None
        return one.body if one.body is not None else self.joined(number)

    def joined(self, number: int) -> bytes:
        return b"".join(piece for _, piece in sorted(self.parts.get(number, {}).items()))


def frames(sent: list[bytes | None], length: int) -> Iterator[Frame]:
    for number, body in enumerate(sent):
        if body is None:
            yield frame("skip", number=number, why="destroyed")
        else:
            yield from pieces(number, body, length)


@given(bodies, st.integers(1, 50), st.data())
def test_whatever_it_is_cut_into_and_wherever_a_connection_ends_each_is_held_once(
    sent: list[bytes | None], length: int, data: st.DataObject
) -> None:
    store, intake = Store(), Intake(0)
    waiting = list(frames(sent, length))
    while waiting:
        count = data.draw(st.integers(1, len(waiting)))
        batch, waiting = intake.take(waiting[:count]), waiting[count:]
        store.put(batch)
        assert [(one.type, one["number"]) for one in batch.answers] == [
            ("accepted", one.number) for one in batch.entries if one.class_
        ]
        if data.draw(st.booleans()):  # cut: another connection goes on from what is held
            number, held = intake.next, [piece for _, piece in sorted(store.parts.get(intake.next, {}).items())]
            body = sent[number] if number < len(sent) else None
            intake = Intake(number, held, hashlib.sha256(body).hexdigest() if body is not None and held else "")
            assert intake.have == sum(map(len, held))
    assert {number: store.body(number) for number in store.entries} == dict(enumerate(sent))
    assert all(store.entries[number].why == "destroyed" for number, body in enumerate(sent) if body is None)


def test_what_was_begun_in_pieces_and_comes_otherwise_leaves_no_piece() -> None:
    body = bytes(range(100))
    begun = pieces(0, body, 30)[:2]
    anew = [
        ([entry(0, body)], UNREAD),  # whole
        (pieces(0, body, 70), UNREAD),  # in other pieces
        ([frame("skip", number=0, why="destroyed")], "destroyed"),
        ([Frame("entry", {**entry(0, body).fields, "size": LARGEST + 1}, body)], "size"),
    ]
    for rest, why in anew:
        for together in (True, False):
            store, intake = Store(), Intake(0)
            for some in [[*begun, *rest]] if together else [begun, rest]:
                store.put(intake.take(some))
            assert store.entries[0].why == why
            assert store.body(0) == (body if why == UNREAD else None)
            assert store.joined(0) in (b"", body)
            assert intake.next == 1


def test_a_body_that_does_not_fit_to_its_hash_is_turned_away_with_its_pieces() -> None:
    store, intake = Store(), Intake(7)
    wrong = [Frame("entry", {**one.fields, "sha256": "0" * 64}, one.body) for one in pieces(7, b"x" * 100, 30)]
    batch = intake.take(wrong)
    store.put(batch)
    assert [(one.type, one["number"], one["why"]) for one in batch.answers] == [("rejected", 7, "sha256")]
    assert (store.entries[7].why, store.parts) == ("sha256", {})


@pytest.mark.parametrize(
    "broken",
    [
        [entry(1, b"x")],  # a number that is too high
        pieces(0, b"x" * 100, 30)[1:],  # a piece whose beginning never came
        [pieces(0, b"x" * 100, 30)[0], pieces(0, b"x" * 100, 30)[2]],  # one is missing
        [pieces(0, b"x" * 100, 30)[0], pieces(0, b"y" * 100, 30)[1]],  # of another body
        [Frame("entry", {**entry(0, b"x").fields, "size": 2}, b"")],  # an empty one
    ],
)
def test_what_breaks_the_order_ends_it(broken: list[Frame]) -> None:
    with pytest.raises(FrameError):
        Intake(0).take(broken)
