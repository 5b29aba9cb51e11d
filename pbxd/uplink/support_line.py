"""The link's part of a support ticket: a second connection to the hub, through which bytes go that neither can read.

Only while the core's socket is there, which is only while the customer holds a ticket open.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

import asyncssh
import structlog

from pbxd.errors import HubAway, UplinkError
from pbxd.uplink.enrolment import LinkSettings
from pbxd.uplink.outbox import SUPPORT, Outbox
from pbxd.uplink.place import Place
from pbxd.uplink.reconnect import Reconnect
from pbxd.uplink.secure import Identity, Meter, dial
from pbxd.uplink.vocabulary import SUPPORT_LISTENER, SUPPORT_USER, time_text
from pbxd.uplink.watch import Watch

PIECE = 64 * 1024  # bytes that are handed on at a time
log = structlog.get_logger("pbxd.uplink")


class SupportLine:
    """Holds the line while there is somebody to talk to."""

    def __init__(self, outbox: Outbox, place: Place, watch: Watch) -> None:
        self._folder, self._place, self._watch = outbox.folder, place, watch
        self._socket = outbox.folder / SUPPORT
        self.meter: Meter | None = None  # of the connection, while there is one
        self._up: float | None = None  # monotonic: since when the last connection lets people through; None if never

    async def run(self) -> None:
        """Hold one whenever the socket is there, for ever. How long to wait for the next try, `Reconnect` says, as for the link."""
        waits: Reconnect | None = None
        while True:
            settings = LinkSettings.read(self._folder)
            if settings is None or not self._there():
                await self._watch.change()
                waits = None
                continue
            waits = waits or Reconnect(settings.reconnect_first, settings.reconnect_longest)
            self._up = None
            try:
                await self._hold(settings)
            except (UplinkError, OSError, asyncssh.Error) as error:
                stayed = self._up is not None and time.monotonic() - self._up >= settings.stable
                wait = waits.after(error, stayed=stayed)
                why = str(error) or type(error).__name__
                log.warning("there is no line for the open support ticket", error=why, again_in=round(wait, 1))
                if await self._news(settings, wait):
                    waits = None

    async def _news(self, settings: LinkSettings, wait: float) -> bool:
        """Wait for so many seconds at most; whether the ticket ended meanwhile, or the settings are others: then it begins anew."""
        try:
            async with asyncio.timeout(wait):
                while self._there() and LinkSettings.read(self._folder) == settings:
                    await self._watch.change()
        except TimeoutError:
            return False
        return True

    def _there(self) -> bool:
        return self._socket.is_socket()

    async def _hold(self, settings: LinkSettings) -> None:
        """One connection, until the socket is gone. HubAway if it ends before; what `dial` raises."""
        now = time.time()
        connection = await dial(settings, SUPPORT_USER, Identity.read(self._folder, self._place.certificate()), now)
        meter, since = Meter(connection), time_text(datetime.now(UTC))
        self.meter = meter
        ended = asyncio.ensure_future(connection.wait_closed())
        try:
            # asyncssh's own forwarding loses what the socket says before the channel is open, and an SSH server speaks first.
            await connection.start_server(lambda *_: self._visit, *SUPPORT_LISTENER, encoding=None)
            self._up = time.monotonic()
            log.info("people of support can come through", hub=settings.hub)
            while self._there():
                change = asyncio.ensure_future(self._watch.change())
                await asyncio.wait([ended, change], return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
                if ended.done():
                    raise HubAway("the support connection to the hub ended")
        finally:
            connection.abort()
            self.meter = None
            _, sent, received = meter.read()
            meter.close()
            self._place.say("connection", since=since, sent=sent, received=received)
            self._place.sync()

    async def _visit(self, reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]) -> None:
        """Hand on bytes between the hub's channel and the sessions' process; the end of one direction is that of both."""
        try:
            near_reader, near_writer = await asyncio.open_unix_connection(str(self._socket))
        except OSError as error:
            log.info("nobody is there for a visitor", error=str(error))
            writer.close()
            return
        ways = [
            asyncio.create_task(_hand_on(reader, near_writer)),
            asyncio.create_task(_hand_on(near_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            ends = await asyncio.gather(*ways, return_exceptions=True)
            near_writer.close()
            writer.close()
        for end in ends:
            if isinstance(end, Exception):
                log.info("a visit broke off", error=str(end) or type(end).__name__)


class _Reader(Protocol):
    async def read(self, n: int, /) -> bytes: ...


class _Writer(Protocol):
    def write(self, data: bytes, /) -> None: ...

    async def drain(self) -> None: ...


async def _hand_on(reader: _Reader, writer: _Writer) -> None:
    """One direction, to its end. ConnectionError or asyncssh.Error if the other end is gone."""
    while data := await reader.read(PIECE):
        writer.write(data)
        await writer.drain()
