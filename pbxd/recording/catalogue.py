"""The catalogue: a row a recording, a row a party, in the store's database; what is not needed to find it is sealed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.comms.database import Database
from pbxd.comms.schema import Part, metadata, objects
from pbxd.comms.vault import Vault
from pbxd.recording.manifest import Manifest

PAGE = 500  # rows that are in memory at a time
FOREVER = 2**62

recordings = Table(
    "recordings",
    metadata,
    Column("id", String, primary_key=True),
    Column("call", String, nullable=False),  # id of the call's record in the statistics
    Column("start", Integer, nullable=False),  # µs
    Column("end", Integer, nullable=False),  # µs
    Column("kind", String, nullable=False),  # by which it is kept
    Column("direction", String, nullable=False),
    Column("queue", String, nullable=False),
    Column("codec", String, nullable=False),
    Column("rate", Integer, nullable=False),  # frames a second
    Column("frames", Integer, nullable=False),
    Column(
        "hold", String
    ),  # why it must not be deleted; NULL is no hold. Sealed it is not: it names a case, no content
    Column("details", LargeBinary, nullable=False),  # sealed JSON: names, faults, gaps, consent
    Index("recordings_by_start", "start"),
    Index("recordings_by_call", "call"),
    Index("recordings_by_end", "end"),
)

recording_parties = Table(
    "recording_parties",
    metadata,
    Column("recording", String, ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("endpoint", String, nullable=False),
    Column("number", String, nullable=False),
    Column("extension", String, nullable=False),  # of a phone of the site; empty for an outside party
    Index("recording_parties_by_extension", "extension"),
    Index("recording_parties_by_number", "number"),
)

# What lay in the spool and could not be made into a recording; all of it is in the vault, under the same id.
damaged = Table(
    "recording_damaged",
    metadata,
    Column("id", String, primary_key=True),
    Column("at", Integer, nullable=False),
    Column("reason", Text, nullable=False),
)

CATALOGUE = Part("recordings", (recordings, recording_parties, damaged), sealed=(recordings.c.details,))


@dataclass(frozen=True, slots=True)
class Entry:
    """A recording in the catalogue."""

    id: str
    call: str
    start: int  # µs
    end: int  # µs
    kind: str  # its class
    direction: str
    queue: str
    codec: str
    rate: int
    frames: int
    hold: str | None
    size: int  # bytes in the vault
    sha256: str  # of them
    extensions: frozenset[str]  # of the site's own parties
    details: bytes = field(repr=False)  # sealed


@dataclass(frozen=True, slots=True)
class Filter:
    """Which recordings; an empty field is any."""

    start: int = 0  # µs; began at or after
    end: int = FOREVER  # µs; began before
    number: str = ""  # of any party
    queue: str = ""
    call: str = ""
    kind: str = ""  # its class
    held: bool = False
    extensions: frozenset[str] | None = None  # of any party …
    queues: frozenset[str] = frozenset()  # … or one of these queues: what somebody may see
    limit: int = FOREVER
    newest_first: bool = True


class Catalogue:
    """Finds, enters and strikes out recordings."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def enter(self, connection: AsyncConnection, manifest: Manifest, sound: dict[str, Any]) -> None:
        """Add a recording, within the transaction of its object. `sound`: codec, rate, frames."""
        details = {
            "caller": manifest.caller,
            "dialled": manifest.dialled,
            "consent": manifest.consent,
            "parties": [asdict(party) for party in manifest.parties],
            "segments": [
                {"at": piece.at, "end": piece.end, "left": piece.left_party, "right": list(piece.right_parties)}
                for piece in manifest.pieces
            ],
            "gaps": [list(gap) for gap in manifest.gaps],
            "faults": list(manifest.faults),
        }
        row = {
            "id": manifest.id, "call": manifest.call, "start": manifest.start, "end": manifest.end,
            "kind": manifest.kind, "direction": manifest.direction, "queue": manifest.queue, **sound,
            "details": self._vault.seal(json.dumps(details, ensure_ascii=False).encode()),
        }  # fmt: skip
        await connection.execute(insert(recordings).values(row))
        parties = [
            {
                "recording": manifest.id, "position": n, "endpoint": party.endpoint, "number": party.number,
                "extension": "" if party.trunk else party.number,
            }
            for n, party in enumerate(manifest.parties)
        ]  # fmt: skip
        if parties:
            await connection.execute(insert(recording_parties), parties)

    async def enter_damaged(self, connection: AsyncConnection, name: str, at: int, reason: str) -> None:
        """Note what could not be made into a recording."""
        await connection.execute(insert(damaged).values(id=name, at=at, reason=reason[:500]))

    async def strike(self, connection: AsyncConnection, name: str) -> None:
        """Take a recording out, within the transaction that destroys its key."""
        await connection.execute(delete(recordings).where(recordings.c.id == name))

    async def set_kind(self, name: str, kind: str) -> None:
        """Give a recording another class."""

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(update(recordings).where(recordings.c.id == name).values(kind=kind))

        await self._database.run("classing a recording", work)

    async def set_hold(self, name: str, reason: str | None) -> None:
        """Put a hold on a recording, or take it off."""

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(update(recordings).where(recordings.c.id == name).values(hold=reason))

        await self._database.run("holding a recording", work)

    async def find(self, name: str) -> Entry | None:
        """The recording of this id, or of the call of this id, if there is one."""
        named = or_(recordings.c.id == name, recordings.c.call == name)
        found = [entry async for entry in self._select([named], Filter(limit=1))]
        return found[0] if found else None

    async def entries(self, wanted: Filter) -> AsyncIterator[Entry]:
        """The recordings that `wanted` says, by their beginning. Read page by page."""
        async for entry in self._select(_conditions(wanted), wanted):
            yield entry

    async def count(self, wanted: Filter) -> int:
        """How many those are, whatever the limit."""
        query = select(func.count()).select_from(recordings).where(*_conditions(wanted))
        return int((await self._database.fetch(query))[0][0])

    async def _select(self, conditions: list[Any], wanted: Filter) -> AsyncIterator[Entry]:
        place = recordings.c.start, recordings.c.id
        order = [column.desc() if wanted.newest_first else column for column in place]
        after: tuple[int, str] | None = None
        left = wanted.limit
        while left > 0:
            page = select(recordings, objects.c.size, objects.c.sha256).join(objects, objects.c.id == recordings.c.id)
            page = page.where(*conditions).order_by(*order).limit(min(PAGE, left))
            if after is not None:
                page = page.where(_beyond(after, newest_first=wanted.newest_first))
            rows = await self._database.fetch(page)
            own = await self._extensions([row.id for row in rows])
            for row in rows:
                yield Entry(
                    row.id, row.call, row.start, row.end, row.kind, row.direction, row.queue, row.codec,
                    row.rate, row.frames, row.hold, row.size, row.sha256, own.get(row.id, frozenset()), row.details,
                )  # fmt: skip
            left -= len(rows)
            if len(rows) < PAGE:
                return
            after = (rows[-1].start, rows[-1].id)

    async def _extensions(self, names: list[str]) -> dict[str, frozenset[str]]:
        """The site's own extensions in each recording."""
        party = recording_parties.c
        find = select(party.recording, party.extension).where(party.recording.in_(names), party.extension != "")
        found: dict[str, set[str]] = {}
        for row in await self._database.fetch(find):
            found.setdefault(row.recording, set()).add(row.extension)
        return {name: frozenset(numbers) for name, numbers in found.items()}

    async def totals(self) -> dict[str, int]:
        """How many recordings, how many damaged, and how much is held."""
        counts = [
            select(func.count()).select_from(recordings).scalar_subquery(),
            select(func.count()).select_from(damaged).scalar_subquery(),
            select(func.count()).select_from(recordings).where(recordings.c.hold.is_not(None)).scalar_subquery(),
        ]
        row = (await self._database.fetch(select(*counts)))[0]
        return {"recordings": row[0], "damaged": row[1], "held": row[2]}

    async def damage(self, limit: int = PAGE) -> list[dict[str, Any]]:
        """What could not be made into a recording, the newest first; at most `limit` of it."""
        rows = await self._database.fetch(select(damaged).order_by(damaged.c.at.desc()).limit(limit))
        return [{"id": row.id, "at": row.at, "reason": row.reason} for row in rows]

    async def facts(self, name: str) -> dict[str, Any] | None:
        """All that is known of a recording, by the id of its object; None if there is none such."""
        entry = await self.find(name)
        return None if entry is None else as_json(entry) | self.details(entry)

    def details(self, entry: Entry) -> dict[str, Any]:
        """What is sealed in an entry."""
        opened: dict[str, Any] = json.loads(self._vault.unseal(entry.details))
        return opened


