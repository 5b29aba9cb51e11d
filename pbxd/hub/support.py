"""The jump host: bytes between a person of staff and the box's own SSH server, which the hub can neither read nor write.

A box holds a connection of user `support` only while its owner holds a ticket open. Who the person is and what they may do is
decided at the box, by a certificate that this hub cannot make.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import asyncssh
import structlog

from pbxd.errors import StoreError
from pbxd.hub import boxes, staff, tickets
from pbxd.uplink.vocabulary import SUPPORT_LISTENER

if TYPE_CHECKING:
    from pbxd.hub.node import Node
    from pbxd.hub.sign_in import SignIn

log = structlog.get_logger("pbxd.hub")
OPEN_CONNECT_FAILED = asyncssh.OPEN_CONNECT_FAILED


class Pipe(asyncssh.SSHTCPSession[bytes]):
    """One end of a way through. What comes in goes out at the other end; who reads slowly stops the other from sending."""

    def __init__(self) -> None:
        self.other: Pipe | None = None
        self.count = 0  # bytes that came in here
        self.ended: Callable[[], None] | None = None
        self._channel: asyncssh.SSHTCPChannel[bytes] | None = None
        self._early = bytearray()  # what came before our channel was open; the other's window limits it
        self._eof = False

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        """The channel is open."""
        self._channel = chan
        if self._early:
            chan.write(bytes(self._early))
            self._early.clear()
        if self._eof:
            chan.write_eof()

    def write(self, data: bytes) -> None:
        """Send what came in at the other end."""
        if self._channel is None:
            self._early += data
        else:
            self._channel.write(data)

    def write_eof(self) -> None:
        """The other end sends no more."""
        self._eof = True
        if self._channel is not None:
            self._channel.write_eof()

    def data_received(self, data: bytes, _datatype: asyncssh.DataType) -> None:
        """Bytes to hand on."""
        self.count += len(data)
        if self.other is not None:
            self.other.write(data)

    def eof_received(self) -> bool:
        """No more comes from here; the other direction stays open."""
        if self.other is not None:
            self.other.write_eof()
        return True

    def pause_writing(self) -> None:
        """Who is here reads slowly."""
        if self.other is not None:
            self.other.read_on(go=False)

    def resume_writing(self) -> None:
        """It has read."""
        if self.other is not None:
            self.other.read_on(go=True)

    def read_on(self, *, go: bool) -> None:
        """Take more from here, or no more for now."""
        if self._channel is not None and go:
            self._channel.resume_reading()
        elif self._channel is not None:
            self._channel.pause_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        """This end is gone, and so the other goes."""
        self._channel = None
        other, self.other = self.other, None
        if other is not None:
            other.close()
        if self.ended is not None:
            self.ended()

    def close(self) -> None:
        """End this end; what was written goes out first."""
        if self._channel is not None:
            self._channel.close()


class Line(asyncssh.SSHListener):
    """What a box asked for by `tcpip-forward`: nothing listens anywhere, the hub remembers which connection it is."""

    def __init__(self, owner: SignIn, row: int, gone: Callable[[], None]) -> None:
        super().__init__()
        self.owner = owner
        self.row = row  # of `links`
        self._gone = gone

    def close(self) -> None:
        """The box takes it back, or its connection is gone."""
        self._gone()

    async def wait_closed(self) -> None:
        """There is nothing to wait for."""


class Support:
    """The support connections that this node holds, and the ways through them."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.lines: dict[str, Line] = {}  # by box id
        self.visits = 0  # ways through that are open

    async def take(self, owner: SignIn) -> asyncssh.SSHListener | bool:
        """A box offers itself; a second offer of the same box takes the place of the first."""
        box = owner.box
        if box is None:
            return False
        try:
            row = await tickets.link_began(self.node.database, box.number, self.node.config.node)
        except StoreError as error:
            log.error("a support connection was refused", box=box.id, error=str(error))
            return False
        line = Line(owner, row, lambda: self._gone(box.id, row))
        before = self.lines.get(box.id)
        self.lines[box.id] = line
        if before is not None and before.owner.connection is not None:
            before.owner.connection.close()
        log.info("a box takes visitors", box=box.id)
        return line

    def _gone(self, box: str, row: int) -> None:
        line = self.lines.get(box)
        if line is not None and line.row == row:
            del self.lines[box]
            log.info("a box takes no more visitors", box=box)
        self.node.spawn(tickets.link_ended(self.node.database, row))

    def visit(self, person: SignIn, box: str, port: int) -> Awaitable[asyncssh.SSHTCPSession[bytes]]:
        """A way through to a box. ChannelOpenError says why there is none."""
        if port != SUPPORT_LISTENER[1]:
            raise asyncssh.ChannelOpenError(OPEN_CONNECT_FAILED, f"a box is reached at port {SUPPORT_LISTENER[1]}")
        if person.channels >= self.node.config.limits.visits:
            raise asyncssh.ChannelOpenError(OPEN_CONNECT_FAILED, f"there are {person.channels} ways through already")
        person.channels += 1
        return self._open(person, box)

    async def _open(self, person: SignIn, box: str) -> Pipe:
        try:
            pipe = await self._joined(person, box)
        except BaseException:
            person.channels -= 1
            raise
        self.visits += 1
        return pipe

    async def _joined(self, person: SignIn, box: str) -> Pipe:
        try:
            if await staff.key_of(self.node.database, person.user) is None:
                raise asyncssh.ChannelOpenError(OPEN_CONNECT_FAILED, f"{person.user} is no longer of the staff")
            line = self.lines.get(box)
            if line is None or line.owner.connection is None:
                raise asyncssh.ChannelOpenError(OPEN_CONNECT_FAILED, await self._where(box))
            near, far = Pipe(), Pipe()
            near.other, far.other = far, near
            await line.owner.connection.create_connection(lambda: far, *SUPPORT_LISTENER, person.user, 0)
            visit = await tickets.visit_began(self.node.database, line.row, person.user, person.address)
        except StoreError as error:
            raise asyncssh.ChannelOpenError(OPEN_CONNECT_FAILED, str(error)) from error
        near.ended = lambda: self._left(person, visit, near, far)
        log.info("a person goes through", person=person.user, box=box)
        if far.other is None:  # the box ended it meanwhile
            asyncio.get_running_loop().call_soon(near.close)
        return near

    async def _where(self, box: str) -> str:
        found = await tickets.link_of(self.node.database, box)
        if found is not None and found[1] != self.node.config.reached_at:
            return f"the box {box} is at another node of this hub: ssh -J {found[1]}"
        return f"the box {box} takes no visitors: its owner holds no ticket open"

    def _left(self, person: SignIn, visit: int, near: Pipe, far: Pipe) -> None:
        person.channels -= 1
        self.visits -= 1
        self.node.spawn(tickets.visit_ended(self.node.database, visit, near.count, far.count))
        log.info("a person has gone", person=person.user, sent=near.count, received=far.count)

    async def look(self, number: int) -> None:
        """End the support connection of a box that was revoked."""
        for line in [line for line in self.lines.values() if line.owner.box and line.owner.box.number == number]:
            box = await boxes.find(self.node.database, line.owner.box.id) if line.owner.box else None
            if (box is None or box.revoked is not None) and line.owner.connection is not None:
                line.owner.connection.close()
