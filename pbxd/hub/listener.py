"""The hub's door: a TCP listener that decides who may begin, and SSH with modern algorithms only."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

import asyncssh

from pbxd.hub.config import HubConfig
from pbxd.hub.keys import Keys
from pbxd.hub.sign_in import HubConnection, SignIn
from pbxd.uplink.vocabulary import BANNER, CIPHERS, KEY_EXCHANGES, MACS, SIGNATURES

if TYPE_CHECKING:
    from pbxd.hub.node import Node

BACKLOG = 4096  # connections that the kernel holds while we are busy with others
STAFF_SIGNATURES = ("sk-ssh-ed25519@openssh.com",)  # a person may have the key in a piece of hardware
VERSION = "pbxhub"  # nobody need know more of what runs here


async def options(config: HubConfig, keys: Keys, node: Node) -> asyncssh.SSHServerConnectionOptions:
    """What asyncssh is told."""
    # Without `classical_kex` only the exchange that stands against a quantum computer: who records today cannot read tomorrow.
    exchanges = KEY_EXCHANGES if config.classical_kex else KEY_EXCHANGES[:1]
    authority = keys.box_ca.export_public_key().decode().strip()
    made = await asyncssh.SSHServerConnectionOptions.construct(
        server_factory=lambda: SignIn(node),
        server_host_keys=[keys.host],
        kex_algs=list(exchanges),
        encryption_algs=list(CIPHERS),
        mac_algs=list(MACS),
        signature_algs=[*SIGNATURES, *STAFF_SIGNATURES],
        compression_algs=["none"],
        # Any principal: that it is a box of ours, `examine` has asked before.
        authorized_client_keys=asyncssh.import_authorized_keys(f'cert-authority,principals="*" {authority}'),
        host_based_auth=False,
        kbdint_auth=False,
        gss_host=None,
        allow_pty=False,
        agent_forwarding=False,
        x11_forwarding=False,
        login_timeout=config.limits.sign_in,
        keepalive_interval=config.keepalive.interval,
        keepalive_count_max=config.keepalive.count,
        encoding=None,
        server_version=VERSION,
        config=None,
    )
    return cast("asyncssh.SSHServerConnectionOptions", made)


class Doorkeeper(asyncio.Protocol):
    """Lets a connection in to SSH, or sends it away before anything was computed for it."""

    def __init__(self, node: Node, ssh: asyncssh.SSHServerConnectionOptions) -> None:
        self.node = node
        self.ssh = ssh

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody is there."""
        plain = cast("asyncio.Transport", transport)
        peer = plain.get_extra_info("peername")
        if not peer or not self.node.door.enter(str(peer[0]), time.monotonic()):
            plain.write(f"{BANNER}busy\r\n".encode())  # RFC 4253 §4.2: lines may come before the version
            plain.close()
            return
        connection = HubConnection(asyncio.get_running_loop(), self.ssh)
        plain.set_protocol(connection)
        connection.connection_made(plain)


async def listen(node: Node) -> asyncio.Server:
    """The listening server. OSError if the address cannot be had."""
    host, _, port = node.config.listen.rpartition(":")
    ssh = await options(node.config, node.keys, node)
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Doorkeeper(node, ssh), host.strip("[]"), int(port), backlog=BACKLOG)
