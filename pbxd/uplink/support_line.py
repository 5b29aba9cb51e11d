"""The link's part of a support ticket: a second connection to the hub, through which bytes go that neither can read.

Only while the core's socket is there, which is only while the customer holds a ticket open.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import asyncssh
import structlog

from pbxd.backoff import backoff
from pbxd.errors import HubAway, UplinkError
from pbxd.uplink.enrolment import LinkSettings
from pbxd.uplink.outbox import SUPPORT, Outbox
from pbxd.uplink.place import Place
from pbxd.uplink.secure import Identity, Meter, dial
from pbxd.uplink.vocabulary import SUPPORT_LISTENER, SUPPORT_USER, time_text
from pbxd.uplink.watch import Watch

log = structlog.get_logger("pbxd.uplink")


class SupportLine:
    """Holds the line while there is somebody to talk to."""

    def __init__(self, outbox: Outbox, place: Place, watch: Watch) -> None:
        self._folder, self._place, self._watch = outbox.folder, place, watch
        self._socket = outbox.folder / SUPPORT

    async def run(self) -> None:
        """Hold one whenever the socket is there, for ever."""
        waits: Iterator[float] | None = None
        while True:
            settings = LinkSettings.read(self._folder)
            if settings is None or not self._there():
                await self._watch.change()
                waits = None
                continue
            waits = waits or backoff(settings.reconnect_first, settings.reconnect_longest)
            try:
                await self._hold(settings)
            except (UplinkError, OSError, asyncssh.Error) as error:
                log.warning("there is no line for the open support ticket", error=str(error) or type(error).__name__)
                await asyncio.sleep(next(waits))

    def _there(self) -> bool:
        return self._socket.is_socket()

    async def _hold(self, settings: LinkSettings) -> None:
        """One connection, until the socket is gone. HubAway if it ends before; what `dial` raises."""
        now = time.time()
        connection = await dial(settings, SUPPORT_USER, Identity.read(self._folder, self._place.certificate()), now)
        meter, since = Meter(connection), time_text(datetime.now(UTC))
        ended = asyncio.ensure_future(connection.wait_closed())
        try:
            await connection.forward_remote_port_to_path(*SUPPORT_LISTENER, str(self._socket))
            log.info("people of support can come through", hub=settings.hub)
            while self._there():
                change = asyncio.ensure_future(self._watch.change())
                await asyncio.wait([ended, change], return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
                if ended.done():
                    raise HubAway("the support connection to the hub ended")
        finally:
            connection.abort()
            _, sent, received = meter.read()
            meter.close()
            self._place.say("connection", since=since, sent=sent, received=received)
            self._place.sync()
