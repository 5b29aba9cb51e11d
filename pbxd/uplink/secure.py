"""The SSH connection to the hub: who is trusted, which algorithms, what a refusal means. Nothing of ~/.ssh, and no agent."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from pbxd.errors import HubAway, HubRefused, HubUntrusted, UplinkError
from pbxd.uplink.enrolment import CERTIFICATE, KEY, LinkSettings
from pbxd.uplink.vocabulary import BANNER, CIPHERS, HOST_KEYS, KEY_EXCHANGES, MACS, SIGN_IN_WHYS, SIGNATURES

CONNECT_TIMEOUT = 20.0  # s for TCP and SSH to be up
LOGIN_TIMEOUT = 20.0  # s for the sign-in
AUTHORITY = "@cert-authority "
DATED = ("not yet valid", "expired")  # in what asyncssh says of a host certificate
TCP_INFO = struct.Struct("=B7x24I2Q2Q6I4Q2I2Q")  # struct tcp_info of linux/tcp.h up to tcpi_bytes_retrans
ESTABLISHED = 1

WHYS = {
    "revoked": "the hub says that this box's certificate was revoked; enrol again",
    "expired": "the hub says that this box's certificate has expired; enrol again",
    "not-yet-valid": "the hub says that this box's certificate is not valid yet; is a clock wrong?",
    "unknown": "the hub does not know this box; enrol again",
    "clock": "clock? The hub's clock and this box's do not agree on whether a certificate is valid; set this box's clock",
    "busy": "the hub has too many connections now",
    "token": "the hub does not take this token: it was used, has expired, or was never given",
}


class _Client(asyncssh.SSHClient):
    """Remembers why a sign-in was refused: the hub says it in a banner."""

    def __init__(self) -> None:
        self.why = ""

    def auth_banner_received(self, msg: str, lang: str) -> None:  # noqa: ARG002 - asyncssh's signature
        """Take the hub's word: the first, which is of the certificate. SSH offers the bare key too, which no hub knows."""
        for line in msg.splitlines():
            word = line.removeprefix(BANNER).strip()
            if line.startswith(BANNER) and word in SIGN_IN_WHYS:
                self.why = self.why or word


@dataclass(frozen=True, slots=True)
class Identity:
    """By what the box signs in."""

    key: asyncssh.SSHKey
    certificate: asyncssh.SSHCertificate

    @classmethod
    def read(cls, outbox: Path, renewed: str) -> Identity:
        """Of an outbox; `renewed` is a later certificate, or nothing. UplinkError if there is none."""
        try:
            key = asyncssh.read_private_key(outbox / KEY)
            certificate = asyncssh.read_certificate(outbox / CERTIFICATE)
            if renewed:
                later = asyncssh.import_certificate(renewed)
                if _until(later) > _until(certificate) and later.key.public_data == key.public_data:
                    certificate = later
        except (OSError, asyncssh.KeyImportError) as error:
            raise UplinkError(f"{outbox}: the box's own key cannot be read: {error}; enrol the box again") from error
        return cls(key, certificate)

    def valid(self, now: float) -> bool:
        """Whether the certificate holds at this moment, by our clock (seconds since the epoch)."""
        return getattr(self.certificate, "_valid_after", 0) <= now < _until(self.certificate)


def _until(certificate: asyncssh.SSHCertificate) -> int:
    return int(getattr(certificate, "_valid_before", 0))


def trusted(host_keys: Sequence[str]) -> tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]]:
    """The hub's keys as asyncssh takes them: host keys, authorities, revoked ones. UplinkError if there are none."""
    try:
        authorities = [
            asyncssh.import_public_key(line.removeprefix(AUTHORITY)) for line in host_keys if line.startswith(AUTHORITY)
        ]
        keys = [asyncssh.import_public_key(line) for line in host_keys if not line.startswith(AUTHORITY)]
    except asyncssh.KeyImportError as error:
        raise UplinkError(f"uplink.host_keys: {error}") from error
    if not authorities and not keys:
        raise UplinkError("uplink.host_keys is empty: nobody can be trusted to be the hub")
    return keys, authorities, []


async def dial(
    settings: LinkSettings, user: str, identity: Identity | None, now: float, password: str | None = None
) -> asyncssh.SSHClientConnection:
    """Sign in at the hub, by certificate or, to enrol, by the token. HubAway, HubUntrusted or HubRefused say why not."""
    host, _, port = settings.hub.rpartition(":")
    client = _Client()
    try:
        connection, _ = await asyncssh.create_connection(
            lambda: client,
            host.strip("[]"),
            int(port),
            username=user,
            known_hosts=trusted(settings.host_keys),
            client_keys=[(identity.key, identity.certificate)] if identity else None,
            password=password,
            preferred_auth="publickey" if identity else "password",
            config=None,
            x509_trusted_certs=None,
            x509_trusted_cert_paths=None,
            agent_path=None,
            agent_forwarding=False,
            x11_forwarding=False,
            gss_host=None,
            host_based_auth=False,
            kbdint_auth=False,
            send_env=None,
            server_host_key_algs=list(HOST_KEYS),
            # Without the fallback, who records today cannot read tomorrow, nor make us fall back.
            kex_algs=list(KEY_EXCHANGES if settings.classical_kex else KEY_EXCHANGES[:1]),
            encryption_algs=list(CIPHERS),
            mac_algs=list(MACS),
            compression_algs=["none"],
            signature_algs=list(SIGNATURES),
            client_version="pbxd",
            keepalive_interval=settings.keepalive,
            keepalive_count_max=settings.keepalive_count,
            connect_timeout=CONNECT_TIMEOUT,
            login_timeout=LOGIN_TIMEOUT,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        if any(word in str(error) for word in DATED):
            raise HubRefused("clock", f"{WHYS['clock']} ({error})") from error
        raise HubUntrusted(f"{settings.hub} does not have the key that uplink.host_keys pins: {error}") from error
    except asyncssh.PermissionDenied as error:
        raise _refused(client.why, identity, now, error) from error
    except asyncssh.KeyExchangeFailed as error:
        hint = "" if settings.classical_kex else "; a hub of an older kind needs uplink.classical_kex: true"
        raise HubUntrusted(f"{settings.hub} speaks none of the algorithms that we take: {error}{hint}") from error
    except (OSError, asyncssh.Error) as error:
        raise HubAway(f"{settings.hub} cannot be reached: {error or type(error).__name__}") from error
    return connection


def _refused(why: str, identity: Identity | None, now: float, error: Exception) -> HubRefused | HubAway:
    """What a refused sign-in means."""
    if why == "busy":
        return HubAway(WHYS["busy"])
    if identity is None:
        return HubRefused("token", WHYS["token"])
    why = why or "unknown"
    if why in ("expired", "not-yet-valid") and identity.valid(now):
        why = "clock"  # by our clock the certificate holds
    return HubRefused(why, f"{WHYS[why]} ({error})")


class Meter:
    """Bytes of a TCP connection, as the kernel counts them; also when it has ended."""

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self._socket = socket.socket(fileno=os.dup(connection.get_extra_info("socket").fileno()))

    def read(self) -> tuple[bool, int, int]:
        """Whether it is up, and bytes sent (each once, however often they were repeated) and received."""
        raw = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO.size)
        values = TCP_INFO.unpack(raw.ljust(TCP_INFO.size, b"\0"))
        return values[0] == ESTABLISHED, values[-2] - values[-1], values[28]

    def cut(self) -> None:
        """End the connection at once, whatever is on its way; it can be read still."""
        with contextlib.suppress(OSError):  # it has ended already
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Read it no more."""
        self._socket.close()
