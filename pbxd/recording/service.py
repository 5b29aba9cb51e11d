"""Recordings as one part of the daemon: the store, the pipeline into it, and what people may do with what is in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from pbxd.comms.people import Action, Directory, Person, Thing
from pbxd.comms.store import CommsSettings, Communications
from pbxd.errors import ObjectGone
from pbxd.recording.catalogue import PART, Catalogue, Catalogued
from pbxd.recording.pipeline import Pipeline


class Recordings:
    """What the daemon opens, asks and closes. Each deed is in the audit log before it is done, refused ones too."""

    def __init__(self, store: Communications, spool: Path, codec: str) -> None:
        self.store = store
        self.catalogue = Catalogue(store)
        self.pipeline = Pipeline(store, self.catalogue, spool, codec)

    @classmethod
    async def open(
        cls, settings: CommsSettings, people: Callable[[], Directory], spool: Path, codec: str
    ) -> Recordings:
        """Open the store of communications. CommsBusy, CommsFull, StoreKeyError or CommsError if it cannot be."""
        return cls(await Communications.open(settings, people, (PART,)), spool, codec)

    def caller(self, uid: int) -> Person:
        """Who a user of this machine is."""
        return self.store.access.caller(uid)

    def _thing(self, one: Catalogued) -> Thing:
        owners, teams = self.store.access.people.owners(one.extensions)
        queue = one.about["queue"]
        return Thing("recording", one.id, owners, teams | {queue} if queue else teams)

    async def listing(self, who: Person, start: int, end: int, limit: int) -> list[dict[str, Any]]:
        """Those that `who` may know of, newest first."""
        found = await self.catalogue.between(start, end, limit)
        return [asdict(one) for one in found if self.store.access.sees(who, self._thing(one))]

    async def _claimed(self, who: Person, action: Action, name: str) -> Catalogued:
        one = await self.catalogue.find(name)
        if one is None:
            raise ObjectGone(f"there is no recording {name}")
        await self.store.access.claim(who, action, self._thing(one))
        return one

    async def facts(self, who: Person, name: str) -> dict[str, Any]:
        """One recording's facts. ObjectGone, AccessRefused."""
        return asdict(await self._claimed(who, "see", name))

    async def sound(self, who: Person, name: str) -> tuple[BinaryIO, str]:
        """Its sound in the clear, as a file in memory, and its codec. ObjectGone, ObjectDamaged, AccessRefused."""
        one = await self._claimed(who, "play", name)
        return await self.store.vault.open(one.id), one.codec

    async def delete(self, who: Person, name: str) -> None:
        """Destroy its key, then its file. ObjectGone, AccessRefused."""
        one = await self._claimed(who, "delete", name)
        await self.store.vault.shred(one.id, lambda connection: self.catalogue.remove(connection, one.id))

    async def close(self) -> None:
        """Close everything."""
        await self.pipeline.close()
        await self.store.close()
