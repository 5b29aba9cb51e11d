"""The process that holds the sessions of one ticket, as the core starts, serves and kills it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import structlog

from pbxd.uplink.support.core_link import LONGEST, Answerer, serve
from pbxd.uplink.support.family import end_family, end_marked

log = structlog.get_logger("pbxd.support")
AGAIN = 1.0  # s from an end that nobody wanted to the next start
KEPT = ("PATH", "PYTHONPATH", "LANG", "VIRTUAL_ENV")  # of pbxd's environment


class Hall:
    """One such process after the other, until it is to end."""

    def __init__(self, ticket: str, path: Path, answer: Answerer) -> None:
        """`path`: the Unix socket on which it listens."""
        self.ticket, self._path, self._answer = ticket, path, answer
        self.listening = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._closing = False
        self._closed = asyncio.Event()

    async def run(self) -> None:
        """Keep one running until `close`."""
        try:
            while not self._closing:
                await self._once()
                if not self._closing:
                    log.error(
                        "the process of a support ticket ended by itself and is started again", ticket=self.ticket
                    )
                    await asyncio.sleep(AGAIN)
        finally:
            await asyncio.shield(self._end())
            self._closed.set()

    async def close(self) -> None:
        """End it and everything that came of it, now. Returns when no process is left."""
        self._closing = True
        await self._end()
        await self._closed.wait()

    async def _once(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "pbxd.uplink.support", str(theirs.fileno())),
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    env={name: os.environ[name] for name in KEPT if name in os.environ},
                    cwd="/",
                )
            reader, writer = await asyncio.open_connection(sock=ours, limit=LONGEST)
        except BaseException:
            ours.close()
            raise
        try:
            await serve(reader, writer, self._answer)
        finally:
            writer.close()
            await asyncio.shield(self._end())
            self.listening.clear()

    async def _end(self) -> None:
        """Kill what there is of it. A second call waits with the first."""
        self._path.unlink(missing_ok=True)
        if self._process is not None:
            if self._process.returncode is None:
                await asyncio.to_thread(end_family, self._process.pid)
            await self._process.wait()
        await asyncio.to_thread(end_marked, self.ticket)
