"""The store's key: one age identity in a file outside the store, or in a systemd credential.

A new key takes the old one's place in three steps (`stage`, the database's commit, `promote`), and a kill between them is mended at
the next start: the database says whose key it is wrapped for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pbxd.comms import age
from pbxd.errors import StoreKeyError

CREDENTIAL = "comms-key"
OPEN_TO_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class StoreKey:
    """The key that all other keys of the store are wrapped with."""

    identity: str = field(repr=False)
    source: Path  # where it was read
    credential: bool = False  # given by systemd: not ours to replace

    @property
    def recipient(self) -> str:
        """Its public half."""
        return age.recipient_of(self.identity)

    def seal(self, data: bytes) -> bytes:
        """A small value, encrypted to the store."""
        return age.encrypt(data, self.recipient)

    def unseal(self, data: bytes) -> bytes:
        """What `seal` made, in the clear. ObjectDamaged if it was changed, or sealed with another key."""
        return age.decrypt(data, self.identity)


def find(file: Path, credentials: Path | None, recipient: str | None) -> StoreKey:
    """The key of the store whose database names `recipient`; None is a new store, which gets a new key if there is none.

    StoreKeyError if it is absent, unreadable, open to others, or another store's.
    """
    if credentials is not None and (credentials / CREDENTIAL).exists():
        key = _read(credentials / CREDENTIAL, credential=True)
    else:
        _finish(file, recipient)
        if not file.exists():
            if recipient is not None:
                raise StoreKeyError(
                    f"{file} is not there, and the store was made with {recipient}: bring the key back from where you keep a copy"
                )
            _write(file, age.new_identity())
        key = _read(file)
    if recipient is not None and key.recipient != recipient:
        raise StoreKeyError(f"{key.source} is the key of {key.recipient}, the store was made with {recipient}")
    return key


def stage(key: StoreKey) -> StoreKey:
    """A new key, written beside the old one. StoreKeyError if the old one is a credential, or the folder cannot be written."""
    if key.credential:
        raise StoreKeyError(
            "the key is the systemd credential comms-key: put it into comms.key_file, take the credential away, and restart"
        )
    new = _staged(key.source)
    new.unlink(missing_ok=True)
    _write(new, age.new_identity())
    return _read(new)


def promote(staged: StoreKey, old: StoreKey) -> StoreKey:
    """The new key takes the old one's place: the store is wrapped with it. StoreKeyError if the folder cannot be written."""
    try:
        staged.source.rename(old.source)
        _sync(old.source.parent)
    except OSError as error:
        raise StoreKeyError(f"{old.source} cannot be replaced: {error.strerror}") from error
    return StoreKey(staged.identity, old.source)


def _staged(file: Path) -> Path:
    return file.with_name(file.name + ".new")


def _finish(file: Path, recipient: str | None) -> None:
    """End what a kill cut off: the new key becomes the key if the database was committed with it, and goes if not."""
    new = _staged(file)
    if not new.exists():
        return
    try:
        if recipient is not None and _read(new).recipient == recipient:
            new.rename(file)
        else:
            new.unlink()
        _sync(file.parent)
    except OSError as error:
        raise StoreKeyError(f"{new} cannot be moved or deleted: {error.strerror}") from error


def _read(path: Path, *, credential: bool = False) -> StoreKey:
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreKeyError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from error
    if mode & OPEN_TO_OTHERS and not credential:
        raise StoreKeyError(f"{path} may be used by others than pbxd: chmod 600 it")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1:
        raise StoreKeyError(f"{path} holds {len(lines)} keys; it must hold one line AGE-SECRET-KEY-1…")
    try:
        age.recipient_of(lines[0])
    except StoreKeyError as error:
        raise StoreKeyError(f"{path}: {error}") from error
    return StoreKey(lines[0], path, credential)


def _write(path: Path, identity: str) -> None:
    """Write a key as age-keygen does, whole or not at all."""
    text = (
        f"# created: {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n# public key: {age.recipient_of(identity)}\n{identity}\n"
    )
    half = path.with_name(path.name + ".half")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        half.unlink(missing_ok=True)
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        half.rename(path)
        _sync(path.parent)
    except OSError as error:
        raise StoreKeyError(f"{path} cannot be written: {error.strerror}") from error


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
