"""What the uplink carries, beside `ssh` that pipes the same bytes, on loopback, with the same cipher, in one run.

    python -m bench.uplink [--entries N] [--large N] [--json]

Ours is everything up to the word `accepted`: the real link reads the ledger and notes each intent, the real hub compares every
body with its hash, stores it, syncs, and the link notes that it was accepted. Behind that, and in part beside it, the hub's reader
checks every body against its schema and makes rollups of it; until when is a line of its own. The peer is OpenSSH, piping into
`cat > FILE && sync FILE` at the other end of a connection that is up already, as ours is. Two loads: a backlog of two
weeks of real quarters of an hour, and bodies of the largest size that an entry may have. Between the two stands asyncssh, the
library of both our ends, as a bare pipe.
Exit 1 below 0.6 of `ssh` with the largest bodies. Needs root, for the link runs as a user of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncssh
import uvloop

from bench.reports import SECOND, fill
from bench.table import show
from lab.asterisk import cpu_seconds, wait_until
from lab.tree import environment
from pbxd.stats.layout import CALLS, DAY, EXTENSION, QUALITY, QUEUES, SLOT, Layout
from pbxd.stats.layout import EACH as EACH_QUEUE
from pbxd.stats.outgoing import next_quarter
from pbxd.stats.queries import Queries
from pbxd.stats.rollup import roll_up
from pbxd.stats.writer import Writer
from pbxd.uplink import gate
from pbxd.uplink.bodies import LARGEST, MOST_ROWS, Entry, body_of
from pbxd.uplink.results import FILE
from pbxd.uplink.vocabulary import CIPHERS
from tests.hub.running import Hub, Template, own_address
from tests.uplink.boxes import BoxEnd

TARGET = 0.6
SSHD = "/usr/sbin/sshd"
WEEKS = 14 * DAY  # slots of two weeks
CALLS_A_MONTH = 30_000  # of an office with 200 extensions, 4 trunks and 10 queues
APART = 100  # files that ssh makes one by one, for comparison
LOOK = 0.002  # s between two looks at what the link has noted
LOOK_AGAIN = 0.05  # s between two looks at what the hub has read
UNREAD = "SELECT 1 FROM entries WHERE why = 'unread' LIMIT 1"
PIECE = 256 * 1024  # bytes that the bare pipe hands over at a time


@dataclass(frozen=True, slots=True)
class Load:
    """Entries that go up together."""

    name: str
    entries: Sequence[Entry]

    @property
    def bytes(self) -> int:
        """Of all bodies."""
        return sum(len(entry.body) for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a transfer took: wall time, and processor time of its two ends, in s."""

    wall: float
    near: float = 0.0
    far: float = 0.0


async def backlog(folder: Path, most: int) -> Load:
    """The quarters of two weeks, made as a box makes them: from calls by way of its rollups and the gate."""
    url = f"sqlite+aiosqlite:///{folder}/stats.db"
    writer, queries = await Writer.open(url), Queries(url)
    await fill(writer, CALLS_A_MONTH, 1)
    await roll_up(writer)
    slot = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp()) * SECOND // SLOT
    end = slot + WEEKS
    entries: list[Entry] = []
    while len(entries) < most and (found := await next_quarter(queries, slot, end)) is not None:
        entries.append(gate.stats(found, lambda number: len(number) == 3))
        slot = found.slot
    await queries.close()
    await writer.close()
    return Load("two weeks of quarters", entries)


def filled(layout: Layout, rows: int) -> list[list[object]]:
    """Rows of a table with large figures."""
    kind, key = (EACH_QUEUE, "queue-{}-{:03}") if layout is QUEUES else (EXTENSION, "{:03}{:03}")
    levels = [0, 0] if layout.level else []
    values = [*[1_000_000_000_000] * (len(layout.sums) + len(layout.maxima)), *levels, *[""] * len(layout.histograms)]
    return [[kind, key.format(*divmod(number, 1000)), *values] for number in range(rows)]


def largest(count: int) -> Load:
    """Bodies as large as the protocol and its schema let them be."""
    rows = MOST_ROWS
    while True:
        tables = {layout.table: filled(layout, rows) for layout in (CALLS, QUEUES, QUALITY)}
        body = body_of("stats", {"slot": 2_000_000, "tables": tables, "levels": []})
        if len(body) <= LARGEST:
            break
        rows = rows * LARGEST // len(body)
    entries = [
        Entry("stats", body_of("stats", {"slot": 2_000_000 + n, "tables": tables, "levels": []}), 2_000_000 + n)
        for n in range(count)
    ]
    return Load("largest bodies", entries)


