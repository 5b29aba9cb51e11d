"""What is handed over: recordings with their facts as one zip, the whole vault as one tar; made while it is sent, on no disk."""

from __future__ import annotations

import json
import tarfile
import time
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, BinaryIO

from pbxd.comms import upkeep
from pbxd.comms.store import Communications
from pbxd.errors import ObjectDamaged, ObjectGone
from pbxd.recording.catalogue import Entry, as_json
from pbxd.recording.library import CHUNK, Library

SUFFIX = {"opus": "ogg", "flac": "flac"}
NOTE = (
    "Recordings of calls and what is known of each. index.json lists all of them; those that could not be read say why."
)


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


async def zipped(library: Library, entries: Sequence[Entry], of: str) -> AsyncIterator[bytes]:
    """A zip of recordings whose export was granted: a file and a .json each, and index.json, in which is also what failed."""
    sink = _Sink()
    index: list[dict[str, Any]] = []
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]  # it needs no more than write and flush
        for entry in entries:
            name = f"{datetime.fromtimestamp(entry.start / 1_000_000, UTC):%Y-%m-%d}/{entry.id}"
            try:
                file, facts = await library.granted(entry)
            except (ObjectGone, ObjectDamaged) as error:
                index.append(as_json(entry) | {"error": str(error)})
                continue
            sound = f"{name}.{SUFFIX[entry.codec]}"
            index.append(facts | {"file": sound})
            with file, archive.open(_member(sound, entry.start), "w", force_zip64=True) as member:
                for part in _chunks(file):
                    member.write(part)
                    yield sink.taken()
            archive.writestr(_member(f"{name}.json", entry.start), _json(facts))
        said = {"of": of, "made": int(time.time() * 1_000_000), "note": NOTE, "recordings": index}
        archive.writestr(_member("index.json", said["made"]), _json(said))
    yield sink.taken()


def _member(name: str, at: Any) -> zipfile.ZipInfo:  # noqa: ANN401 - µs
    return zipfile.ZipInfo(name, datetime.fromtimestamp(at / 1_000_000, UTC).timetuple()[:6])


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2).encode()


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while data := file.read(CHUNK):
        yield data


Facts = Callable[
    [str], Awaitable[dict[str, Any] | None]
]  # what is known of an object, by its id; None of one that is another's


async def whole_vault(
    store: Communications, facts: Sequence[Facts], *texts: AsyncIterator[tuple[str, int, Any]]
) -> AsyncIterator[bytes]:
    """A tar of all that is in the vault, in the clear: kind/id, and id.json of what `facts` know. errors.json has what failed.

    `texts` are what the database holds beside them: names, times (µs) and what is written as JSON.
    """
    errors: dict[str, str] = {}
    async for stored in upkeep.listed(store):
        try:
            file = await store.vault.open(stored.id)
        except (ObjectGone, ObjectDamaged) as error:
            errors[stored.id] = str(error)
            continue
        with file:
            yield _header(f"{stored.kind}/{stored.id}", stored.length, stored.at)
            for part in _chunks(file):
                yield part
            yield bytes(-stored.length % tarfile.BLOCKSIZE)
        for known in [await one(stored.id) for one in facts]:
            if known is not None:
                for part in _small(f"{stored.kind}/{stored.id}.json", known, stored.at):
                    yield part
    async for part in _texts(*texts):
        yield part
    for part in _small("errors.json", errors, int(store.vault.clock() * 1_000_000)):
        yield part
    yield bytes(2 * tarfile.BLOCKSIZE)


async def _texts(*texts: AsyncIterator[tuple[str, int, Any]]) -> AsyncIterator[bytes]:
    for several in texts:
        async for name, at, value in several:
            for part in _small(name, value, at):
                yield part


def _header(name: str, size: int, at: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, at // 1_000_000, 0o600
    return info.tobuf(tarfile.PAX_FORMAT)


def _small(name: str, value: object, at: int) -> Iterator[bytes]:
    data = _json(value)
    yield _header(name, len(data), at)
    yield data + bytes(-len(data) % tarfile.BLOCKSIZE)
