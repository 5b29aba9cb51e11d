"""A hub for tests: its folder with configuration, keys and store, and the process when it is started."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from lab.asterisk import wait_until
from lab.tree import environment
from pbxd.cli.hub import main
from pbxd.hub import boxes, keys, staff
from pbxd.hub.boxes import BoxRow
from pbxd.hub.config import HubConfig, load
from pbxd.hub.database import Database
from pbxd.hub.schema import metadata

T = TypeVar("T")
PORT = 8022
RUNNING = ("hub", "nodes", "changes")  # tables of the hub itself, which a process that runs goes by

CONFIG = """
node: {node}
listen: {address}:{port}
database: "{database}"
keys: {folder}/keys
metrics: {address}:9465
log: {{level: debug, format: json}}
"""
WIDE = "limits: {rate: 1000, burst: 1000}\n"


def own_address() -> str:
    """An address of the loopback that no other test has."""
    chance = random.SystemRandom()
    while True:
        address = f"127.{chance.randrange(100, 250)}.{chance.randrange(256)}.{chance.randrange(2, 250)}"
        with socket.socket() as probe:
            if probe.connect_ex((address, PORT)):
                return address


def pbxhub(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`pbxhub …`, in this process."""
    out, err, status = (*(io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2)), 0)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as ended:
            status = int(ended.code or 0)
    for stream in (out, err):
        stream.seek(0)
    return subprocess.CompletedProcess(arguments, status, out.read(), err.read())


class Template:
    """Keys and an empty store, made once and copied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        keys.make(folder / "keys")
        asyncio.run(self._make())

    async def _make(self) -> None:
        await (await Database.open(f"sqlite+aiosqlite:///{self.folder}/hub.db")).close()


class Hub:
    """One hub: `start` it as a process, or ask its store. `database` may be another's, for a second node."""

    def __init__(self, folder: Path, template: Template, database: str = "", node: str = "", more: str = WIDE) -> None:
        self.folder = folder
        self.address = own_address()
        self.port = PORT
        shutil.copytree(template.folder, folder, dirs_exist_ok=True)
        self.database = database or f"sqlite+aiosqlite:///{folder}/hub.db"
        self.config_file = folder / "pbxhub.yaml"
        values = {"node": node or f"node-{self.address}", "address": self.address, "port": self.port, "folder": folder}
        self.config_file.write_text(CONFIG.format(database=self.database, **values) + more)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> HubConfig:
        return load(self.config_file).config

    @property
    def host_key(self) -> str:
        """What boxes pin."""
        return keys.public_line(self.folder / "keys" / "host_key.pub")

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "pbxd.cli.hub", "-c", str(self.config_file), *arguments]

    def start(self, **extra: str) -> None:
        """Start the process, with more in its environment, and wait until it listens."""
        with (self.folder / "log.json").open("ab") as log:
            self.process = subprocess.Popen(self._command("run"), stderr=log, env=environment() | extra)
        wait_until(self.listens, "the hub to listen")

    def listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        with socket.socket() as probe:
            return probe.connect_ex((self.address, self.port)) == 0

    def kill(self) -> None:
        """kill -9, if it runs."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        status = self.process.wait()
        self.process = None
        return status

    def log(self) -> str:
        file = self.folder / "log.json"
        return file.read_text() if file.exists() else ""

    def ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`pbxhub …`, in this process: to start one takes longer than most commands. In a thread, for it has a loop of its own."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(pbxhub, "-c", str(self.config_file), *arguments).result()

    def shown(self, *arguments: str) -> Any:
        """What `pbxhub … --json` says."""
        done = self.ctl(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    async def ask(self, work: Callable[[Database], Awaitable[T]]) -> T:
        """Do something with the store; a command would take a second to start."""
        database = Database(self.database)
        try:
            return await work(database)
        finally:
            await database.close()

    async def token(self, length: float = 3600.0, box: str = "") -> str:
        """A token; with `box`, for an enrolment anew."""

        async def work(database: Database) -> str:
            return await boxes.new_token(database, length, "test", await boxes.get(database, box) if box else None)

        return await self.ask(work)

    async def box(self, box: str) -> BoxRow:
        return await self.ask(lambda database: boxes.get(database, box))

    async def revoke(self, box: str) -> None:
        row = await self.box(box)
        await self.ask(lambda database: boxes.revoke(database, row, "test"))

    async def admit(self, person: str, key: str) -> None:
        await self.ask(lambda database: staff.add(database, person, key))

    async def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """What stands in the store."""
        return await self.ask(lambda database: database.read("a test asks", sql, *values))

    def clear(self) -> None:
        """Take every box out of the store, to its last byte, while the process runs, as soon as none is connected any more."""
        with contextlib.closing(sqlite3.connect(self.folder / "hub.db", timeout=60, isolation_level=None)) as store:
            ask = "SELECT (SELECT count(*) FROM boxes WHERE session IS NOT NULL) + (SELECT count(*) FROM links)"
            wait_until(lambda: store.execute(ask).fetchone() == (0,), "every box to be gone")
            store.execute("PRAGMA secure_delete = ON")  # a test searches the files for what was sent
            store.execute("BEGIN IMMEDIATE")
            for table in (one.name for one in metadata.sorted_tables if one.name not in RUNNING):
                store.execute(f'DELETE FROM "{table}"')
            store.execute("COMMIT")
            wait_until(
                lambda: store.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0, "the store to be idle"
            )

    def files(self) -> int:
        """Open files of the process."""
        assert self.process is not None
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))
