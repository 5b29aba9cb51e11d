"""Who this box is to the vendor: what the enrolment gave it, and what the link needs to know. Files of the outbox.

identity/key          the key by which the box signs in (OpenSSH)
identity/certificate  the hub's certificate for it
identity/enrolment.json
settings.json         the hub's address and keys, and how the link is to behave; written by the core from the configuration
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from pbxd.errors import UplinkError
from pbxd.uplink.outbox import SETTINGS

IDENTITY = "identity"
KEY, CERTIFICATE, ENROLMENT = f"{IDENTITY}/key", f"{IDENTITY}/certificate", f"{IDENTITY}/enrolment.json"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the hub said when it took this box in."""

    box: str  # 16 hex digits
    hub: str  # host:port
    until: str  # end of the first certificate, RFC 3339
    support_ca: str  # OpenSSH public key line
    message_key: str  # C2SP verifier key of messages down
    ledger: str  # C2SP verifier key of our ledger

    @classmethod
    def read(cls, outbox: Path) -> Enrolment | None:
        """That of an outbox; None if the box is not enrolled. UplinkError if it cannot be read."""
        return _read(cls, outbox / ENROLMENT)

    def encoded(self) -> bytes:
        """As it is kept."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """What the link is told."""

    hub: str  # host:port
    host_keys: tuple[str, ...]
    keepalive: float  # s
    keepalive_count: int
    reconnect_first: float  # s
    reconnect_longest: float  # s
    bandwidth: int | None  # bytes/s
    ledger: str  # C2SP verifier key
    version: str  # of pbxd
    identity: str  # SHA-256 of the certificate: another one is a reason to sign in anew
    classical_kex: bool = False  # whether a hub without the newer key exchange will do

    @classmethod
    def read(cls, outbox: Path) -> LinkSettings | None:
        """Those of an outbox; None if there are none yet. UplinkError if they cannot be read."""
        found = _read(cls, outbox / SETTINGS)
        return None if found is None else found.as_tuple()

    def as_tuple(self) -> LinkSettings:
        """With the list that JSON has as a tuple, so that two of them compare."""
        return LinkSettings(**{**asdict(self), "host_keys": tuple(self.host_keys)})

    def encoded(self) -> bytes:
        """As they are kept."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"

    @property
    def stable(self) -> float:
        """Seconds after which a connection has proved to be one: a dead one would have been noticed."""
        return self.keepalive * (self.keepalive_count + 1)


def _read(kind: type[T], path: Path) -> T | None:
    try:
        fields: dict[str, Any] = json.loads(path.read_bytes())
        return kind(**fields)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise UplinkError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}; enrol the box again"
        ) from error
