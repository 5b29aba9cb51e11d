"""Who may speak AGI to us: Asterisk, and nobody else who can reach the port. See docs/decisions/0009-who-may-speak-agi.md.

A program of this machine is known by its user, which the kernel tells; one on another machine by its address.
"""

from __future__ import annotations

import os
import pwd
import socket
from asyncio import BaseTransport
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from pbxd.agi.owner import ESTABLISHED, Absent, End, Sockets
from pbxd.config.agi import Agi
from pbxd.errors import AGIUnknownError


@dataclass(frozen=True, slots=True)
class Stranger:
    """Who was not let in. `key` is the same for each of one user's or address's connections."""

    key: int | str
    who: str


GONE = Stranger("", "somebody who left at once")


def user_id(name: str) -> int | None:
    """The id of a user by name or number; None if there is none."""
    if name.isdecimal():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def user_name(uid: int) -> str:
    """A user as people say it."""
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


class Admission:
    """Decides for each connection. `sockets` is whom it asks."""

    def __init__(self, sockets: Sockets | None = None) -> None:
        self.sockets = sockets or Sockets()
        self._config: Agi | None = None
        self._users: frozenset[int] = frozenset()

    def refuses(self, transport: BaseTransport, config: Agi) -> Stranger | None:
        """Who is at the other end of a TCP connection, if he may not speak; None if he may."""
        if config is not self._config:
            self._take(config)
        peer: End | None = transport.get_extra_info("peername")
        if not peer:
            return GONE
        try:
            owner = self.sockets.owner(peer, transport.get_extra_info("sockname"))
        except AGIUnknownError as error:
            return Stranger(str(error), f"somebody at {peer[0]}, for {error}")
        if owner in self._users:
            return None
        if owner is Absent.ELSEWHERE:
            let_in = known(peer[0], config.peers) and is_open(transport)
            return None if let_in else Stranger(peer[0], f"the host {peer[0]}")
        return GONE if owner is Absent.CLOSED else Stranger(owner, user_name(owner))

    def _take(self, config: Agi) -> None:
        found = {user_id(name) for name in config.users} - {None}
        self._users = frozenset({0, os.geteuid(), *(uid for uid in found if uid is not None)})
        self._config = config

    def status(self, config: Agi) -> list[str]:
        """Who may speak, for people."""
        own = {user_name(0), user_name(os.geteuid())}
        users = [f"user {name}" + ("" if user_id(name) is not None else " (there is none)") for name in config.users]
        return [*sorted(own), *(user for user in users if user not in own), *(f"host {peer}" for peer in config.peers)]


def known(address: str, peers: tuple[str, ...]) -> bool:
    """Whether an address is one of `agi.peers`, or in one of its networks."""
    given = ip_address(address)
    return any(given in ip_network(peer) for peer in peers)


def is_open(transport: BaseTransport) -> bool:
    """Whether our end of the connection has not seen the other close.

    One that has may be of a program of this machine whose socket is gone already: that is not to pass for another host.
    """
    own: socket.socket = transport.get_extra_info("socket")
    return own.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == ESTABLISHED
