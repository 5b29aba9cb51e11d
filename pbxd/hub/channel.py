"""One SSH channel of frames: what comes is put together and queued with a limit, what goes waits for a slow reader."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from enum import Enum

import asyncssh

from pbxd.errors import FrameError
from pbxd.uplink.frames import Decoder, Frame, encode

QUEUED = 4 * 1024 * 1024  # bytes of bodies that wait; then the box waits
QUEUED_FRAMES = 128
PACKET = 272 * 1024  # bytes of one SSH packet: a frame of the largest body in one
WINDOW = 2 * 1024 * 1024  # bytes that a box may send before we have read them
BATCH = 64  # frames that are stored in one transaction


class Event(Enum):
    """What is no frame."""

    WAKE = "wake"  # there is something new of this box in the store
    END = "end"  # the box will send no more


class FrameChannel(asyncssh.SSHServerSession[bytes]):
    """The session of a subsystem. `conversation` is what talks over it."""

    def __init__(self, subsystem: str, expected: Collection[str]) -> None:
        self.subsystem = subsystem
        self._decoder = Decoder(expected)
        self._items: deque[Frame | Event | FrameError] = deque()
        self._bytes = 0
        self._some = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._paused = False
        self.started = asyncio.Event()
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """The channel is open."""
        self._channel = chan

    def subsystem_requested(self, subsystem: str) -> bool:
        """The one subsystem of this user; no shell, no command."""
        return subsystem == self.subsystem

    def session_started(self) -> None:
        """Frames may go."""
        self.started.set()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Bytes of frames, in any pieces."""
        if datatype is not None:
            return  # a second stream, which the protocol does not have
        try:
            for one in self._decoder.feed(data):
                self._items.append(one)
                self._bytes += len(one.body)
        except FrameError as error:
            self._items.append(error)
        self._some.set()
        if (
            not self._paused
            and (self._bytes > QUEUED or len(self._items) > QUEUED_FRAMES)
            and self._channel is not None
        ):
            self._paused = True
            self._channel.pause_reading()

    def eof_received(self) -> bool:
        """The box says that it is done."""
        self._put(Event.END)
        return False

    def connection_lost(self, _exc: Exception | None) -> None:
        """The channel or its connection is gone."""
        self._channel = None
        self._writable.set()
        self.started.set()
        self._put(Event.END)

    def pause_writing(self) -> None:
        """The box reads slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It has read."""
        self._writable.set()

    def wake(self) -> None:
        """There is something new of this box in the store."""
        if Event.WAKE not in self._items:
            self._put(Event.WAKE)

    def _put(self, item: Event) -> None:
        self._items.append(item)
        self._some.set()

    async def next(self) -> Frame | Event:
        """What comes next. FrameError for what is none of the protocol."""
        return (await self.batch(lambda _: False))[0]

    async def batch(self, more: Callable[[Frame], bool]) -> list[Frame | Event]:
        """What has come: the first item, and if `more` holds for it those behind it for which it holds too. FrameError as above."""
        while not self._items:
            self._some.clear()
            await self._some.wait()
        found: list[Frame | Event] = []
        while self._items and len(found) < BATCH:
            item = self._items[0]
            if found and not (isinstance(item, Frame) and more(item)):
                break
            self._items.popleft()
            if isinstance(item, FrameError):
                raise item
            found.append(item)
            self._bytes -= len(item.body) if isinstance(item, Frame) else 0
            if not (isinstance(item, Frame) and more(item)):
                break
        if (
            self._paused
            and self._bytes <= QUEUED // 2
            and len(self._items) <= QUEUED_FRAMES // 2
            and self._channel is not None
        ):
            self._paused = False
            self._channel.resume_reading()
        return found

    async def send(self, *frames: Frame) -> None:
        """Write frames, and wait while the box does not read. Nothing is said of a channel that is gone: END comes."""
        for one in frames:
            if self._channel is not None:
                self._channel.write(encode(one))
        await self._writable.wait()

    def close(self) -> None:
        """End the channel; what was written goes out first."""
        if self._channel is not None:
            self._channel.close()
