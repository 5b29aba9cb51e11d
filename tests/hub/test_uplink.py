"""What a box and the hub say to each other, on both kinds of store."""

from __future__ import annotations

from pbxd.uplink.frames import frame
from tests.hub.peer import Peer, entry, health


async def test_entries_are_held_once_and_in_their_order(box: Peer) -> None:
    async with box.uplink() as (link, welcome):
        assert (welcome["next"], welcome["have"]) == (0, 0)
        await link.send(
            *(entry(number, health(number)) for number in range(5)), frame("skip", number=5, why="destroyed")
        )
        assert [(await link.until("accepted"))["number"] for _ in range(5)] == list(range(5))
        await link.send(entry(3, health(3)))  # again
        assert (await link.until("accepted", "rejected")).type == "accepted"
    async with box.uplink() as (link, welcome):
        assert (welcome["next"], welcome["have"]) == (6, 0)
    found = await box.hub.query("SELECT number, why, body FROM entries ORDER BY number")
    assert [(number, why, None if body is None else bytes(body)) for number, why, body in found] == [
        *((number, "", health(number)) for number in range(5)), (5, "destroyed", None),
    ]  # fmt: skip
