"""kill -9 of the hub, between the store and what it says to the box: each entry is held once."""

from __future__ import annotations

import asyncio

import asyncssh

from tests.hub.peer import Link, Peer, entry, health
from tests.hub.running import Hub

KILLS = 3


async def upload(link: Link, number: int) -> None:
    """Send entries without an end, as fast as they are taken."""
    while True:
        await link.send(*(entry(n, health(n)) for n in range(number, number + 10)))
        number += 10
        await asyncio.sleep(0)


async def held(hub: Hub) -> int:
    return int((await hub.query("SELECT count(*) FROM entries"))[0][0])


async def test_each_entry_is_held_once_over_kills(peer: Peer, hub: Hub) -> None:
    told = 0  # all below it were accepted, as far as the box knows
    for kill in range(KILLS):
        try:
            async with peer.uplink() as (link, welcome):
                assert welcome["next"] >= told
                assert welcome["next"] == await held(hub)
                told = welcome["next"]  # what was stored and not said is said now
                sending = asyncio.create_task(upload(link, welcome["next"]))
                try:
                    seen = await held(hub)
                    while await held(hub) < seen + 20:  # noqa: ASYNC110 - the store has them; whether the box was told is open
                        await asyncio.sleep(0)
                    hub.kill()
                    while (answer := await link.next()) is not None:
                        assert answer["number"] == told, kill
                        told += 1
                finally:
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)  # it may have found the channel closed
        except (asyncssh.Error, OSError, EOFError):
            assert hub.process is None
        hub.start()
    await peer.read()
    found = await hub.query("SELECT number, why, body FROM entries ORDER BY number")
    assert [number for number, _, _ in found] == list(range(len(found)))
    assert all(why == "" and bytes(body) == health(number) for number, why, body in found)
    assert len(found) >= max(told, 20 * KILLS)
    async with peer.uplink() as (_, welcome):
        assert welcome["next"] == len(found)


async def test_a_hub_that_stops_says_so_and_forgets_who_was_connected(peer: Peer, hub: Hub) -> None:
    async with peer.uplink() as (link, _):
        assert hub.shown("boxes")[0]["connected"]
        assert await asyncio.to_thread(hub.stop) == 0
        assert (await link.until("bye"))["why"] == "restart"
    assert not hub.shown("boxes")[0]["connected"]