class Uplink:
    """A box's end and its hub, connected, with nothing to say yet."""

    def __init__(self, folder: Path, template: Template) -> None:
        self.hub = Hub(folder / "hub", template)
        config = self.hub.config_file.read_text().replace("level: debug", "level: warning")
        self.hub.config_file.write_text(config + "keepalive: {interval: 300s}\n")  # the link stands still for a while
        self.hub.start()
        (folder / "box").mkdir()
        self.end = BoxEnd(folder / "box")

    async def carry(self, load: Load) -> tuple[Taken, float]:
        """Upload: from when the link may look into the ledger until it has noted what became of the last entry.

        The second figure: s until the hub has read them all too.
        """
        await self.end.enrol(self.hub)
        self.end.tell(keepalive=300.0)
        link = self.end.start()
        self.end.becomes("connected")
        link.send_signal(signal.SIGSTOP)
        for entry in load.entries:
            self.end.ledger.queue(entry)
        assert self.hub.process is not None
        pids = link.pid, self.hub.process.pid
        before, began = [cpu_seconds(pid) for pid in pids], time.monotonic()
        link.send_signal(signal.SIGCONT)
        results, sent = (self.end.state / FILE).open("rb"), 0
        with results:
            while sent < len(load.entries):
                time.sleep(LOOK)  # noqa: ASYNC251 - nothing else is to be done
                sent += results.read().count(b'"sent"')
        wall = time.monotonic() - began
        near, far = (cpu_seconds(pid) - spent for pid, spent in zip(pids, before, strict=True))
        while await self.hub.query(UNREAD):  # noqa: ASYNC110 - another process reads
            await asyncio.sleep(LOOK_AGAIN)
        read = time.monotonic() - began
        held = await self.hub.query("SELECT why, count(*), coalesce(sum(length(body)), 0) FROM entries GROUP BY why")
        if held != [("", len(load.entries), load.bytes)]:
            raise RuntimeError(f"the hub holds {held}")
        return Taken(wall, near, far), read

    def close(self) -> None:
        """End both."""
        self.end.close()
        self.hub.kill()


class OpenSsh:
    """A server of OpenSSH, and a client's connection to it that stays up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        shutil.copy(folder / "user.pub", folder / "authorized")
        self.address = own_address()
        (folder / "sshd_config").write_text(
            f"ListenAddress {self.address}:22\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
            f"StrictModes no\nUsePAM no\nPidFile none\nCiphers {CIPHERS[0]}\nPermitRootLogin yes\n"
            f"SetEnv HOME={folder}\n"  # else bash reads what root's own has to say, for each file
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        with (folder / "log").open("wb") as log:
            self.server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
        wait_until(lambda: b"listening" in (folder / "log").read_bytes(), "sshd to listen")
        options = ("StrictHostKeyChecking=no", f"UserKnownHostsFile={folder}/known", "Compression=no", "BatchMode=yes")
        self.ssh = [
            "ssh", "-F", "none", "-i", str(folder / "user"), "-c", CIPHERS[0], "-S", str(folder / "socket"),
            *(word for option in options for word in ("-o", option)), f"root@{self.address}",
        ]  # fmt: skip
        subprocess.run([*self.ssh[:-1], "-M", "-N", "-f", self.ssh[-1]], check=True, stderr=subprocess.DEVNULL)

    def put(self, source: Path, target: Path) -> None:
        """Pipe a file into a file at the other end, which is on the disk then."""
        with source.open("rb") as file:
            subprocess.run([*self.ssh, f"cat > {target} && sync {target}"], stdin=file, check=True)

    def carry(self, bodies: Sequence[bytes]) -> Taken:
        """Each of these as a file."""
        sources = []
        for number, body in enumerate(bodies):
            sources.append(self.folder / f"source-{number}")
            sources[-1].write_bytes(body)
        began = time.monotonic()
        for number, source in enumerate(sources):
            self.put(source, self.folder / f"target-{number}")
        wall = time.monotonic() - began
        for number, body in enumerate(bodies):
            assert (self.folder / f"target-{number}").read_bytes() == body
            (self.folder / f"target-{number}").unlink()
            sources[number].unlink()
        return Taken(wall)

    def close(self) -> None:
        """End both."""
        subprocess.run([*self.ssh[:-1], "-q", "-O", "exit", self.ssh[-1]], check=False, stderr=subprocess.DEVNULL)
        self.server.terminate()
        self.server.wait()


def bare(folder: Path, bodies: Sequence[bytes]) -> Taken:
    """The same bytes through asyncssh alone, each into a file that is synced, an answer of one byte behind each."""
    script = folder / "bare"
    script.mkdir()
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(script / "key")
    sizes, address = ",".join(str(len(body)) for body in bodies), own_address()
    command = [sys.executable, "-m", "bench.uplink", "--far", str(script), address, sizes]
    with subprocess.Popen(command, env=environment()) as far:
        try:
            wait_until((script / "ready").exists, "the other end to listen")
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(near_end(key, address, bodies, far.pid))
        finally:
            far.terminate()


async def near_end(key: asyncssh.SSHKey, address: str, bodies: Sequence[bytes], far: int) -> Taken:
    """The bare pipe's sending end. `far`: process of the other one."""
    async with asyncssh.connect(
        address, 8022, username="bench", client_keys=[key], known_hosts=None, encryption_algs=[CIPHERS[0]],
        compression_algs=["none"], config=None,
    ) as connection:  # fmt: skip
        process = await connection.create_process("take", encoding=None)
        near, spent, began = time.process_time(), cpu_seconds(far), time.monotonic()
        for body in bodies:
            for start in range(0, len(body), PIECE):
                process.stdin.write(body[start : start + PIECE])
                await process.stdin.drain()
        await process.stdout.readexactly(len(bodies))
        return Taken(time.monotonic() - began, time.process_time() - near, cpu_seconds(far) - spent)


