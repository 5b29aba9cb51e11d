"""The link's part of a support ticket: a second connection to the hub, through which bytes go that neither can read.

Only while the core's socket is there, which is only while the customer holds a ticket open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncssh

from pbxd.errors import HubAway
from pbxd.uplink.vocabulary import SUPPORT_LISTENER, SUPPORT_USER

LOOK = 0.2  # s between looks whether the socket is still there


async def hold(dial: Callable[[str], Awaitable[asyncssh.SSHClientConnection]], socket: Path) -> None:
    """Hold the line until the socket vanishes. HubAway if the connection ends before, and whatever `dial` raises."""
    connection = await dial(SUPPORT_USER)
    try:
        listener = await connection.forward_remote_port_to_path(*SUPPORT_LISTENER, str(socket))
        ended = asyncio.ensure_future(connection.wait_closed())
        while await asyncio.to_thread(socket.is_socket):
            done, _ = await asyncio.wait([ended], timeout=LOOK)
            if done:
                raise HubAway("the support connection to the hub ended")
        listener.close()
    except (OSError, asyncssh.Error) as error:
        raise HubAway(f"the support connection to the hub: {error}") from error
    finally:
        connection.abort()
        await connection.wait_closed()
