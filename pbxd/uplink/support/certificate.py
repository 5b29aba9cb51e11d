"""What an OpenSSH user certificate says (PROTOCOL.certkeys of OpenSSH, Ed25519). Its signatures are checked elsewhere. No I/O."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass

from pbxd.errors import SupportError
from pbxd.uplink.support.admission import Presented

KIND = b"ssh-ed25519-cert-v01@openssh.com"
USER = 1  # SSH_CERT_TYPE_USER
LIMITING = {b"source-address", b"force-command"}


@dataclass(slots=True)
class _Wire:
    """Reads SSH's encoding (RFC 4251 section 5). SupportError where it ends too early."""

    data: bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise SupportError("the certificate ends in the middle")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def string(self) -> bytes:
        return self.take(self.number(">I"))

    def strings(self) -> list[bytes]:
        """All to the end."""
        found = []
        while self.at < len(self.data):
            found.append(self.string())
        return found


def read(blob: bytes) -> Presented:
    """What the certificate in `blob` says. SupportError if it is none that is taken here."""
    wire = _Wire(blob)
    kind = wire.string()
    if kind != KIND:
        raise SupportError(f"{kind.decode('ascii', 'replace')[:60]} is no certificate of an Ed25519 key")
    wire.string()  # nonce
    wire.string()  # the person's public key
    wire.number(">Q")  # serial
    type_ = wire.number(">I")
    key_id = wire.string().decode("utf-8", "replace")
    principals = _Wire(wire.string()).strings()
    after, before = wire.number(">Q"), wire.number(">Q")
    options = _Wire(wire.string()).strings()[::2]
    wire.string()  # extensions
    wire.string()  # reserved
    signer = wire.string()
    signer_kind = _Wire(signer).string().decode("ascii", "replace")
    return Presented(
        authority=f"{signer_kind} {base64.b64encode(signer).decode()}",
        user=type_ == USER,
        key_id=key_id,
        principals=tuple(name.decode("utf-8", "replace") for name in principals),
        after=float(after),
        before=float(before),
        limited=bool(LIMITING & set(options)),
    )
