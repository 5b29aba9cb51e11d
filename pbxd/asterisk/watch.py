"""Tells that files in some folders have changed, by inotify(7)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from inotify_simple import INotify, flags

APPENDED = flags.MODIFY | flags.CREATE | flags.MOVED_TO | flags.MOVED_FROM  # of files that only grow and are rotated
REPLACED = (
    flags.CLOSE_WRITE | flags.CREATE | flags.MOVED_TO | flags.MOVED_FROM | flags.DELETE
)  # of files that come and go


class Watch:
    """Wakes up when something in the folders changes. Between changes it costs nothing."""

    def __init__(self, folders: set[Path], wake: Callable[[], None], changes: int = APPENDED) -> None:
        """`changes` is a mask of inotify(7)'s events."""
        self._wake = wake
        self._inotify = INotify(nonblocking=True)
        self._loop = asyncio.get_running_loop()
        self._watched: dict[int, Path] = {}  # by the kernel's number of the watch
        self._wanted = folders
        self._changes = changes
        self.look_again()
        self._armed = False
        self.arm()

    def look_again(self) -> bool:
        """Watch folders that have appeared since; whether all are watched."""
        for folder in self._wanted - set(self._watched.values()):
            with contextlib.suppress(FileNotFoundError, PermissionError):  # doctor and status tell of it
                self._watched[self._inotify.add_watch(folder, self._changes | flags.MOVE_SELF)] = folder
        return set(self._watched.values()) == self._wanted

    def want(self, folders: set[Path]) -> bool:
        """Watch these folders; whether some are new: they may have changed before. OSError if the kernel gives no watch."""
        self._wanted = folders
        before = len(self._watched)
        self.look_again()
        return len(self._watched) > before

    def arm(self) -> None:
        """Call `wake` once at the next change."""
        if not self._armed:
            self._armed = True
            self._loop.add_reader(self._inotify.fileno(), self._changed)

    def _changed(self) -> None:
        # Under load there are thousands of changes a second: none is looked at before the reader has read and armed again.
        self._loop.remove_reader(self._inotify.fileno())
        self._armed = False
        self._wake()

    def drain(self) -> None:
        """Forget the changes so far; what they changed is about to be read."""
        for event in self._inotify.read(timeout=0):
            if event.mask & (flags.IGNORED | flags.MOVE_SELF):
                moved = self._watched.pop(
                    event.wd, None
                )  # the folder is gone, and its watch with it; or it is elsewhere
                if moved is not None and event.mask & flags.MOVE_SELF:
                    self._inotify.rm_watch(event.wd)

    def close(self) -> None:
        """Stop watching."""
        if self._armed:
            self._loop.remove_reader(self._inotify.fileno())
        self._inotify.close()
