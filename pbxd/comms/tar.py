"""A tar that is made while it is sent, and lies on no disk."""

from __future__ import annotations

import os
import tarfile
from collections.abc import AsyncIterator

from pbxd.comms.handover import File, opened
from pbxd.errors import CommsError


async def packed(files: AsyncIterator[File]) -> AsyncIterator[bytes]:
    """The bytes of a tar of these files. CommsError if one has not as many bytes as it said: then the tar has no end."""
    async for given in files:
        file = given if given.size is not None else await _measured(given)
        yield _header(file)
        size = 0
        async for part in file.content:
            size += len(part)
            yield part
        if size != file.size:
            raise CommsError(f"{file.name} has {size} bytes, not {file.size}")
        yield bytes(-size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


async def _measured(file: File) -> File:
    """The same, with its size: for that it is put into memory that no other process can open."""
    held = os.fdopen(os.memfd_create("pbxd-tar", os.MFD_CLOEXEC), "w+b", buffering=0)
    try:
        async for part in file.content:
            held.write(part)
        held.seek(0)
    except BaseException:
        held.close()
        raise
    return opened(file.name, file.at, held)


def _header(file: File) -> bytes:
    info = tarfile.TarInfo(file.name)
    info.size, info.mtime, info.mode = file.size or 0, file.at // 1_000_000, 0o600
    return info.tobuf(tarfile.PAX_FORMAT)
