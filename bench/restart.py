"""Boxes whose hub is killed and started again: how they come back.

    python -m bench.restart [--boxes 500] [--down 5] [--json]

One node on SQLite as a process of its own; in this process as many whole links (`pbxd.uplink.link`, with an outbox and a place
each) as boxes, with the settings that a box has by itself. They come in all at once, stay until their connections count as stable,
lose them all in one moment to a kill -9 of the hub, and come back by themselves. Needs root: each link is told of changes by
inotify, and a user has fewer of them by default.
Exit 1 if the tries in any window of 100 ms are more than a tenth of the boxes.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import resource
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import structlog
import uvloop

from bench.hub import FILES, provide
from bench.table import show
from pbxd.config.uplink import Uplink
from pbxd.uplink.enrolment import CERTIFICATE, IDENTITY, KEY, LinkSettings
from pbxd.uplink.link import Link
from pbxd.uplink.outbox import DOWN, ENABLED, LOCK, SETTINGS
from tests.hub.peer import Peer
from tests.hub.running import Hub, Template

WINDOW = 0.1  # s
TARGET = 0.1  # share of the boxes whose tries may fall into one window
INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
METRICS = 9465
BUCKET = 5  # s of a line of the table


@dataclass(slots=True)
class Seen:
    """What the links say in their logs, each with its time."""

    up: dict[int, float] = field(default_factory=dict)  # box -> when it came in
    tries: list[float] = field(default_factory=list)  # when each began

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A processor of structlog, the last of them."""
        at, box = time.monotonic(), int(event["box"])
        if event["event"] == "the link is up":
            self.up[box] = at
        elif event["event"] == "a try to connect":
            self.tries.append(at)
        elif event["event"] != "the link is down":
            raise RuntimeError(f"a link said: {dict(event)}")
        raise structlog.DropEvent


@contextmanager
def instances(count: int) -> Iterator[None]:
    """Let this user have so many instances of inotify, for now."""
    before = INSTANCES.read_text()
    INSTANCES.write_text(str(max(int(before), count + 128)))
    try:
        yield
    finally:
        INSTANCES.write_text(before)


def furnish(folder: Path, hub: Hub, peer: Peer) -> Link:
    """A link with an outbox that has nothing to send."""
    outbox, state = folder / "outbox", folder / "state"
    for made in (outbox / IDENTITY, outbox / DOWN, state):
        made.mkdir(parents=True)
    peer.key.write_private_key(outbox / KEY)
    (outbox / CERTIFICATE).write_text(peer.certificate)
    own = Uplink()
    settings = LinkSettings(
        f"{hub.address}:{hub.port}", (hub.host_key,), own.keepalive, own.keepalive_count, own.reconnect_first,
        own.reconnect_longest, None, peer.ledger.verifier.text, "0.1.0", "",
    )  # fmt: skip
    (outbox / SETTINGS).write_bytes(settings.encoded())
    for name in (LOCK, ENABLED):
        (outbox / name).touch()
    return Link(outbox, state)


async def run(number: int, link: Link) -> None:
    """One link, which says in its log which it is."""
    structlog.contextvars.bind_contextvars(box=number)
    await link.run()


async def all_up(seen: Seen, count: int, tasks: list[asyncio.Task[None]]) -> None:
    """Wait until all are in."""
    while len(seen.up) < count:
        await asyncio.sleep(WINDOW)
        for task in tasks:
            if task.done():
                task.result()


def turned_away(hub: Hub) -> int:
    """Connections that the running node has sent away because too many were signing in."""
    with urllib.request.urlopen(f"http://{hub.address}:{METRICS}/metrics") as page:
        found = re.search(r'pbxhub_turned_away_total\{limit="signing_in"\} ([0-9.]+)', page.read().decode())
    assert found is not None
    return int(float(found[1]))


def fullest(times: list[float]) -> int:
    """Most of these times in any window, wherever it begins."""
    times, most, behind = sorted(times), 0, 0
    for ahead, at in enumerate(times):
        while times[behind] < at - WINDOW:
            behind += 1
        most = max(most, ahead - behind + 1)
    return most


