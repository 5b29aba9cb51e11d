"""The node's end of the process that reads what was uploaded (`reader`): started when there is something to read, told of more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process

from pbxd.errors import HubError
from pbxd.hub.config import HubConfig

REST = 0.2  # s without an upload after which there is time to read
LONGEST = 2.0  # s that reading waits for such a moment


class ReaderProcess:
    """At most one process. What it had begun when it ended is read by the next one, here or on another node."""

    def __init__(self, config: HubConfig) -> None:
        self.config = config
        self.pid: int | None = None  # of the process, while there is one
        self._some = asyncio.Event()

    def wake(self) -> None:
        """There is something to read."""
        self._some.set()

    async def run(self) -> None:
        """Keep it running from the first `wake` on. HubError if it ends by itself."""
        await self._more()  # its start alone costs what an upload could have
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pbxd.hub.reader", str(os.getpid()), stdin=PIPE
        )
        self.pid = process.pid
        ended = asyncio.create_task(process.wait())
        try:
            settings = {"database": self.config.database, **self.config.log.model_dump()}
            await self._tell(process, json.dumps(settings).encode())
            while not ended.done():
                await self._tell(process, b"")
                more = asyncio.create_task(self._more())
                await asyncio.wait([ended, more], return_when=asyncio.FIRST_COMPLETED)
                more.cancel()
        finally:
            self.pid = None
            self._some.set()  # the next one looks at what this one left
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await ended
        raise HubError(f"the process that reads what was uploaded ended with {process.returncode}")

    async def _more(self) -> None:
        """Wait until there is more to read, and uploads rest for a moment: a store with one writer is theirs first."""
        await self._some.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST):
                while self._some.is_set():
                    self._some.clear()
                    await asyncio.sleep(REST)

    async def _tell(self, process: Process, line: bytes) -> None:
        if process.stdin is None:
            raise HubError("the process that reads what was uploaded has no input")
        # It may have ended, which `run` sees; RuntimeError is uvloop's name for that.
        with contextlib.suppress(OSError, RuntimeError):
            process.stdin.write(line + b"\n")
            await process.stdin.drain()
