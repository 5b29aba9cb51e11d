"""Files and folders of the store: what they are called, how they are made durable, and what their errors mean."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pbxd.errors import CommsError, CommsFull

ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")  # of an object, and so the name of its file
HALF = ".half"  # the suffix of what is not finished
FULL = (errno.ENOSPC, errno.EDQUOT)


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
