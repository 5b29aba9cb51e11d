"""Files that survive a kill and a power cut: written to a temporary name, fsynced, renamed, and the folder fsynced."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pbxd.errors import CommsError, CommsFull

HALF = ".half"  # the suffix of what is not finished
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file for writing that becomes `path` when the block ends, and nothing when it fails. OSError if it cannot be written."""
    half = path.with_name(path.name + HALF)
    make_folder(path.parent)
    try:
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        half.rename(path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder that is pbxd's alone, durably."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make what was renamed and deleted there durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def file_errors(what: str) -> Iterator[None]:
    """Errors of the file system inside become CommsFull or CommsError, with `what` was tried."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise CommsFull(f"{what}: the disk is full; free disk space, pbxd goes on by itself") from error
        raise CommsError(f"{what}: {error.strerror or error}") from error
