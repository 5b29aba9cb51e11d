"""Tells the link when something in the outbox changes: the kernel says so (inotify), nobody looks again and again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from inotify_simple import INotify, flags

MASK = flags.CREATE | flags.DELETE | flags.MOVED_TO | flags.MOVED_FROM | flags.CLOSE_WRITE | flags.DELETE_SELF


class Watch:
    """Changes of one folder's entries."""

    def __init__(self, folder: Path) -> None:
        self._inotify = INotify(nonblocking=True)
        self._inotify.add_watch(str(folder), MASK)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._inotify.fileno(), self._read)
        self._next: asyncio.Future[None] = self._loop.create_future()

    def _read(self) -> None:
        self._inotify.read(timeout=0)
        self._next.set_result(None)
        self._next = self._loop.create_future()

    async def change(self) -> None:
        """Wait for the next change."""
        await asyncio.shield(self._next)

    def close(self) -> None:
        """Watch no more."""
        self._loop.remove_reader(self._inotify.fileno())
        self._inotify.close()


class Switch(threading.Thread):
    """Calls `cut` when the link may run no more, whatever its loop waits for at that moment: a disk may take seconds to sync."""

    def __init__(self, folder: Path, allowed: Callable[[], bool], cut: Callable[[], None]) -> None:
        super().__init__(name="switch", daemon=True)
        self._folder, self._allowed, self._cut = folder, allowed, cut

    def run(self) -> None:
        """Wait for it, and cut."""
        with INotify() as inotify:
            inotify.add_watch(str(self._folder), MASK)
            while self._allowed():
                inotify.read()
        self._cut()
