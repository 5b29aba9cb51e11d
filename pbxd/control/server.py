"""The control socket: a Unix socket, who may connect to it, and the server on it.

Who may connect is asked of the kernel (SO_PEERCRED) before a byte is read: root, the daemon's own user, and one group.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import socket
import stat
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import structlog
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from pbxd.errors import ControlError

log = structlog.get_logger("pbxd.control")
DRAIN = 1  # s that requests under way get at a stop


def peer_of(link: socket.socket) -> tuple[int, int, int]:
    """Process, user and group id of the other end of a Unix socket (unix(7), SO_PEERCRED)."""
    pid, uid, gid = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return pid, uid, gid


def may_connect(uid: int, gid: int, group: str | None) -> bool:
    """Whether this user may use the control socket."""
    if uid in (0, os.geteuid()):
        return True
    if group is None:
        return False
    try:
        entry = grp.getgrnam(group)
        return gid == entry.gr_gid or pwd.getpwuid(uid).pw_name in entry.gr_mem
    except KeyError:
        return False


def guarded(group: Callable[[], str | None]) -> type[H11Protocol]:
    """A connection that closes at once when its peer may not connect."""

    class Guarded(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            link = transport.get_extra_info("socket")
            pid, uid, gid = peer_of(link)
            if may_connect(uid, gid, group()):
                super().connection_made(transport)
                self.client = (str(uid), 0)  # who asks, for routes that decide by it
                return
            log.warning("control connection refused", pid=pid, uid=uid)
            super().connection_made(transport)
            transport.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            transport.close()

        def data_received(self, data: bytes) -> None:
            if not self.transport.is_closing():  # what a refused peer sent is not read
                super().data_received(data)

    return Guarded


class ControlServer(uvicorn.Server):
    """uvicorn on our socket; signals are the daemon's own business."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def bind(path: Path) -> socket.socket:
    """The listening socket. A dead one of an earlier run is replaced, a living one is not. ControlError if it cannot be made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise ControlError(f"{path} is in the way: it is no socket")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            else:
                raise ControlError(f"another pbxd listens on {path}")
    link = socket.socket(socket.AF_UNIX)
    try:
        link.bind(str(path))
        path.chmod(0o666)  # who may connect is decided by credentials, in `may_connect`
    except OSError as error:
        link.close()
        raise ControlError(f"{path} cannot be made: {error.strerror}") from error
    return link


def server(app: Starlette, group: Callable[[], str | None]) -> ControlServer:
    """`app` on uvicorn; `await serve(sockets=[...])` runs it, `should_exit = True` ends it."""
    config = uvicorn.Config(
        app,
        http=guarded(group),
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=DRAIN,
        server_header=False,
        proxy_headers=False,  # who asks is the kernel's word, not a header's
    )
    return ControlServer(config)


@asynccontextmanager
async def listening(app: Starlette, where: str) -> AsyncIterator[None]:
    """`app` on a TCP port too, `host:port`."""
    host, _, port = where.rpartition(":")
    config = uvicorn.Config(
        app, host=host.strip("[]"), port=int(port), log_config=None, lifespan="off", access_log=False
    )
    serving = ControlServer(config)
    task = asyncio.create_task(serving.serve())
    try:
        yield
    finally:
        serving.should_exit = True
        await asyncio.wait([task])
