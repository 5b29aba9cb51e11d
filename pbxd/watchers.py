"""Those who watch calls as their records are committed (`pbxctl calls watch`, later the web page)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from pbxd.calls.record import CallRecord

LIMIT = 1000  # records that a slow watcher can be behind; the oldest are dropped for it, never for the store


class Watchers:
    """Gives each new record to everyone who watches now."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[CallRecord | None]] = set()

    def publish(self, records: Iterable[CallRecord]) -> None:
        """Give `records` to all watchers; one that is too far behind loses its oldest."""
        for record in records:
            for queue in self._queues:
                if queue.full():
                    queue.get_nowait()
                queue.put_nowait(record)

    def join(self) -> asyncio.Queue[CallRecord | None]:
        """A queue that gets each record from now on, and None at the end."""
        queue: asyncio.Queue[CallRecord | None] = asyncio.Queue(LIMIT)
        self._queues.add(queue)
        return queue

    def leave(self, queue: asyncio.Queue[CallRecord | None]) -> None:
        """Give it no more."""
        self._queues.discard(queue)

    def close(self) -> None:
        """Tell all watchers that it is over."""
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)
