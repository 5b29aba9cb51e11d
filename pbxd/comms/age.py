"""The age format (age-encryption.org/v1), by pyrage: identities, small values, streams. The only place that knows pyrage.

A stream is encrypted and decrypted in chunks of 64 KiB; memory does not grow with its length.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import BinaryIO

import pyrage

from pbxd.errors import ObjectDamaged, StoreKeyError


def new_identity() -> str:
    """A new X25519 identity: `AGE-SECRET-KEY-1…`."""
    return str(pyrage.x25519.Identity.generate())


def recipient_of(identity: str) -> str:
    """The public half, `age1…`, with which one encrypts to the identity. StoreKeyError if it is no identity."""
    return str(_identity(identity).to_public())


def encrypt(data: bytes, recipient: str) -> bytes:
    """A small value, encrypted. It is some 200 bytes longer."""
    return bytes(pyrage.encrypt(data, [_recipient(recipient)]))


def decrypt(data: bytes, identity: str) -> bytes:
    """A small value in the clear. ObjectDamaged if it was changed, or is another identity's."""
    try:
        return bytes(pyrage.decrypt(data, [_identity(identity)]))
    except (OSError, pyrage.DecryptError) as error:
        raise ObjectDamaged(f"does not decrypt: {error}") from error


class Counted:
    """A file as pyrage sees it: what is written is hashed and counted, and an error is kept whole, which pyrage turns into text."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0  # bytes that were written
        self.read_size = 0
        self.error: OSError | None = None

    @property
    def sha256(self) -> str:
        """Of all that was written, in hexadecimal."""
        return self._hash.hexdigest()

    def read(self, size: int = -1) -> bytes:
        """Read from the file."""
        try:
            data = self._file.read(size)
        except OSError as error:
            self.error = error
            raise
        self.read_size += len(data)
        return data

    def write(self, data: bytes) -> int:
        """Write all of `data` to the file."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.error = error
            raise
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Flush the file."""
        try:
            self._file.flush()
        except OSError as error:
            self.error = error
            raise


def encrypt_stream(source: BinaryIO, target: BinaryIO, recipient: str) -> tuple[int, Counted]:
    """All of `source`, encrypted, to `target`; its length, and what was written.

    OSError if either cannot be read or written.
    """
    reader, writer = Counted(source), Counted(target)
    with _errors(reader, writer):
        pyrage.encrypt_io(reader, writer, [_recipient(recipient)])
    return reader.read_size, writer


def decrypt_stream(source: BinaryIO, target: BinaryIO, identity: str) -> int:
    """All of `source`, in the clear, to `target`; its length. ObjectDamaged if it was changed, cut, or is another identity's.

    What was written to `target` before that is right, and not whole. OSError if either cannot be read or written.
    """
    reader, writer = Counted(source), Counted(target)
    with _errors(reader, writer):
        pyrage.decrypt_io(reader, writer, [_identity(identity)])
    return writer.size


@contextlib.contextmanager
def _errors(reader: Counted, writer: Counted) -> Iterator[None]:
    """Errors of the files are raised as they were; what remains is the data's own."""
    try:
        yield
    except (OSError, pyrage.DecryptError, pyrage.EncryptError) as error:
        own = reader.error or writer.error
        if own is not None:
            raise own from error
        raise ObjectDamaged(f"does not decrypt: {error}") from error


def _identity(text: str) -> pyrage.x25519.Identity:
    try:
        return pyrage.x25519.Identity.from_str(text)
    except pyrage.IdentityError as error:
        raise StoreKeyError("is no age identity; one begins with AGE-SECRET-KEY-1") from error


def _recipient(text: str) -> pyrage.x25519.Recipient:
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise StoreKeyError(f"{text[:80]!r} is no age recipient; one begins with age1") from error
