"""All that is kept of a person, for that person: each store is a source of it, and what they give goes into one tar.

A further store registers a `Source`; it decides by the rules of access, and writes into the audit, what it grants.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, Protocol

from pbxd.comms.chain import Entry
from pbxd.comms.people import Person, Thing
from pbxd.comms.store import Communications
from pbxd.errors import CommsError

CHUNK = 256 * 1024  # bytes that are given out at a time
NOTE = (
    "All that this box keeps of what the person said, left and wrote, but for what not_in_it names, with the reason: "
    "a folder for each store with an index.json of its own, "
    "and who did what with it (audit.jsonl). Times are UTC; whole numbers are microseconds since 1970."
)


@dataclass(frozen=True, slots=True)
class File:
    """One file of what is handed over."""

    name: str  # with folders, /
    at: int  # µs
    content: AsyncIterator[bytes]
    size: int | None = None  # bytes of the content, where that is known before


@dataclass(frozen=True, slots=True)
class Granted:
    """What a source hands over; it is in the audit."""

    files: AsyncIterator[File]
    concerns: Callable[[Entry], bool]  # whether a row of the audit log is about the person's own in this store
    missing: Sequence[Mapping[str, Any]] = ()  # what is there and could not be put in: which, when, why


class Source(Protocol):
    """A store of what people say, leave or write."""

    async def grant(self, who: Person, person: Person) -> Granted:
        """All of `person`'s own, for `who`. AccessRefused, and nothing at all, if something of it may not be exported."""


async def all_of(
    store: Communications, who: Person, name: str, sources: Mapping[str, Source | None]
) -> AsyncIterator[File]:
    """The files of a person's request. AccessRefused; CommsError if `people` names nobody so, or a source is not open.

    A source that is None is switched off: that it was not looked at is told in request.json.
    """
    await store.access.claim(who, "export", Thing("person", name[:64], frozenset({name})))
    person = store.access.people.by_name(name)
    if person is None:
        raise CommsError(f"`people` names nobody {name}")
    granted = {name: await source.grant(who, person) for name, source in sources.items() if source is not None}
    off = sorted(name for name, source in sources.items() if source is None)
    return _files(store, who, person, granted, off)


async def _files(
    store: Communications, who: Person, person: Person, granted: Mapping[str, Granted], off: list[str]
) -> AsyncIterator[File]:
    now = int(store.vault.clock() * 1_000_000)
    said = {
        "of": person.name, "full_name": person.full_name, "extensions": sorted(person.extensions),
        "mailboxes": sorted(person.mailboxes), "made": now, "by": who.name, "switched_off_not_looked_at": off,
        "not_in_it": {name: list(one.missing) for name, one in granted.items() if one.missing}, "note": NOTE,
    }  # fmt: skip
    yield whole("request.json", now, as_json(said))
    for one in granted.values():
        async for file in one.files:
            yield file
    yield File("audit.jsonl", now, _rows(store, person, list(granted.values())))


async def _rows(store: Communications, person: Person, granted: list[Granted]) -> AsyncIterator[bytes]:
    """Who did what with the person's own. Details are left out: they may be about somebody else's request."""
    async for entry, _ in store.audit.entries():
        own = entry.kind == "person" and entry.subject == person.name
        if own or any(one.concerns(entry) for one in granted):
            row = asdict(entry)
            del row["detail"]
            yield json.dumps(row, ensure_ascii=False).encode() + b"\n"


def as_json(value: object) -> bytes:
    """For people to read."""
    return json.dumps(value, ensure_ascii=False, indent=2).encode()


def whole(name: str, at: int, data: bytes) -> File:
    """A file that is in memory."""

    async def content() -> AsyncIterator[bytes]:
        yield data

    return File(name, at, content(), len(data))


def opened(name: str, at: int, file: BinaryIO) -> File:
    """A file that is open, from its beginning; it is closed when it was read."""

    async def content() -> AsyncIterator[bytes]:
        with file:
            while data := file.read(CHUNK):
                yield data

    return File(name, at, content(), os.fstat(file.fileno()).st_size)


def detail_of(entry: Entry) -> dict[str, Any]:
    """What a row of the audit log says beside its fields."""
    said: dict[str, Any] = json.loads(entry.detail)
    return said
