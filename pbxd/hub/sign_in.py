"""Who a connection is, and what it may open: the owner of each SSH connection of the hub.

user `enrol`    a one-time token as password             the subsystem pbxd-enrol
user `box`      a certificate of the box CA              the subsystem pbxd-uplink
user `support`  the same certificate                     tcpip-forward of (support, 22)
others          staff, by the key that the store has     direct-tcpip to (box id, 22)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import asyncssh
import structlog

from pbxd.errors import StoreError
from pbxd.hub import boxes, certificates, staff
from pbxd.hub.channel import PACKET, WINDOW, FrameChannel
from pbxd.hub.database import now
from pbxd.uplink.frames import ENROL_UP, UP
from pbxd.uplink.vocabulary import (
    BANNER,
    BOX_USER,
    ENROL_SUBSYSTEM,
    ENROL_USER,
    SUPPORT_LISTENER,
    SUPPORT_USER,
    UPLINK_SUBSYSTEM,
)

if TYPE_CHECKING:
    from pbxd.hub.node import Node

STAFF_KEYS = (b"ssh-ed25519", b"sk-ssh-ed25519@openssh.com")

log = structlog.get_logger("pbxd.hub")
SECOND = boxes.SECOND


class HubConnection(asyncssh.SSHServerConnection):
    """asyncssh tells its owner which CA signed a certificate, and not what stands in it: this asks before it checks."""

    async def validate_public_key(self, username: str, key_data: bytes, msg: bytes, signature: bytes) -> bool:
        """Whether the key may sign in; with `msg`, whether it has signed it."""
        owner = self.get_owner()
        if not isinstance(owner, SignIn) or not await owner.examine(username, key_data):
            return False
        return await super().validate_public_key(username, key_data, msg, signature)


class SignIn(asyncssh.SSHServer):
    """One connection's sign-in, and what it is after that."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.user = ""
        self.signed_in = False
        self.box: boxes.BoxRow | None = None
        self.certificate_until = 0  # seconds since the epoch
        self.token = ""
        self.channels = 0  # that are open
        self.opened = False  # whether there ever was one
        self.connection: asyncssh.SSHServerConnection | None = None
        self.closed: list[Callable[[], None]] = []  # what is to be done when the connection is gone
        self._said = ""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """The connection begins."""
        self.connection = conn

    def connection_lost(self, _exc: Exception | None) -> None:
        """It is gone."""
        self.node.door.leave(signed_in=self.signed_in)
        self.node.left(self)
        for done in self.closed:
            done()
        self.connection = None

    def refuse(self, why: str, detail: str) -> bool:
        """Say why, once; False."""
        if self._said != why and self.connection is not None:
            self._said = why
            self.connection.send_auth_banner(f"{BANNER}{why}\n")
            log.info("a sign-in was refused", user=self.user, why=why, detail=detail, address=self.address)
            self.node.counts["refused"] += 1
        return False

    @property
    def address(self) -> str:
        """Where the other end is."""
        return "" if self.connection is None else str(self.connection.get_extra_info("peername", ("",))[0])

    def begin_auth(self, username: str) -> bool:
        """Everybody has to sign in."""
        self.user = username
        return True

    def password_auth_supported(self) -> bool:
        """Tokens only."""
        return self.user == ENROL_USER

    def public_key_auth_supported(self) -> bool:
        """Boxes and staff."""
        return self.user != ENROL_USER

    async def validate_password(self, username: str, password: str) -> bool:
        """A token that is good, or was used and is still in its time: `enrol` decides that."""
        if username != ENROL_USER:
            return False
        try:
            verdict = await boxes.judge_token(self.node.database, password)
        except StoreError as error:
            return self.refuse("busy", str(error))
        if verdict != "good":
            return self.refuse(verdict, "a token")
        self.token = password
        return True

    async def examine(self, username: str, key_data: bytes) -> bool:
        """Whether what a key is and says lets it in; that it has the private half is checked after that."""
        if username not in (BOX_USER, SUPPORT_USER):
            # Staff, by a plain key that `validate_public_key` below knows: a box's certificate opens nothing for a person.
            return username != ENROL_USER and certificates.kind_of(key_data) in STAFF_KEYS
        shown = certificates.shown(key_data)
        if shown is None or shown.authority != self.node.box_ca or len(shown.principals) != 1:
            return self.refuse("unknown", "no certificate of this hub")
        (name,) = shown.principals
        if why := self._out_of_time(shown):
            return self.refuse(why, name)
        try:
            box = await boxes.find(self.node.database, name)
        except StoreError as error:
            return self.refuse("busy", str(error))
        if box is None or box.revoked is not None:
            return self.refuse("unknown" if box is None else "revoked", name)
        self.box, self.certificate_until = box, shown.before
        return True

    def _out_of_time(self, shown: certificates.Shown) -> str:
        """Why a certificate is not good now, by our clock; "" if it is."""
        at = now()
        if at < self.node.made:
            return "clock"  # ours: it stands before this hub's beginning
        if at // SECOND < shown.after:
            return "not-yet-valid"
        return "expired" if at // SECOND >= shown.before else ""

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Staff, by the key that the store has."""
        if username in (BOX_USER, SUPPORT_USER, ENROL_USER):
            return False
        try:
            known = await staff.key_of(self.node.database, username)
        except StoreError as error:
            return self.refuse("busy", str(error))
        shown = " ".join(key.export_public_key().decode().split()[:2])
        return known == shown or self.refuse("unknown", f"{username}'s key")

    def auth_completed(self) -> None:
        """In."""
        self.signed_in = True
        self.node.door.signed_in()
        self.node.came(self)
        asyncio.get_running_loop().call_later(self.node.config.limits.sign_in, self._idle)

    def _idle(self) -> None:
        """Who has signed in and opens nothing is sent away."""
        if not self.opened and self.connection is not None:
            self.connection.close()

    def session_requested(self) -> bool | tuple[asyncssh.SSHServerChannel[bytes], FrameChannel]:
        """The one channel of frames of a box, or of one that wants to be."""
        if self.connection is None or self.user not in (BOX_USER, ENROL_USER) or self.channels:
            return False
        self._open()
        enrols = self.user == ENROL_USER
        made = FrameChannel(ENROL_SUBSYSTEM, ENROL_UP) if enrols else FrameChannel(UPLINK_SUBSYSTEM, UP)
        self.node.talk(self, made)
        return self.connection.create_server_channel(encoding=None, window=WINDOW, max_pktsize=PACKET), made

    def _open(self) -> None:
        self.channels += 1
        self.opened = True

    def server_requested(self, listen_host: str, listen_port: int) -> Awaitable[asyncssh.SSHListener | bool] | bool:
        """A box takes visitors while the customer holds a ticket open."""
        if self.user != SUPPORT_USER or (listen_host, listen_port) != SUPPORT_LISTENER or self.channels:
            return False
        self._open()
        return self.node.support.take(self)

    def connection_requested(
        self, dest_host: str, dest_port: int, _orig_host: str, _orig_port: int
    ) -> Awaitable[asyncssh.SSHTCPSession[bytes]] | bool:
        """A person of staff wants through to a box."""
        if self.user in (BOX_USER, ENROL_USER, SUPPORT_USER):
            return False
        self.opened = True
        return self.node.support.visit(self, dest_host, dest_port)