def _conditions(wanted: Filter) -> list[Any]:
    conditions = [recordings.c.start >= wanted.start, recordings.c.start < wanted.end]
    if wanted.queue:
        conditions.append(recordings.c.queue == wanted.queue)
    if wanted.call:
        conditions.append(recordings.c.call == wanted.call)
    if wanted.kind:
        conditions.append(recordings.c.kind == wanted.kind)
    if wanted.held:
        conditions.append(recordings.c.hold.is_not(None))
    party = recording_parties.c
    if wanted.number:
        of = select(party.recording).where(or_(party.number == wanted.number, party.extension == wanted.number))
        conditions.append(recordings.c.id.in_(of))
    if wanted.extensions is not None:
        of = select(party.recording).where(party.extension.in_(sorted(wanted.extensions)))
        conditions.append(or_(recordings.c.id.in_(of), recordings.c.queue.in_(sorted(wanted.queues))))
    return conditions


def _beyond(after: tuple[int, str], *, newest_first: bool) -> Any:  # noqa: ANN401 - a condition
    start, name = recordings.c.start, recordings.c.id
    if newest_first:
        return or_(start < after[0], (start == after[0]) & (name < after[1]))
    return or_(start > after[0], (start == after[0]) & (name > after[1]))


def as_json(entry: Entry) -> dict[str, Any]:
    """The facts of a recording that are not sealed, for people and programs."""
    return {
        "id": entry.id, "call": entry.call, "start": entry.start, "end": entry.end,
        "seconds": entry.frames / entry.rate, "class": entry.kind, "direction": entry.direction, "queue": entry.queue,
        "codec": entry.codec, "rate": entry.rate, "size": entry.size, "sha256": entry.sha256, "hold": entry.hold,
        "extensions": sorted(entry.extensions),
    }  # fmt: skip