async def far_end(folder: Path, address: str, sizes: Sequence[int]) -> None:
    """The bare pipe's other end, a process of its own."""

    async def take(process: asyncssh.SSHServerProcess[bytes]) -> None:
        for number, size in enumerate(sizes):
            with (folder / f"target-{number}").open("wb") as file:
                left = size
                while left:
                    data = await process.stdin.read(min(left, PIECE))
                    left -= len(data)
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())
            process.stdout.write(b".")
        process.exit(0)

    key = folder / "key"
    public = asyncssh.read_private_key(key).export_public_key().decode()
    async with asyncssh.listen(
        address, 8022, server_host_keys=[key], authorized_client_keys=asyncssh.import_authorized_keys(public),
        process_factory=take, encoding=None, encryption_algs=[CIPHERS[0]], compression_algs=["none"], config=None,
    ):  # fmt: skip
        (folder / "ready").touch()
        await asyncio.Event().wait()


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A folder that the link's user can get to."""
    with tempfile.TemporaryDirectory(prefix="pbxd-bench-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def measure(folder: Path, template: Template, load: Load, peer: OpenSsh) -> list[tuple[object, ...]]:
    """One load by each way: rows of the table."""
    bodies = [entry.body for entry in load.entries]
    uplink = Uplink(folder, template)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            ours, read = runner.run(uplink.carry(load))
    finally:
        uplink.close()
    pipe = bare(folder, bodies)
    each = bodies[:APART]
    share = sum(map(len, each)) / load.bytes
    whole = peer.carry([b"".join(bodies)])
    by_file = peer.carry(each)
    ways = [
        ("pbxd: link and hub, until accepted", ours, 1.0),
        ("the same, until read and rolled up", Taken(read), 1.0),
        ("asyncssh alone, a file for each", pipe, 1.0),
        ("ssh, a file for each", by_file, share),
        ("ssh, all in one file", whole, 1.0),
    ]
    base = by_file.wall / share
    return [
        (name, load.bytes * part / taken.wall / 1e6, round(len(bodies) * part / taken.wall), taken.near, taken.far,
         base / taken.wall * part)
        for name, taken, part in ways
    ]  # fmt: skip


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=WEEKS, help="most quarters of the backlog")
    parser.add_argument("--large", type=int, default=6, help="how many of the largest bodies")
    parser.add_argument("--far", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.far:
        folder, address, sizes = arguments.far
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(far_end(Path(folder), address, [int(size) for size in sizes.split(",")]))
        return 0
    if not Path(SSHD).exists():
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "openssh-server"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    head = ("way", "MB/s", "entries/s", "CPU s, sending", "CPU s, taking", "ratio to ssh")
    ratio = 0.0
    with place() as folder:
        (folder / "template").mkdir()
        template = Template(folder / "template")
        loads = [asyncio.run(backlog(folder, arguments.entries)), largest(arguments.large)]
        peer = OpenSsh(folder / "openssh")
        try:
            for number, load in enumerate(loads):
                (folder / str(number)).mkdir()
                rows = measure(folder / str(number), template, load, peer)
                title = f"{load.name}: {len(load.entries)} entries, {load.bytes / 1e6:.1f} MB"
                show(title, head, rows, as_json=arguments.json)
                ratio = float(str(rows[0][-1]))
        finally:
            peer.close()
    return 0 if ratio >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
