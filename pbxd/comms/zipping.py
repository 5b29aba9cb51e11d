"""A zip that is made while it is sent, and lies on no disk."""

from __future__ import annotations

import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from pbxd.comms.handover import File


class _Sink:
    """Takes what is written and gives it out again; it cannot be sought."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Keep."""
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def taken(self) -> bytes:
        """What was written since the last time."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data


async def zipped(files: AsyncIterator[File]) -> AsyncIterator[bytes]:
    """The bytes of a zip of these files, each compressed."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]  # it needs no more than write and flush
        async for file in files:
            info = zipfile.ZipInfo(file.name, datetime.fromtimestamp(file.at / 1_000_000, UTC).timetuple()[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as member:
                async for part in file.content:
                    member.write(part)
                    if data := sink.taken():
                        yield data
    yield sink.taken()
