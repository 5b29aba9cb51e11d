"""`python -m pbxd.uplink.support FD`: the process that holds the sessions of one ticket. The core starts it, and kills it.

FD is a Unix socket to the core; its first line says what there is to do: ticket, scope, where to listen, the host key.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from pbxd.family import become_head
from pbxd.uplink.support.core_link import LONGEST, Core
from pbxd.uplink.support.family import end_below
from pbxd.uplink.support.server import listen


async def hold(link: socket.socket) -> None:
    """Listen until the core is gone or says to end."""
    reader, writer = await asyncio.open_connection(sock=link, limit=LONGEST)
    core = Core(reader, writer)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    answers = asyncio.create_task(core.run())
    answers.add_done_callback(lambda _task: stop.set())
    order: dict[str, Any] = await core.ask("order")
    path = Path(order["socket"])
    server = await listen(bound(path, order["group"]), Path(order["host_key"]), core, order["scope"])
    try:
        await core.ask("listening")
        await stop.wait()
    finally:
        remove(path)
        server.close()
        end_below(os.getpid())
        answers.cancel()


def bound(path: Path, group: int) -> socket.socket:
    """A Unix socket that only this user and a group may use; who finds it by its name finds it with these rights."""
    half = path.with_suffix(".half")
    half.unlink(missing_ok=True)
    link = socket.socket(socket.AF_UNIX)
    link.bind(str(half))
    os.chown(half, -1, group)
    half.chmod(0o660)
    half.rename(path)
    return link


def remove(path: Path) -> None:
    """The core may have removed it already."""
    path.unlink(missing_ok=True)


def main() -> None:
    """Take the socket from the core, and go."""
    become_head()
    logging.basicConfig(level=logging.WARNING, format="pbxd support: %(message)s", stream=sys.stderr)
    os.umask(0o027)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(hold(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
