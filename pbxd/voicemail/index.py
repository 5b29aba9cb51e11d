"""What lies in all mailboxes, kept in memory: looked at again when the spool changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from pbxd.asterisk.watch import REPLACED, Watch
from pbxd.backoff import backoff
from pbxd.errors import SpoolError
from pbxd.voicemail.disk import Disk, Scan
from pbxd.voicemail.spool import Box, Message
from pbxd.waking import woken

GATHER = 0.2  # s in which changes come together before the spool is looked at
SOON = 0.5  # s to the next look when Asterisk was at work; longer each time
LOOK = 60.0  # s between looks when nothing is heard: the kernel may have no watch left for us

log = structlog.get_logger("pbxd.voicemail")


class Index:
    """`run` is a part of its own for the daemon's `supervise`."""

    def __init__(self, root: Path, on_change: Callable[[Scan], None] = lambda _: None) -> None:
        """`on_change` is told of each look that found something else than the one before it, and of the first."""
        self.disk = Disk(root)
        self.scan = Scan()
        self.ready = asyncio.Event()  # the spool was looked at once
        self.last_error = ""
        self.unwatched = False  # the kernel gives no watch for each folder: changes are seen late
        self._on_change = on_change
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Keep the index until cancelled."""
        watch = Watch({self.disk.root}, self._wake.set, REPLACED)
        pauses = backoff(SOON, LOOK)
        try:
            while True:
                self._wake.clear()
                watch.drain()
                watch.arm()
                await self.look()
                self._watch(watch)
                if not self.scan.busy:
                    pauses = backoff(SOON, LOOK)
                if await woken(self._wake, next(pauses) if self.scan.busy else LOOK):
                    await asyncio.sleep(GATHER)
        finally:
            watch.close()

    async def look(self) -> None:
        """Look at the spool now, in a thread."""
        try:
            found = await asyncio.to_thread(self.disk.scan, time.time())
        except SpoolError as error:
            if str(error) != self.last_error:
                log.error("no index of voicemail", error=str(error))
            self.last_error = str(error)
            return
        self.last_error = ""
        different = found != self.scan or not self.ready.is_set()
        for path in found.rejects.keys() - self.scan.rejects.keys():
            if not found.rejects[path].endswith("yet"):
                log.warning("a voicemail file that is no message", path=path, why=found.rejects[path])
        self.scan = found
        self.ready.set()
        if different:
            self._on_change(found)

    def _watch(self, watch: Watch) -> None:
        try:
            if watch.want(set(self.scan.folders)):
                self._wake.set()  # what came before the watch was set is seen at the next look
        except OSError as error:
            if not self.unwatched:
                log.warning("voicemail is looked at once a minute only", error=error.strerror)
            self.unwatched = True

    def messages(self, box: Box | None = None, folder: str = "") -> list[Message]:
        """Messages, of a box and a folder if they are named, the newest first."""
        found = [m for m in self.scan.messages if box in (None, m.box) and folder in ("", m.folder)]
        return sorted(found, key=lambda m: (-m.text.when, m.box, m.number))

    def message(self, box: Box, name: str) -> Message:
        """A message of a box, by its id. SpoolError if it is not there."""
        found = [m for m in self.scan.messages if m.box == box and m.text.id == name and name]
        if not found:
            raise SpoolError(f"there is no message {name} in {box}")
        return found[0]
