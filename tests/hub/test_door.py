"""Storms at the door, peers that are slow or silent, and what the hub offers to speak."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from pbxd.hub import messages
from pbxd.hub.database import Database
from pbxd.hub.keys import message_key
from pbxd.hub.limits import ADDRESSES, Door
from pbxd.hub.messages import Letter
from pbxd.uplink.frames import frame
from tests.hub.conftest import NewHub, StartWithin
from tests.hub.peer import Peer, entry, health
from tests.hub.running import WIDE, Hub
from tests.hub.waiting import until


def test_the_door_counts() -> None:
    door = Door(connections=3, signing_in=2, rate=1.0, burst=10)
    assert [door.enter("a", 0.0) for _ in range(3)] == [True, True, False]
    door.signed_in()
    assert door.enter("b", 0.0)
    door.signed_in()
    assert not door.enter("b", 0.0)  # three are inside
    door.leave(signed_in=True)
    assert door.enter("b", 0.0)
    assert door.refused == {"connections": 1, "signing_in": 1, "rate": 0}
    door.leave(signed_in=False)
    assert (door.inside, door.at_the_door) == (2, 1)


def test_the_door_lets_each_address_in_at_its_rate() -> None:
    door = Door(connections=10**6, signing_in=10**6, rate=0.5, burst=4)
    assert [door.enter("a", 0.0) for _ in range(6)] == [True] * 4 + [False] * 2
    assert door.enter("b", 0.0)  # another has its own
    assert [door.enter("a", 2.0), door.enter("a", 2.0)] == [True, False]
    assert [door.enter("a", 1000.0) for _ in range(5)] == [True] * 4 + [False]
    for number in range(ADDRESSES):
        door.enter(f"address {number}", 1000.0)
    assert door.enter("a", 1000.0)  # forgotten: what is remembered has a bound


async def knock(hub: Hub) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(hub.address, hub.port)


@contextlib.asynccontextmanager
async def storm(hub: Hub, count: int) -> AsyncIterator[list[bytes]]:
    """Connections that say nothing; the first line that the hub says to each."""
    links = [await knock(hub) for _ in range(count)]
    try:
        yield [await reader.readline() for reader, _ in links]
    finally:
        for _, writer in links:
            writer.close()


async def test_a_storm_at_the_door_hurts_nobody_who_is_in(new_hub: NewHub, within: StartWithin) -> None:
    hub = new_hub(more="limits: {rate: 1000, burst: 1000, signing_in: 8, sign_in: 2s}\n")
    node = await within(hub)
    peer = Peer(hub)
    await peer.enrol()
    async with peer.uplink() as (link, _):
        async with storm(hub, 60) as said:
            assert sum(line.startswith(b"SSH-2.0-") for line in said) == 8
            assert sum(line == b"pbxd-why: busy\r\n" for line in said) == 52
            await link.send(entry(0, health(0)))
            assert (await link.until("accepted"))["number"] == 0
            await until(lambda: not node.door.at_the_door, "those who say nothing to be sent away")
        async with Peer(hub).connection("enrol", password=await hub.token()):
            pass
    assert node.door.refused["signing_in"] == 52


async def test_one_address_cannot_knock_without_end(new_hub: NewHub, within: StartWithin) -> None:
    hub = new_hub(more="limits: {rate: 0.001, burst: 5}\n")
    node = await within(hub)
    async with storm(hub, 12) as said:
        assert sum(line == b"pbxd-why: busy\r\n" for line in said) == 7
    assert node.door.refused["rate"] == 7


async def test_who_signs_in_and_says_nothing_is_sent_away(new_hub: NewHub, within: StartWithin) -> None:
    hub = new_hub(more="limits: {rate: 1000, burst: 1000, sign_in: 2s}\n")
    node = await within(hub)
    peer = Peer(hub)
    await peer.enrol()
    async with peer.channel() as link:
        assert await link.ended() == []
    async with peer.connection("box", **peer.signed()) as connection:  # and without a channel at all
        async with asyncio.timeout(60):
            await connection.wait_closed()
    assert node.counts["faults"] == 0


async def test_a_box_that_does_not_read_makes_nobody_wait(new_hub: NewHub, within: StartWithin) -> None:
    hub = new_hub()
    await within(hub)
    slow, other = Peer(hub), Peer(hub)
    await slow.enrol()
    await other.enrol()
    row, signer = await hub.box(slow.id), message_key(hub.folder / "keys")
    letter = Letter("notice", {"title": "long", "text": "x" * 20_000, "topic": "service"}, 3600.0)
    count = 200  # 4 MB: more than a window and the buffers of both ends take

    async def queue(database: Database) -> None:
        async with database.writing("a test") as connection:
            for _ in range(count):
                await messages.put(connection, signer, (row.number, row.id), letter)

    await hub.ask(queue)
    async with slow.channel() as link, other.uplink() as (good, _):
        link.process.channel.pause_reading()
        await link.send(slow.hello())
        await good.send(*(entry(n, health(n)) for n in range(50)))
        assert [(await good.until("accepted"))["number"] for _ in range(50)] == list(range(50))
        link.process.channel.resume_reading()
        found = {(await link.until("message"))["id"] for _ in range(count)}
        assert len(found) == count
        await link.send(*(frame("received", id=one) for one in found), entry(0, health(0)))
        assert (await link.until("accepted"))["number"] == 0


async def test_a_box_that_is_gone_without_a_word_is_noticed(new_hub: NewHub, within: StartWithin) -> None:
    """Nothing comes from it any more, nor does its end: its process is stopped."""
    hub = new_hub(more=WIDE + "keepalive: {interval: 200ms, count: 2}\n")
    node = await within(hub)
    peer = Peer(hub)
    await peer.enrol()
    async with peer.uplink() as (link, _):
        link.process.get_extra_info("connection")._transport.pause_reading()  # a box that hangs
        await until(lambda: not node.live, "the hub to notice")
    assert (await hub.box(peer.id)).session is None


async def test_ssh_audit_finds_nothing(new_hub: NewHub, within: StartWithin) -> None:
    hub = new_hub(more="")
    await within(hub)
    command = [str(Path(sys.executable).parent / "ssh-audit"), "-p", str(hub.port), hub.address]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout  # 2: warnings, 3: failures
    assert "mlkem768x25519-sha256" in done.stdout