@dataclass(frozen=True, slots=True)
class Comeback:
    """How they came back; times are seconds after the kill."""

    boxes: int
    listens: float  # when the hub was there again
    tries: list[float]  # when each began
    came: list[float]  # when each was in
    away: int  # turned away at the door
    cold: tuple[float, int]  # the same when all begin at one moment: s until all were in, turned away

    def histogram(self) -> list[tuple[str, int, int, int]]:
        """Per time: tries while the hub was down, tries after that, boxes that came in."""
        lines = Counter((int(at // BUCKET), 0 if at < self.listens else 1) for at in self.tries)
        lines.update((int(at // BUCKET), 2) for at in self.came)
        last = max(bucket for bucket, _ in lines)
        return [
            (f"{n * BUCKET} to {(n + 1) * BUCKET} s", lines[n, 0], lines[n, 1], lines[n, 2]) for n in range(last + 1)
        ]

    @property
    def most(self) -> int:
        """Tries in the fullest window."""
        return fullest(self.tries)

    def facts(self) -> list[tuple[str, float]]:
        """The figures."""
        after = sorted(at - self.listens for at in self.came)
        return [
            ("boxes", float(self.boxes)),
            ("s from the kill until the hub listened again", self.listens),
            ("tries for one that came in", len(self.tries) / self.boxes),
            ("sent away, `busy`", float(self.away)),
            ("s from then until half were in", after[len(after) // 2]),
            ("s until nine of ten were in", after[len(after) * 9 // 10]),
            ("s until all were in", after[-1]),
            ("tries in the fullest 100 ms", float(self.most)),
            ("of the boxes, %", 100 * self.most / self.boxes),
            ("all at one moment: s until all were in", self.cold[0]),
            ("all at one moment: sent away, `busy`", float(self.cold[1])),
        ]


async def measure(hub: Hub, folder: Path, count: int, down: float) -> Comeback:
    """Let them in, kill the hub, start it again, wait until all are back."""
    seen = Seen()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, seen], cache_logger_on_first_use=False)
    asyncssh.set_log_level("ERROR")
    links = [furnish(folder / str(n), hub, peer) for n, peer in enumerate(await provide(hub, count))]
    await asyncio.to_thread(hub.start)
    began = time.monotonic()
    tasks = [asyncio.create_task(run(number, link)) for number, link in enumerate(links)]
    await all_up(seen, count, tasks)
    cold = time.monotonic() - began, turned_away(hub)
    own = Uplink()
    await asyncio.sleep(own.keepalive * (own.keepalive_count + 1) + 1)
    seen.up.clear()
    seen.tries.clear()
    killed = time.monotonic()
    hub.kill()
    await asyncio.sleep(down)
    await asyncio.to_thread(hub.start)
    listens = time.monotonic()
    await all_up(seen, count, tasks)
    away = turned_away(hub)
    for link in links:
        (link.outbox.folder / ENABLED).unlink()
    await asyncio.gather(*tasks)
    tries, came = ([at - killed for at in times] for times in (seen.tries, seen.up.values()))
    return Comeback(count, listens - killed, tries, came, away, cold)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boxes", type=int, default=500)
    parser.add_argument("--down", type=float, default=5.0, help="seconds without a hub")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, most), most))
    with tempfile.TemporaryDirectory(prefix="pbxd-bench-") as name, instances(arguments.boxes):
        folder = Path(name)
        (folder / "template").mkdir()
        hub = Hub(folder / "hub", Template(folder / "template"))
        hub.config_file.write_text(hub.config_file.read_text().replace("level: debug", "level: warning"))
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                found = runner.run(measure(hub, folder, arguments.boxes, arguments.down))
        finally:
            hub.kill()
    title = f"{found.boxes} boxes whose hub was killed and started again"
    head = ("after the kill", "tries, hub down", "tries, hub up", "came in")
    show(title, head, found.histogram(), as_json=arguments.json)
    show(title, ("what", "figure"), found.facts(), as_json=arguments.json)
    return 0 if found.most <= TARGET * found.boxes else 1


if __name__ == "__main__":
    sys.exit(main())
