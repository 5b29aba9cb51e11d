"""Who is online: each has a queue of what happens in its rooms. One that does not keep up is let go, and has to read again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from pbxd.chat.message import Message

LIMIT = 256  # events that wait for one watcher


@dataclass(frozen=True, slots=True)
class Event:
    """What happened in a room: a message, how far somebody is, or a message that is gone."""

    kind: str  # message | receipt | deleted
    room: str
    message: Message | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For people and programs."""
        said = {"event": self.kind, "room": self.room, **self.facts}
        return said if self.message is None else said | {"message": self.message.as_json()}


@dataclass(eq=False, slots=True)
class Watcher:
    """One subscription."""

    person: str
    everything: bool  # all rooms, not only the person's own
    room: str = ""  # only this one
    queue: asyncio.Queue[Event] = field(default_factory=lambda: asyncio.Queue(LIMIT))
    lost: asyncio.Event = field(default_factory=asyncio.Event)  # it did not keep up, or pbxd stops

    def wants(self, event: Event, members: frozenset[str]) -> bool:
        """Whether an event is for it; `members` are those of the room."""
        return (self.everything or self.person in members) and self.room in ("", event.room)

    async def next(self) -> Event | None:
        """The next event; None when there will be no more."""
        if self.lost.is_set():
            return None
        get, lost = asyncio.ensure_future(self.queue.get()), asyncio.ensure_future(self.lost.wait())
        try:
            await asyncio.wait((get, lost), return_when=asyncio.FIRST_COMPLETED)
            return get.result() if get.done() else None
        finally:
            get.cancel()
            lost.cancel()


class Watchers:
    """All subscriptions."""

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()

    def __len__(self) -> int:
        return len(self._watchers)

    def join(self, person: str, room: str = "", *, everything: bool = False) -> Watcher:
        """Begin to watch."""
        watcher = Watcher(person, everything, room)
        self._watchers.add(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """End it."""
        self._watchers.discard(watcher)

    def publish(self, event: Event, members: frozenset[str]) -> None:
        """Tell those whom it concerns; nobody is waited for."""
        for watcher in [one for one in self._watchers if one.wants(event, members)]:
            try:
                watcher.queue.put_nowait(event)
            except asyncio.QueueFull:
                watcher.lost.set()
                self._watchers.discard(watcher)

    def close(self) -> None:
        """Let all go."""
        for watcher in self._watchers:
            watcher.lost.set()
        self._watchers.clear()
