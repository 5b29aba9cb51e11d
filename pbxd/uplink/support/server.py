"""The box as an SSH server for one ticket, on a Unix socket: who is let in, and to what. Everything else of SSH is refused."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
from collections.abc import Callable
from pathlib import Path

import asyncssh
from asyncssh.public_key import decode_ssh_certificate

from pbxd.errors import SupportError
from pbxd.uplink import vocabulary
from pbxd.uplink.support.core_link import Core
from pbxd.uplink.support.session import Session
from pbxd.uplink.support.ticket import Scope

log = logging.getLogger("pbxd.uplink.support")
MOST_CONNECTIONS = 8  # at a time, for one ticket
MOST_SESSIONS = 4  # of one connection
SIGN_IN = 30.0  # s to sign in
KEEPALIVE, MISSED = 15.0, 3  # s between signs of life, and how many may be missed


class Gatekeeper(asyncssh.SSHServerConnection):
    """A connection whose person the core decides about."""

    async def validate_public_key(self, username: str, key_data: bytes, msg: bytes, signature: bytes) -> bool:
        """Ask the core about the certificate. The signatures, the CA's and the person's, are checked by asyncssh."""
        owner = self.get_owner()
        if not isinstance(owner, Door):
            return False
        try:
            decode_ssh_certificate(key_data)
        except asyncssh.KeyImportError:  # no certificate, or one whose signature does not fit
            owner.keys_refused += 1  # ssh offers a key before it offers that key's certificate: not worth a word yet
            return False
        try:
            answer = await owner.core.ask("admit", user=username, certificate=base64.b64encode(key_data).decode())
        except SupportError as error:
            log.error("nobody can be let in: %s", error)
            return False
        if "person" in answer:
            owner.person = str(answer["person"])
            return await super().validate_public_key(username, key_data, msg, signature)
        owner.told = True
        self.send_auth_banner(f"pbxd: {answer['message']}\r\n")
        return False


class Door(asyncssh.SSHServer):
    """What may be asked for on a connection: sessions. Forwarding, of any kind, is refused by what is not here."""

    def __init__(self, core: Core, scope: Scope, connections: set[Door]) -> None:
        self.core, self._scope, self._connections = core, scope, connections
        self.person = ""  # whom the core let in
        self.keys_refused = 0  # keys without a good certificate
        self.told = False  # why a certificate is refused
        self._sessions = 0
        self._telling: asyncio.Task[None] | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Somebody knocks."""
        self._connections.add(self)
        if len(self._connections) > MOST_CONNECTIONS:
            log.warning("more than %d connections for one ticket", MOST_CONNECTIONS)
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """And is gone."""
        self._connections.discard(self)
        if self.keys_refused and not self.told and not self.person:
            self._telling = asyncio.get_running_loop().create_task(self._tell())
        if exc is not None:
            log.info("a support connection ended: %s", exc)

    async def _tell(self) -> None:
        """Somebody came with keys only."""
        try:
            await self.core.ask("knocked")
        except SupportError as error:
            log.error("the core cannot be told of a refusal: %s", error)

    def public_key_auth_supported(self) -> bool:
        """The one way to sign in."""
        return True

    def validate_ca_key(self, _username: str, _key: asyncssh.SSHKey) -> bool:
        """The core has compared it with the support CA's."""
        return bool(self.person)

    def session_requested(self) -> Session | bool:
        """A session, for the person who signed in."""
        if not self.person or self._sessions >= MOST_SESSIONS:
            return False
        self._sessions += 1
        return Session(self.core, self._scope, self.person)


async def options(host_key: Path, door: Callable[[], Door]) -> asyncssh.SSHServerConnectionOptions:
    """Modern algorithms, certificates only, no forwarding, nothing of this machine's SSH configuration."""
    made: asyncssh.SSHServerConnectionOptions = await asyncssh.SSHServerConnectionOptions.construct(
        server_factory=door,
        server_host_keys=[str(host_key)],
        server_version="pbxd",
        kex_algs=list(vocabulary.KEY_EXCHANGES),
        encryption_algs=list(vocabulary.CIPHERS),
        mac_algs=list(vocabulary.MACS),
        signature_algs=list(vocabulary.SIGNATURES),
        compression_algs=None,
        password_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        gss_host=None,
        agent_forwarding=False,
        x11_forwarding=False,
        allow_scp=False,
        sftp_factory=None,
        line_editor=False,
        encoding=None,
        login_timeout=SIGN_IN,
        keepalive_interval=KEEPALIVE,
        keepalive_count_max=MISSED,
    )
    return made


async def listen(link: socket.socket, host_key: Path, core: Core, scope: Scope) -> asyncio.AbstractServer:
    """Serve on a Unix socket."""
    loop = asyncio.get_running_loop()
    connections: set[Door] = set()
    settings = await options(host_key, lambda: Door(core, scope, connections))
    return await loop.create_unix_server(lambda: Gatekeeper(loop, settings), sock=link)
