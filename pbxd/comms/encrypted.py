"""Makes the file of an object. Known to the worker too, which must not have to load a database for it."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pbxd.comms import age


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A file that lies ready to be an object."""

    path: Path  # it ends with files.HALF, is fsynced, and on the vault's file system
    size: int
    length: int
    sha256: str


def encrypt_file(source: BinaryIO | bytes, target: Path, recipient: str) -> Encrypted:
    """Encrypt `source` to a new file, and make that durable. OSError if it cannot be written; then nothing is left of it."""
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb", buffering=0) as file:
            reader = io.BytesIO(source) if isinstance(source, bytes) else source
            read, written = age.encrypt_stream(reader, file, recipient)
            os.fsync(file.fileno())
            return Encrypted(target, written.size, read, written.sha256)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
