"""The process that reads what boxes uploaded: `python -m pbxd.hub.reader PARENT`, at low priority, beside the node that started it.

Its first line of input is `{"database": URL, "level": …, "format": …}`; each further one says that there may be something to read.
It ends with its input, or with its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time

import structlog
import uvloop

from pbxd import logs
from pbxd.errors import StoreError
from pbxd.hub import reading
from pbxd.hub.database import Database
from pbxd.lifeline import die_with

RETRY = 60.0  # s after which it looks by itself: at what other nodes left, at what failed
NICE = 15  # boxes that upload come first
AGAIN = 3600.0  # s after which an entry over which we fell is tried again

log = structlog.get_logger("pbxd.hub")


class Reader:
    """Reads whatever is unread, box by box. A box whose entry is a mistake of ours waits; the others do not."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._stuck: dict[int, float] = {}  # box -> when it is tried again

    async def round(self) -> int:
        """Read what there is now; how many entries that were."""
        count, now = 0, time.monotonic()
        for box in await reading.waiting(self.database):
            if self._stuck.get(box, 0.0) > now:
                continue
            try:
                count += await reading.read_all(self.database, box)
            except StoreError:
                raise
            except Exception:
                self._stuck[box] = now + AGAIN
                log.exception("an entry could not be read; this is a mistake of ours", box=box)
        return count

    async def run(self, orders: asyncio.StreamReader) -> None:
        """Read until `orders` ends."""
        while True:
            try:
                if await self.round():
                    continue
            except StoreError as error:
                log.error("what was uploaded cannot be read now", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY):
                    if not await orders.read(4096):
                        return


async def serve() -> None:
    """Read until the input ends."""
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    settings = json.loads(await orders.readline())
    logs.configure(settings["level"], settings["format"])
    database = Database(settings["database"])
    try:
        await Reader(database).run(orders)
    finally:
        await database.close()


def main() -> None:
    """Entry point."""
    die_with(int(sys.argv[1]))
    with contextlib.suppress(PermissionError):  # a unit may forbid it
        os.nice(NICE)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
