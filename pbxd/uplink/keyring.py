"""The keys of the uplink: the one that signs the ledger (in Go's note form), and the one by which the box signs in (OpenSSH)."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pbxd.errors import LedgerError, NoteError
from pbxd.uplink.notes import ED25519, Signer, key_id

BEGIN = "PRIVATE+KEY+"


def signer_text(signer: Signer) -> str:
    """A signing key, as it is kept."""
    encoded = base64.b64encode(ED25519 + signer.seed).decode()
    return f"{BEGIN}{signer.name}+{key_id(signer.name, signer.verifier.public).hex()}+{encoded}\n"


def signer_of(text: str) -> Signer:
    """The signing key of such a text. NoteError if it is none."""
    name, _, rest = text.strip().removeprefix(BEGIN).partition("+")
    raw = base64.b64decode(rest.partition("+")[2])
    if not text.startswith(BEGIN) or len(raw) != 33 or raw[:1] != ED25519:
        raise NoteError("it is no private key of a signed note")
    return Signer(name, raw[1:])


def read_signer(path: Path) -> Signer:
    """The key in a file. LedgerError if there is none."""
    try:
        return signer_of(path.read_text())
    except (OSError, ValueError, NoteError) as error:
        raise LedgerError(
            f"{path}: the ledger's key cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error


def make_signer(path: Path) -> Signer:
    """A new key in a new file, for our own user alone. LedgerError if it cannot be written."""
    name = f"pbxd-ledger-{secrets.token_hex(4)}"
    signer = Signer(name, secrets.token_bytes(32))
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(signer_text(signer))
            file.flush()
            os.fsync(handle)
    except OSError as error:
        raise LedgerError(f"{path}: the ledger's key cannot be written: {error.strerror}") from error
    return signer


def new_identity() -> tuple[bytes, str]:
    """A new key to sign in with: the private half in OpenSSH's form, and the public half's line."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private, public.decode()
