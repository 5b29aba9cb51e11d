"""The box's own key as an SSH server for support. The link's process never has it, so that it cannot stand between."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from pbxd.errors import SupportError
from pbxd.uplink.files import make_folder, write_whole

NAME = "host_key"


def path(folder: Path) -> Path:
    """Where it is."""
    return folder / NAME


def make(folder: Path) -> None:
    """Make it, if it is not there yet. UplinkError if it cannot be written."""
    if path(folder).exists():
        return
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - 9 MB, which a box without tickets saves
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    make_folder(folder)
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    write_whole(folder / f"{NAME}.pub", public.decode() + "\n", 0o644)
    write_whole(path(folder), private.decode(), 0o600)


def fingerprint(folder: Path) -> str:
    """As ssh shows it; empty before it was made. SupportError if it cannot be read."""
    try:
        blob = base64.b64decode((folder / f"{NAME}.pub").read_text().split()[1])
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, IndexError) as error:
        raise SupportError(f"{folder / NAME}.pub cannot be read: {error}") from error
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
