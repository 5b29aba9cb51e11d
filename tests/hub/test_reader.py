"""Reading behind the upload: by a process beside the node, which may be killed, or by whoever asks first; each entry once."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from pbxd.hub import reading
from pbxd.stats.layout import CALLS, QUARTERS
from pbxd.uplink.bodies import body_of
from tests.hub.peer import Peer, config, entry, health
from tests.hub.running import Hub

COUNT = 300


def stats(slot: int) -> bytes:
    """A quarter of an hour with one row."""
    row = [0, "", *[slot] * len(CALLS.sums), 0, 0, ""]
    return body_of(
        "stats", {"slot": slot, "levels": [], "tables": {"rollup_calls": [row], "rollup_queues": [], "rollup_quality": []}}
    )  # fmt: skip


def children(pid: int) -> list[int]:
    """The processes that a process has started, the readers among them."""
    found = (Path(f"/proc/{pid}/task/{pid}/children")).read_text().split()
    return [int(one) for one in found if b"pbxd.hub.reader" in Path(f"/proc/{one}/cmdline").read_bytes()]


async def unread(hub: Hub) -> int:
    return int((await hub.query("SELECT count(*) FROM entries WHERE why = 'unread'"))[0][0])


async def test_a_reader_that_is_killed_leaves_nothing_unread_and_nothing_twice(peer: Peer, hub: Hub) -> None:
    """At its start, and in the middle of its work."""
    assert hub.process is not None
    async with asyncio.timeout(120):
        async with peer.uplink() as (link, _):
            for start in range(0, COUNT, 50):
                await link.send(*(entry(n, stats(1000 + n), "stats") for n in range(start, start + 50)))
                while (await link.until("accepted"))["number"] < start + 49:
                    pass
        for enough in (COUNT, COUNT // 2):
            while not (running := children(hub.process.pid)) or await unread(hub) > enough:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
            for one in running:
                os.kill(one, signal.SIGKILL)
        while await unread(hub):  # noqa: ASYNC110 - another process reads
            await asyncio.sleep(0.05)
    sql = "SELECT slot, calls FROM rollup_calls WHERE span = ? AND kind = 0 ORDER BY slot"
    assert await hub.query(sql, QUARTERS) == [(1000 + n, 1000 + n) for n in range(COUNT)]
    assert await hub.query("SELECT DISTINCT why FROM entries") == [("",)]
    assert await hub.query("SELECT 1 FROM parts") == []


async def test_two_who_read_at_once_read_each_entry_once(box: Peer) -> None:
    async with box.uplink() as (link, _):
        await link.send(*(entry(n, health(n)) for n in range(40)), entry(40, config(), "config"))
        while (await link.until("accepted"))["number"] < 40:
            pass
    row = await box.hub.box(box.id)
    counts = await asyncio.gather(
        *(box.hub.ask(lambda database: reading.read_all(database, row.number)) for _ in range(3))
    )
    assert sum(counts) <= 41  # the node's own reader may have been first with some
    assert await unread(box.hub) == 0
    assert len(await box.hub.query("SELECT 1 FROM entries WHERE why = ''")) == 41


async def test_what_a_killed_hub_left_unread_is_read_by_the_next(peer: Peer, hub: Hub) -> None:
    async with peer.uplink() as (link, _):
        await link.send(*(entry(n, health(n)) for n in range(20)))
        while (await link.until("accepted"))["number"] < 19:
            pass
    hub.kill()
    left = await unread(hub)
    hub.start()
    async with asyncio.timeout(60):
        while await unread(hub):  # noqa: ASYNC110 - another process reads
            await asyncio.sleep(0.05)
    assert left <= 20
    assert len(await hub.query("SELECT 1 FROM entries WHERE why = ''")) == 20
