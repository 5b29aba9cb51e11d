"""The recordings, as people use them: every use is decided and in the audit log before it is done."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.comms.people import ROOT, SYSTEM, Action, Person, Thing, may
from pbxd.comms.store import Communications
from pbxd.errors import AccessRefused, ObjectGone, RecordingError, StillKept
from pbxd.recording.catalogue import Catalogue, Entry, Filter, as_json
from pbxd.recording.classes import unknown
from pbxd.recording.foreman import decoder
from pbxd.recording.retention import Keep
from pbxd.recording.unmade import Unmade, UnmadeSound

CHUNK = 256 * 1024  # bytes that are given out at a time
SHRED_AT_ONCE = 200  # recordings that one look deletes to make room
log = structlog.get_logger("pbxd.recording")


class Library:
    """What is in the vault, and who may have it."""

    def __init__(
        self, store: Communications, catalogue: Catalogue, keep: Callable[[], Keep], spools: Sequence[Path] = ()
    ) -> None:
        self.catalogue = catalogue
        self.unmade = UnmadeSound(store, catalogue, spools)
        self._store = store
        self._keep = keep

    def thing(self, entry: Entry) -> Thing:
        """A recording as the rules of access see it."""
        owners, teams = self._store.access.people.owners(entry.extensions)
        return Thing("recording", entry.id, owners, teams | ({entry.queue} if entry.queue else frozenset()))

    async def entries(self, who: Person, wanted: Filter) -> AsyncIterator[dict[str, Any]]:
        """The recordings that `who` may see."""
        async for entry in self.catalogue.entries(self._visible(who, wanted)):
            if self._store.access.sees(who, self.thing(entry)):
                yield as_json(entry)

    async def count(self, who: Person, wanted: Filter) -> int:
        """How many those are, whatever the limit."""
        return await self.catalogue.count(self._visible(who, wanted))

    def _visible(self, who: Person, wanted: Filter) -> Filter:
        if may(who, "see", Thing("recording")).allowed:
            return wanted
        teams = who.supervises
        return replace(wanted, extensions=who.extensions | self._store.access.people.numbers(teams), queues=teams)

    async def show(self, who: Person, name: str) -> dict[str, Any]:
        """All that is known of a recording. AccessRefused, ObjectGone."""
        entry = await self._entry(who, "see", name)
        thing = self.thing(entry)
        if not self._store.access.sees(who, thing):
            await self._store.access.claim(who, "see", thing)  # which refuses, and notes it
        return self._facts(entry)

    async def open(self, who: Person, name: str, action: Action, detail: dict[str, Any]) -> tuple[Entry, BinaryIO]:
        """The sound of a recording, to play or to download. AccessRefused, ObjectGone, ObjectDamaged."""
        entry = await self._entry(who, action, name)
        await self._store.access.claim(who, action, self.thing(entry), detail=detail)
        return entry, await self._store.vault.open(entry.id)

    async def sound(self, file: BinaryIO) -> AsyncIterator[bytes]:
        """What is in an open recording, as it is stored; it is closed at the end."""
        with file:
            while data := file.read(CHUNK):
                yield data

    async def wav(self, file: BinaryIO, start: float) -> AsyncIterator[bytes]:
        """An open recording as WAV, from `start` seconds on; it is closed at the end. RecordingError if it does not decode."""
        with file:
            process = await decoder(file.fileno(), start)
        try:
            while process.stdout is not None and (data := await process.stdout.read(CHUNK)):
                yield data
            if await process.wait() and process.stderr is not None:
                raise RecordingError((await process.stderr.read()).decode(errors="replace").strip())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def export(self, who: Person, of: str, numbers: frozenset[str], *, claimed: bool = True) -> list[Entry]:
        """All recordings that a request for access is about, oldest first: those in which one of these numbers took part.

        With `claimed` also as what an outside party said of itself. `of` says whose they are, for the audit.
        AccessRefused, and nothing at all, if one of them may not be exported.
        """
        found: dict[str, Entry] = {}
        for number in sorted(numbers):
            wanted = Filter(number=number) if claimed else Filter(extensions=frozenset({number}))
            found |= {entry.id: entry async for entry in self.catalogue.entries(wanted)}
        entries = sorted(found.values(), key=lambda entry: (entry.start, entry.id))
        things = [self.thing(entry) for entry in entries]
        if not things:
            owners, teams = self._store.access.people.owners(numbers)
            things = [Thing("recording", "", owners, teams)]
        refused = [thing for thing in things if not may(who, "export", thing).allowed]
        for thing in refused or things:
            await self._store.access.claim(
                who, "export", thing, detail={"of": of}
            )  # the first one that is refused ends it
        return entries

    async def export_damaged(
        self, who: Person, of: str, numbers: frozenset[str], *, claimed: bool = True
    ) -> list[Unmade]:
        """What is there of recordings that could not be made, and that a request for access is about, as `export` does.

        Those of which nobody can tell whose they are come with `known` false: they are to be named, and not given out.
        """
        found = await self.unmade.damaged()
        for one in found:
            if one.of(numbers, claimed=claimed):
                owners, teams = self._store.access.people.owners(one.extensions)
                thing = Thing("recording", one.id, owners, teams | ({one.queue} if one.queue else frozenset()))
                await self._store.access.claim(who, "export", thing, detail={"of": of, "damaged": True})
        return [one for one in found if not one.known or one.of(numbers, claimed=claimed)]

    async def kept(self, one: Unmade) -> BinaryIO:
        """The tar of a damaged recording whose export was granted. ObjectGone, ObjectDamaged."""
        return await self._store.vault.open(one.id)

    async def granted(self, entry: Entry) -> tuple[BinaryIO, dict[str, Any]]:
        """The sound and the facts of a recording whose export was granted. ObjectGone, ObjectDamaged."""
        return await self._store.vault.open(entry.id), self._facts(entry)

    def _facts(self, entry: Entry) -> dict[str, Any]:
        return as_json(entry) | self.catalogue.details(entry) | {"due": self._keep().due(entry)}

    async def delete(self, who: Person, name: str, *, via: str = "control", reason: str = "") -> None:
        """Destroy a recording. AccessRefused; StillKept if it is held, or must be kept longer; ObjectGone."""
        entry = await self._entry(who, "delete", name)
        refusal = self._keep().refusal(entry, self._now())
        detail = {"start": entry.start, "end": entry.end, "sha256": entry.sha256} | ({"why": reason} if reason else {})
        if refusal is not None and may(who, "delete", self.thing(entry)).allowed:
            audit = self._store.audit
            await audit.record(
                who, "delete", "recording", entry.id, allowed=False, reason=refusal, via=via, detail=detail
            )
            raise StillKept(f"{entry.id} is not deleted: {refusal}")
        await self._store.access.claim(who, "delete", self.thing(entry), via=via, detail=detail)

        async def strike(connection: AsyncConnection) -> None:
            await self.catalogue.strike(connection, entry.id)

        await self._store.vault.shred(entry.id, strike)

    async def hold(self, who: Person, name: str, reason: str) -> None:
        """Keep a recording until it is released, whatever else says. AccessRefused, ObjectGone; ValueError without a reason."""
        if not reason.strip():
            raise ValueError("a hold needs a reason: which case it is for")
        entry = await self._entry(who, "hold", name)
        await self._store.access.claim(who, "hold", self.thing(entry), detail={"why": reason})
        await self.catalogue.set_hold(entry.id, reason.strip()[:200])

    async def classify(self, who: Person, name: str, kind: str) -> None:
        """Give a recording another class, by which it is kept. AccessRefused, ObjectGone; RecordingError if there is none such."""
        if kind not in self._keep().known:
            raise RecordingError(unknown(kind, self._keep().known))
        entry = await self._entry(who, "change", name)
        await self._store.access.claim(who, "change", self.thing(entry), detail={"class": kind, "was": entry.kind})
        await self.catalogue.set_kind(entry.id, kind)

    async def release(self, who: Person, name: str) -> None:
        """Take a hold off. AccessRefused, ObjectGone."""
        entry = await self._entry(who, "release", name)
        await self._store.access.claim(who, "release", self.thing(entry), detail={"hold": entry.hold})
        await self.catalogue.set_hold(entry.id, None)

    async def _entry(self, who: Person, action: Action, name: str) -> Entry:
        """The entry of a recording. Who may not see any is told the same of one that is not there, and both are in the audit."""
        entry = await self.catalogue.find(name)
        if entry is None:
            if may(who, action, Thing("recording", name)).allowed or who is ROOT:
                raise ObjectGone(f"there is no recording {name}")
            await self._store.access.claim(who, action, Thing("recording", name[:64]))
            raise ObjectGone(f"there is no recording {name}")
        return entry

    def _now(self) -> int:
        return int(self._store.vault.clock() * 1_000_000)

    async def purge(self) -> int:
        """Delete what has been kept long enough; how many went. What is held stays, without a word."""
        keep, now, count = self._keep(), self._now(), 0
        limit = keep.oldest_kept(now)
        async for entry in self.catalogue.entries(Filter(end=limit, newest_first=False)):
            due = keep.due(entry)
            if due is not None and due <= now and keep.refusal(entry, now) is None:
                await self._destroy(entry, f"kept until {time.strftime('%Y-%m-%d', time.gmtime(due / 1_000_000))}")
                count += 1
        return count

    async def make_room(self, free: int) -> int:
        """Delete the oldest recordings that may be, while less than `free` bytes of the disk are; how many went."""
        keep, now, count = self._keep(), self._now(), 0
        folder = self._store.vault.folder
        async for entry in self.catalogue.entries(Filter(newest_first=False)):
            if count >= SHRED_AT_ONCE or (await asyncio.to_thread(shutil.disk_usage, folder)).free >= free:
                break
            if keep.refusal(entry, now) is None:
                await self._destroy(entry, "the disk is nearly full (recording.keep_free)")
                count += 1
        return count

    async def _destroy(self, entry: Entry, reason: str) -> None:
        try:
            await self.delete(SYSTEM, entry.id, via="retention", reason=reason)
            log.info("a recording was deleted", recording=entry.id, reason=reason)
        except (ObjectGone, StillKept, AccessRefused) as error:
            log.info("a recording was not deleted", recording=entry.id, error=str(error))
