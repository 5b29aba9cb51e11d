"""A hub with many idle boxes: memory that each takes, how fast they come in, what they cost while nothing happens.

`python -m bench.hub [--boxes 2000]`: one node on SQLite as a process of its own, the boxes in this one, all on loopback. Each box
signs in with a certificate of its own, opens its uplink, is greeted, and then keeps still. The node's memory is its resident set.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
from pathlib import Path

import uvloop

from bench.table import show
from lab.asterisk import cpu_seconds
from pbxd.hub import certificates, keys
from pbxd.hub.boxes import SECOND
from pbxd.hub.database import Database, now, run
from tests.hub.peer import Link, Peer
from tests.hub.running import Hub, Template

FILES = 20_000  # open files: each box is one at either end
TOGETHER = 32  # boxes that come in at once; a hub takes limits.signing_in of 64
IDLE = 30.0  # s over which an idle hub's processor time is taken
HELLO_SIZE = 10_000


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


async def provide(hub: Hub, count: int) -> list[Peer]:
    """Boxes as if each had enrolled: the bench is about their connections."""
    authority = keys.private_key(hub.folder / "keys" / "box_ca")
    at = now()
    peers = []
    database = Database(hub.database)
    async with database.writing("providing boxes") as connection:
        for number in range(1, count + 1):
            peer = Peer(hub)
            peer.id = f"{number:016x}"
            until = at + 86400 * SECOND
            times = (at // SECOND, until // SECOND)
            peer.certificate = certificates.for_box(authority, peer.public, peer.id, 1, times)
            verifier = peer.ledger.verifier
            sql = 'INSERT INTO ledgers (id, box, sha256, verifier, "next") VALUES (?, ?, ?, ?, 0)'
            await run(connection, sql, number, number, verifier.fingerprint, verifier.text)
            sql = (
                "INSERT INTO boxes (number, id, name, key, ledger, serial, until, enrolled, revoked_why, version)"
                " VALUES (?, ?, 'bench', ?, ?, 1, ?, ?, '', '')"
            )
            await run(connection, sql, number, peer.id, keys.line_of(peer.public), number, until, at)
            peers.append(peer)
    await database.close()
    return peers


async def hold(peer: Peer, turn: asyncio.Semaphore, inside: asyncio.Queue[Link], done: asyncio.Event) -> None:
    """One box: in, greeted, still."""
    await turn.acquire()
    async with peer.uplink(HELLO_SIZE) as (link, _):
        turn.release()
        await inside.put(link)
        await done.wait()


async def measure(hub: Hub, count: int) -> list[tuple[str, float]]:
    """Let them in and look at the node."""
    peers = await provide(hub, count)
    hub.start()
    assert hub.process is not None
    pid = hub.process.pid
    warm = asyncio.Event()
    turn, inside, done = asyncio.Semaphore(TOGETHER), asyncio.Queue[Link](), asyncio.Event()
    first = asyncio.create_task(
        hold(peers[0], turn, inside, warm)
    )  # what a first connection loads is not a box's memory
    await inside.get()
    before, spent, start = memory(pid), cpu_seconds(pid), time.monotonic()
    boxes = [asyncio.create_task(hold(peer, turn, inside, done)) for peer in peers[1:]]
    for _ in boxes:
        await inside.get()
    took, busy, after = time.monotonic() - start, cpu_seconds(pid) - spent, memory(pid)
    spent = cpu_seconds(pid)
    await asyncio.sleep(IDLE)
    idle, still = cpu_seconds(pid) - spent, memory(pid)
    warm.set()
    done.set()
    await asyncio.gather(first, *boxes, return_exceptions=True)
    many = count - 1
    return [
        ("boxes", float(count)),
        ("node alone, MB", before / 1e6),
        ("node with all, MB", after / 1e6),
        ("a box, kB", (after - before) / many / 1e3),
        ("a box after 30 s, kB", (still - before) / many / 1e3),
        ("boxes that came in, a second", many / took),
        ("node's CPU for one that comes in, ms", busy / many * 1e3),
        ("node's CPU while all are idle, share of a core", idle / IDLE),
    ]


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boxes", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, most), most))
    with tempfile.TemporaryDirectory(prefix="pbxd-bench-") as folder:
        Path(folder, "template").mkdir()
        hub = Hub(Path(folder, "hub"), Template(Path(folder, "template")))
        hub.config_file.write_text(hub.config_file.read_text().replace("level: debug", "level: warning"))
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                rows = runner.run(measure(hub, arguments.boxes))
        finally:
            hub.kill()
    show(f"{arguments.boxes} idle boxes on one node, SQLite", ["what", "figure"], rows, as_json=arguments.json)


if __name__ == "__main__":
    main()
