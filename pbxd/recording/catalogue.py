"""What the store knows of each recording: plain what it is found by, and sealed what says who talked with whom."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Index, Integer, LargeBinary, String, Table, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.comms.schema import Part, metadata
from pbxd.comms.store import Communications

recordings = Table(
    "recordings",
    metadata,
    Column("id", String, primary_key=True),  # of the object too
    Column("call", String, nullable=False),  # id of the call's record in the statistics
    Column("start", Integer, nullable=False),  # µs
    Column("end", Integer, nullable=False),  # µs
    Column("codec", String, nullable=False),  # opus, flac
    Column("about", LargeBinary, nullable=False),  # sealed: JSON of `ABOUT`
    Index("recordings_by_start", "start"),
)
PART = Part("recordings", (recordings,), sealed=(recordings.c.about,))
ABOUT = ("direction", "caller", "dialled", "queue", "consent", "parties", "faults")


@dataclass(frozen=True, slots=True)
class Catalogued:
    """One recording. Times in microseconds; `about` has the keys of `ABOUT`."""

    id: str
    call: str
    start: int
    end: int
    codec: str
    about: dict[str, Any]

    @property
    def extensions(self) -> list[str]:
        """The site's own numbers that took part."""
        return [party["number"] for party in self.about["parties"] if not party["trunk"]]


class Catalogue:
    """The recordings of a store that was opened with `PART`."""

    def __init__(self, store: Communications) -> None:
        self._store = store

    async def enter(self, connection: AsyncConnection, told: dict[str, Any], codec: str) -> None:
        """Add one, as part of the transaction that makes its object."""
        about = json.dumps({name: told[name] for name in ABOUT}, ensure_ascii=False).encode()
        row = {"id": told["id"], "call": told["call"], "start": told["start"], "end": told["end"], "codec": codec}
        await connection.execute(insert(recordings).values(**row, about=self._store.vault.seal(about)))

    async def remove(self, connection: AsyncConnection, name: str) -> None:
        """Take one out, as part of the transaction that destroys its object's key."""
        await connection.execute(delete(recordings).where(recordings.c.id == name))

    async def find(self, name: str) -> Catalogued | None:
        """One recording, by its id or the id of its call."""
        wanted = (recordings.c.id == name) | (recordings.c.call == name)
        rows = await self._store.database.fetch(select(recordings).where(wanted))
        return self._of(rows[0]) if rows else None

    async def between(self, start: int, end: int, limit: int) -> list[Catalogued]:
        """Those that began in a time, newest first."""
        wanted = select(recordings).where(recordings.c.start >= start, recordings.c.start < end)
        rows = await self._store.database.fetch(wanted.order_by(recordings.c.start.desc()).limit(limit))
        return [self._of(row) for row in rows]

    def _of(self, row: Any) -> Catalogued:  # noqa: ANN401 - a row of SQLAlchemy's
        about = json.loads(self._store.vault.unseal(row.about))
        return Catalogued(row.id, row.call, row.start, row.end, row.codec, about)
