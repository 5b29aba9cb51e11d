"""The hub's keys: files in one folder, made once by `pbxhub init`, each for its one purpose.

host_key      what the boxes pin
box_ca        signs the boxes' certificates: every node needs it
message_key   signs the messages down: every node needs it, and whoever proposes
support_ca    signs staff's certificates for a ticket: no node needs it, and none should have it; only support_ca.pub
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from pbxd.errors import HubError, NoteError
from pbxd.uplink.notes import Signer

SSH_KEYS = ("host_key", "box_ca", "support_ca")
MESSAGE_KEY = "message_key"
MESSAGE_NAME = "pbxhub-messages"
PRIVATE, PUBLIC = 0o600, 0o644


@dataclass(frozen=True, slots=True)
class Keys:
    """What a node holds in memory."""

    host: asyncssh.SSHKey
    box_ca: asyncssh.SSHKey
    message: Signer
    support_ca: str  # OpenSSH public key line: the private half is not here

    @classmethod
    def read(cls, folder: Path) -> Keys:
        """From their files. HubError says which is missing or is none."""
        host, box_ca = (private_key(folder / name) for name in ("host_key", "box_ca"))
        return cls(host, box_ca, message_key(folder), public_line(folder / "support_ca.pub"))


def private_key(path: Path) -> asyncssh.SSHKey:
    """A private key. HubError if it cannot be had."""
    try:
        if path.stat().st_mode & 0o077:
            raise HubError(f"{path}: others may read it; chmod 600 it, and ask who has")
        return asyncssh.read_private_key(path)
    except OSError as error:
        raise HubError(f"{path}: {error.strerror}; `pbxhub init` makes the keys of a new hub") from error
    except asyncssh.KeyImportError as error:
        raise HubError(f"{path}: is no private key: {error}") from error


def public_line(path: Path) -> str:
    """A public key's line, without its comment. HubError if it cannot be had."""
    try:
        return line_of(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise HubError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def line_of(text: str) -> str:
    """An OpenSSH public key line, Ed25519, without its comment. HubError if it is none."""
    try:
        key = asyncssh.import_public_key(text)
    except asyncssh.KeyImportError as error:
        raise HubError(f"{text.strip()[:60]!r} is no public key: {error}") from error
    if key.get_algorithm() not in ("ssh-ed25519", "sk-ssh-ed25519@openssh.com"):
        raise HubError(f"a key is {key.get_algorithm()}; it has to be Ed25519: ssh-keygen -t ed25519")
    return " ".join(key.export_public_key().decode().split()[:2])


def message_key(folder: Path) -> Signer:
    """The key that signs messages. HubError if it cannot be had."""
    path = folder / MESSAGE_KEY
    try:
        name, _, seed = path.read_text().strip().partition(" ")
        return Signer(name, bytes.fromhex(seed))
    except OSError as error:
        raise HubError(f"{path}: {error.strerror}; `pbxhub init` makes the keys of a new hub") from error
    except (ValueError, NoteError) as error:
        raise HubError(f"{path}: is no message key") from error


def make(folder: Path) -> list[Path]:
    """Make the keys that are not there; which files were written. HubError if they cannot be."""
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in SSH_KEYS:
            if not (folder / f"{name}.pub").exists():
                key = asyncssh.generate_private_key("ssh-ed25519", comment=f"pbxhub {name}")
                written.append(_write(folder / name, key.export_private_key(), PRIVATE))
                written.append(_write(folder / f"{name}.pub", key.export_public_key(), PUBLIC))
        if not (folder / MESSAGE_KEY).exists():
            signer = Signer(MESSAGE_NAME, os.urandom(32))
            written.append(_write(folder / MESSAGE_KEY, f"{signer.name} {signer.seed.hex()}\n".encode(), PRIVATE))
            written.append(_write(folder / f"{MESSAGE_KEY}.pub", f"{signer.verifier.text}\n".encode(), PUBLIC))
    except OSError as error:
        raise HubError(f"{error.filename}: {error.strerror}") from error
    return written


def _write(path: Path, content: bytes, mode: int) -> Path:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return path
