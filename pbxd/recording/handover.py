"""What is handed over: recordings with their facts, and the whole vault; made while it is sent, on no disk."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pbxd.comms import upkeep
from pbxd.comms.chain import Entry as Row
from pbxd.comms.handover import File, Granted, as_json, opened, whole
from pbxd.comms.people import Person
from pbxd.comms.store import Communications
from pbxd.errors import ObjectDamaged, ObjectGone
from pbxd.recording.catalogue import Entry
from pbxd.recording.catalogue import as_json as facts_of
from pbxd.recording.library import Library
from pbxd.recording.unmade import Unmade

SUFFIX = {"opus": "ogg", "flac": "flac"}
NOTE = (
    "Recordings of calls and what is known of each. index.json lists all of them; those that could not be read say why. "
    "`damaged` are pieces that could not be made into a recording, as they are kept; `not_in_it` is there and could not be put in."
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a request for access is about, and may be given out."""

    entries: Sequence[Entry]
    damaged: Sequence[Unmade] = ()
    missing: Sequence[Unmade] = ()  # is there, and cannot be put in: it is named


async def bundle(library: Library, who: Person, of: str, numbers: frozenset[str], *, claimed: bool) -> Bundle:
    """All calls in which one of these numbers took part, as `Library.export` finds and grants them. AccessRefused."""
    spooled = await library.unmade.waiting()  # first: what gets into the vault meanwhile is found there
    entries = await library.export(who, of, numbers, claimed=claimed)
    damaged = await library.export_damaged(who, of, numbers, claimed=claimed)
    there = {one.id for one in entries} | {one.id for one in damaged}
    waiting = [one for one in spooled if one.id not in there and (not one.known or one.of(numbers, claimed=claimed))]
    return Bundle(
        entries, [one for one in damaged if one.known], [*(one for one in damaged if not one.known), *waiting]
    )


async def files(library: Library, found: Bundle, of: str, folder: str = "") -> AsyncIterator[File]:
    """What was granted: a file and a .json each recording, a .tar each damaged one, and index.json, which has what failed too."""
    index: list[dict[str, Any]] = []
    for entry in found.entries:
        name = f"{datetime.fromtimestamp(entry.start / 1_000_000, UTC):%Y-%m-%d}/{entry.id}"
        try:
            file, facts = await library.granted(entry)
        except (ObjectGone, ObjectDamaged) as error:
            index.append(facts_of(entry) | {"error": str(error)})
            continue
        sound = f"{name}.{SUFFIX[entry.codec]}"
        index.append(facts | {"file": sound})
        yield opened(folder + sound, entry.start, file)
        yield whole(f"{folder}{name}.json", entry.start, as_json(facts))
    pieces: list[dict[str, Any]] = []
    for one in found.damaged:
        name = f"damaged/{one.id}.tar"
        try:
            file = await library.kept(one)
        except (ObjectGone, ObjectDamaged) as error:
            pieces.append(one.as_json() | {"error": str(error)})
            continue
        pieces.append(one.as_json() | {"file": name})
        yield opened(folder + name, one.start or one.at or 0, file)
    missing = [one.as_json() for one in found.missing]
    said = {"of": of, "made": int(time.time() * 1_000_000), "note": NOTE}
    said |= {"recordings": index, "damaged": pieces, "not_in_it": missing}
    yield whole(f"{folder}index.json", said["made"], as_json(said))  # type: ignore[arg-type]


class RecordingsOf:
    """Source of an access request: calls in which a phone of the person took part; never those whose caller only said so."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def grant(self, who: Person, person: Person) -> Granted:
        """AccessRefused if they are not theirs."""
        numbers = person.extensions
        found = await bundle(self._library, who, person.name, numbers, claimed=False) if numbers else Bundle(())
        ids = {one.id for one in found.entries} | {one.id for one in found.damaged}

        def concerns(row: Row) -> bool:
            return row.kind == "recording" and row.subject in ids

        missing = [one.as_json() for one in found.missing]
        return Granted(files(self._library, found, person.name, "recordings/"), concerns, missing)


Facts = Callable[
    [str], Awaitable[dict[str, Any] | None]
]  # what is known of an object, by its id; None of one that is another's


async def whole_vault(
    store: Communications, facts: Sequence[Facts], *others: AsyncIterator[File]
) -> AsyncIterator[File]:
    """All that is in the vault, in the clear: kind/id, and id.json of what `facts` know. errors.json has what failed.

    `others` are what the database holds beside objects.
    """
    errors: dict[str, str] = {}
    async for stored in upkeep.listed(store):
        name = f"{stored.kind}/{stored.id}"
        try:
            file = await store.vault.open(stored.id)
        except (ObjectGone, ObjectDamaged) as error:
            errors[stored.id] = str(error)
            continue
        yield opened(name, stored.at, file)
        for known in [await one(stored.id) for one in facts]:
            if known is not None:
                yield whole(f"{name}.json", stored.at, as_json(known))
    for several in others:
        async for text in several:
            yield text
    yield whole("errors.json", int(store.vault.clock() * 1_000_000), as_json(errors))
