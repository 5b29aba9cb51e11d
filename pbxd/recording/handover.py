"""What is handed over: recordings with their facts, and the whole vault; made while it is sent, on no disk."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
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

SUFFIX = {"opus": "ogg", "flac": "flac"}
NOTE = (
    "Recordings of calls and what is known of each. index.json lists all of them; those that could not be read say why."
)


async def files(library: Library, entries: Sequence[Entry], of: str, folder: str = "") -> AsyncIterator[File]:
    """Recordings whose export was granted: a file and a .json each, and index.json, in which is also what failed."""
    index: list[dict[str, Any]] = []
    for entry in entries:
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
    said = {"of": of, "made": int(time.time() * 1_000_000), "note": NOTE, "recordings": index}
    yield whole(f"{folder}index.json", said["made"], as_json(said))  # type: ignore[arg-type]


class RecordingsOf:
    """Source of an access request: calls in which a phone of the person took part; never those whose caller only said so."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def grant(self, who: Person, person: Person) -> Granted:
        """AccessRefused if they are not theirs."""
        numbers = person.extensions
        entries = await self._library.export(who, person.name, numbers, claimed=False) if numbers else []
        ids = {entry.id for entry in entries}

        def concerns(row: Row) -> bool:
            return row.kind == "recording" and row.subject in ids

        return Granted(files(self._library, entries, person.name, "recordings/"), concerns)


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
