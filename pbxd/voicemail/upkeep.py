"""Keeps mailboxes as the rules say: archives what is old, keeps what is held, deletes what was kept long enough.

Every step can be killed, and is gone on with at the next look: the spool and the rows of the archive say together where it stands.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from pbxd.comms.people import SYSTEM
from pbxd.comms.store import Communications
from pbxd.errors import AmiError, CommsError, CommsFull, ObjectGone, SpoolError, VoicemailRefused
from pbxd.voicemail.archive import ARCHIVED, KEPT, LEAVING, Archive, Archived
from pbxd.voicemail.index import Index
from pbxd.voicemail.operations import Operations
from pbxd.voicemail.rules import Rules
from pbxd.voicemail.spool import Box, Message, Text, parse_box
from pbxd.waking import woken

LOOK = 60.0  # s between looks, beside those when the spool changes
MOST_COPIES = 100  # of one id in a box; more is no mailbox
log = structlog.get_logger("pbxd.voicemail")
Named = tuple[str, str]  # a mailbox, and the id of a message in it


@dataclass(slots=True)
class UpkeepCounters:
    """What was done since the start."""

    archived: int = 0
    copied: int = 0  # of what is held
    deleted: int = 0  # because it was kept long enough


class Upkeep:
    """`run` is a part of its own. `turn` is held while a message is on its way, by commands too."""

    def __init__(
        self,
        store: Communications,
        index: Index,
        operations: Operations,
        rules: Callable[[], Rules],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.archive = Archive(store)
        self.turn = asyncio.Lock()
        self.counters = UpkeepCounters()
        self.last_error = ""  # why a message stays where it should not; empty while none does
        self._store = store
        self._index = index
        self._operations = operations
        self._rules = rules
        self._clock = clock
        self._wake = asyncio.Event()

    def notice(self) -> None:
        """Something changed: look soon."""
        self._wake.set()

    async def run(self) -> None:
        """Look whenever the spool changes, and now and then, until cancelled."""
        await self._index.ready.wait()
        while True:
            self._wake.clear()
            await self.look()
            await woken(self._wake, LOOK)

    async def look(self) -> None:
        """Do all that is to be done now; what cannot be done is logged once, and tried again at the next look."""
        error = ""
        for step in (self._settle, self._hold, self._archive_old, self._delete_old):
            try:
                await step()
            except (AmiError, CommsError, SpoolError, VoicemailRefused) as failed:
                error = error or str(failed)
        if error and error != self.last_error:
            log.error("mailboxes are not as they should be", error=error)
        self.last_error = error

    def present(self) -> dict[Named, list[Message]]:
        """What is in the spool, by mailbox and id. An id stands for several messages where one was forwarded twice."""
        found: dict[Named, list[Message]] = defaultdict(list)
        for message in self._index.scan.messages:
            if message.text.id:  # an Asterisk too old to give it one cannot be told what to do with it either
                found[str(message.box), message.text.id].append(message)
        return found

    def _absent(self, named: Named) -> bool:
        """Whether a message is surely not in the spool: it was looked at, and Asterisk was not at work in it."""
        index = self._index
        return index.ready.is_set() and not index.last_error and not index.scan.busy and named not in self.present()

    async def _settle(self) -> None:
        """Go on where a kill, or an Asterisk that was away, left a message; let go of copies that nothing needs any more."""
        failed: Exception | None = None
        for row in await self._rows(LEAVING):
            async with self.turn:
                try:
                    self.counters.archived += await self._take_out(parse_box(row.box), row.message)
                except (AmiError, VoicemailRefused) as error:
                    failed = failed or error
        held = await self.archive.held_boxes()
        for row in await self._rows(KEPT):
            named = (row.box, row.message)
            async with self.turn:
                if self._absent(named):
                    await self.archive.set_state([row.id], ARCHIVED)
                    log.info("a held message was deleted by phone; its copy plays on", box=row.box, message=row.message)
                elif row.hold is None and row.box not in held and named in self.present():
                    await self._shred(row, "the message is in its mailbox, and is not held any more")
        if failed is not None:
            raise failed

    async def _rows(self, state: str) -> list[Archived]:
        return [row async for row in self.archive.entries(state=state)]

    async def _hold(self) -> None:
        """Copy all that lies in held mailboxes."""
        for box in await self.archive.held_boxes():
            await self.copy_box(parse_box(box))

    async def copy_box(self, box: Box) -> None:
        """Have a copy of each message of a mailbox in the archive. CommsFull, CommsError, SpoolError."""
        known = {row.message async for row in self.archive.entries(box=str(box)) if row.state != ARCHIVED}
        failed: SpoolError | None = None
        for (owner, name), copies in self.present().items():
            if owner == str(box) and name not in known:
                try:
                    async with self.turn:
                        await self._copy(copies, KEPT)
                except SpoolError as error:
                    failed = failed or error
        if failed is not None:
            raise failed

    async def copy(self, box: Box, name: str, hold: str) -> None:
        """Have a copy of one message in the archive, with a hold on it. Within `turn`."""
        await self._copy(self.present().get((str(box), name), []), KEPT, hold)

    async def _copy(self, copies: Iterable[Message], state: str, hold: str | None = None) -> None:
        for message in copies:
            try:
                form, sound = await asyncio.to_thread(self._index.disk.sound, message)
            except SpoolError:
                await self._index.look()
                if self._absent((str(message.box), message.text.id)):
                    continue  # the phone was quicker
                raise
            await self.archive.put(message, form, sound, state, hold)
            self.counters.copied += state == KEPT

    async def _archive_old(self) -> None:
        rules, now = self._rules(), self._clock()
        failed: Exception | None = None
        for (box, name), copies in self.present().items():
            if all(rules.to_archive(message, now) for message in copies):
                try:
                    async with self.turn:
                        await self.move(parse_box(box), name)
                except CommsFull:
                    raise  # the next one would not go in either
                except (AmiError, CommsError, SpoolError, VoicemailRefused) as error:
                    failed = failed or error
        if failed is not None:
            raise failed

    async def move(self, box: Box, name: str) -> None:
        """Move a message from the spool into the archive. Within `turn`. Errors: those of the vault, and of an operation."""
        copies = self.present().get((str(box), name), [])
        await self._copy(copies, LEAVING)
        self.counters.archived += await self._take_out(box, name)
        log.info("a voice message was archived", box=str(box), message=name)

    async def _take_out(self, box: Box, name: str) -> int:
        """Have Asterisk take out of the spool what is in the archive, and say there that it is; how many are there now."""
        rows = [row for row in await self.archive.find(box, name) if row.state != ARCHIVED]
        if not rows:
            return 0
        await self.remove(box, name)
        if not self._absent((str(box), name)):
            return 0
        await self.archive.set_state([row.id for row in rows], ARCHIVED)
        return len(rows)

    async def forward(self, box: Box, name: str, to: Box, folder: str) -> None:
        """Have Asterisk copy a message of the archive into another mailbox. Within `turn`.

        It forwards what lies in its spool only: there the message lies aside, for that moment. Its row says LEAVING meanwhile, so
        that a kill leaves what the next look takes out. SpoolError says what to do if pbxd may not write there; others as `move`.
        """
        await self._operations.check_target(box, to)
        row = next(iter(await self.archive.find(box, name)), None)
        if row is None:
            raise SpoolError(f"there is no message {name} in {box}")
        said = self.archive.details(row)
        text = Text(name, row.when, row.duration, said["caller"], said["caller_name"], row.urgent, said["extension"])
        sound = await self.archive.sound(row)
        await self.archive.set_state([row.id], LEAVING)
        try:
            await asyncio.to_thread(self._index.disk.lay_aside, box, text, row.format, sound)
            await self._index.look()
            await self._operations.forward(box, name, to, folder)
        finally:
            await self._take_out(box, name)

    async def remove(self, box: Box, name: str) -> None:
        """Have Asterisk delete a message, and others of the same id; it may be gone already. AmiError, VoicemailRefused."""
        for _ in range(MOST_COPIES):
            if (str(box), name) not in self.present():
                return
            try:
                await self._operations.remove(box, name)
            except SpoolError:  # a phone deleted it meanwhile
                await self._index.look()

    async def _delete_old(self) -> None:
        """Delete what was kept long enough, wherever it lies; what is held stays, without a word."""
        rules, now = self._rules(), self._clock()
        held = await self.archive.held_boxes()
        failed: Exception | None = None
        for (box, name), copies in self.present().items():
            if box in held or not all(rules.expired(box, message.text.when, now) for message in copies):
                continue
            try:
                async with self.turn:
                    await self._expire(parse_box(box), name, copies[0].text.when)
            except (AmiError, VoicemailRefused) as error:
                failed = failed or error
        shortest = rules.shortest_keep()
        limit = 0 if shortest is None else int(now - shortest) + 1
        async for row in self.archive.entries(before=limit):
            if row.hold is None and row.box not in held and rules.expired(row.box, row.when, now):
                async with self.turn:
                    if (row.box, row.message) not in self.present():
                        await self._shred(row, _kept_until(row.when, rules.of(row.box).keep))
                        self.counters.deleted += 1
        if failed is not None:
            raise failed

    async def _expire(self, box: Box, name: str, when: int) -> None:
        if await self.archive.hold_of(box, name) is not None:
            return
        reason = _kept_until(when, self._rules().of(box).keep)
        detail = {"box": str(box), "when": when}
        await self._store.audit.record(
            SYSTEM, "delete", "voicemail", name, reason=reason, via="retention", detail=detail
        )
        await self.remove(box, name)
        self.counters.deleted += 1
        log.info("a voice message was deleted", box=str(box), message=name, reason=reason)

    async def _shred(self, row: Archived, reason: str) -> None:
        detail = {"box": row.box, "when": row.when, "object": row.id}
        audit = self._store.audit
        await audit.record(SYSTEM, "delete", "voicemail", row.message, reason=reason, via="retention", detail=detail)
        try:
            await self.archive.shred(row)
        except ObjectGone as error:
            log.info("a voice message is gone already", box=row.box, message=row.message, error=str(error))


def _kept_until(when: int, keep: float | None) -> str:
    return f"kept until {time.strftime('%Y-%m-%d', time.gmtime(when + (keep or 0)))}"
