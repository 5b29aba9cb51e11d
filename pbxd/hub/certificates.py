"""OpenSSH certificates: those that the hub gives to boxes and staff, and what stands in one that a box shows.

Source: PROTOCOL.certkeys of OpenSSH. No I/O, no clock.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import asyncssh

from pbxd.errors import HubError

SKEW = 300  # s before its making from which a certificate is good: clocks differ
ED25519_CERTIFICATE = b"ssh-ed25519-cert-v01@openssh.com"
USER = 1  # type of a certificate that lets a user in


@dataclass(frozen=True, slots=True)
class Shown:
    """What stands in a certificate. Times are seconds since the epoch."""

    serial: int
    principals: tuple[str, ...]
    after: int
    before: int  # exclusive
    authority: bytes  # public key that signed it, as it stands on the wire


def kind_of(data: bytes) -> bytes:
    """The name of a public key's or certificate's algorithm; empty if there is none."""
    try:
        return _text(data)[0]
    except struct.error:
        return b""


def shown(data: bytes) -> Shown | None:
    """What stands in a user's Ed25519 certificate; None if it is none. Its signature is not looked at here."""
    try:
        rest = data
        kind, rest = _text(rest)
        _, rest = _text(rest)  # nonce
        _, rest = _text(rest)  # public key
        serial, sort = struct.unpack_from(">QI", rest)
        _, rest = _text(rest[12:])  # key id
        packed, rest = _text(rest)
        after, before = struct.unpack_from(">QQ", rest)
        rest = rest[16:]
        for _ in ("critical options", "extensions", "reserved"):
            _, rest = _text(rest)
        authority, _ = _text(rest)
        principals = []
        while packed:
            one, packed = _text(packed)
            principals.append(one.decode())
    except (struct.error, UnicodeDecodeError):
        return None
    if kind != ED25519_CERTIFICATE or sort != USER:
        return None
    return Shown(serial, tuple(principals), after, before, authority)


def _text(data: bytes) -> tuple[bytes, bytes]:
    """A string of SSH, and what comes behind it. struct.error if there is none."""
    (length,) = struct.unpack_from(">I", data)
    if len(data) < 4 + length:
        raise struct.error("a string ends behind its data")
    return data[4 : 4 + length], data[4 + length :]


def for_box(authority: asyncssh.SSHKey, key: str, box: str, serial: int, times: tuple[int, int]) -> str:
    """A box's certificate as an OpenSSH line. `times` is from when to when, seconds since the epoch."""
    start, until = times
    certificate = authority.generate_user_certificate(
        _key(key), f"pbxd {box}", serial=serial, principals=[box], valid_after=start - SKEW, valid_before=until,
        permit_x11_forwarding=False, permit_agent_forwarding=False, permit_pty=False, permit_user_rc=False,
    )  # fmt: skip
    return certificate.export_certificate().decode().strip()


def for_person(authority: asyncssh.SSHKey, key: str, person: str, ticket: str, times: tuple[int, int]) -> str:
    """A certificate of a person of staff for one ticket, as an OpenSSH line. `times` as above."""
    start, until = times
    certificate = authority.generate_user_certificate(
        _key(key), f"{person} ticket {ticket}", principals=[ticket], valid_after=start - SKEW, valid_before=until,
        permit_x11_forwarding=False, permit_agent_forwarding=False, permit_port_forwarding=False, permit_user_rc=False,
    )  # fmt: skip
    return certificate.export_certificate().decode().strip()


def _key(line: str) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_public_key(line)
    except asyncssh.KeyImportError as error:
        raise HubError(f"{line[:60]!r} is no public key: {error}") from error
