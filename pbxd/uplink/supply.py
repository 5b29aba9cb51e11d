"""What the box has to tell: builds the entries through the gate and queues them. Where it stands is read from the ledger alone.

So each quarter of an hour is queued once, whatever was killed when.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pbxd import __version__
from pbxd.calls.site import Site
from pbxd.config.schema import Config
from pbxd.stats.engine import database_path
from pbxd.stats.layout import SLOT
from pbxd.stats.outgoing import next_quarter, quarter, used
from pbxd.stats.queries import Queries
from pbxd.stats.question import ReportSettings
from pbxd.uplink import gate, vitals
from pbxd.uplink.bodies import Entry
from pbxd.uplink.usage import DAY, Grown
from pbxd.uplink.vocabulary import time_of

if TYPE_CHECKING:
    from pbxd.uplink.ledger import Ledger

SETTLE = 120.0  # s after a quarter of an hour until it is taken; calls that end later change it, and it goes up again
SPOOL = 14 * 86_400.0  # s of statistics that are kept for an uplink that is down
REVISED = 90_000.0  # s for which quarters may change: a day, in which a caller may come back, and an hour
AT_ONCE = 16  # quarters in one look


class Box(Protocol):
    """What is asked of the daemon."""

    @property
    def config(self) -> Config:
        """The configuration in force."""

    @property
    def queries(self) -> Queries:
        """The store of statistics, for reading."""

    @property
    def report_settings(self) -> ReportSettings:
        """What reports are made with."""

    def status(self) -> dict[str, Any]:
        """State of every part."""

    def trunks(self) -> dict[str, str]:
        """Reachability of each trunk."""

    async def doctor(self) -> list[dict[str, str]]:
        """The usual faults."""


class Supply:
    """Fills the outbox of one box."""

    def __init__(
        self,
        box: Box,
        do: Callable[[Callable[[Ledger], object]], Awaitable[object]],
        ledger: Callable[[], Ledger],
        on: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        """`do` does something with the ledger, beside the loop; `on`: whether anything may be queued; `clock`: epoch seconds."""
        self._box = box
        self._do = do
        self._ledger = ledger
        self._on = on
        self._grown = Grown()
        self._clock = clock

    async def _queue(self, entry: Entry) -> None:
        """Queue it, if it may be still: that may have been switched while it was made."""

        def queue(ledger: Ledger) -> None:
            if self._on() and (entry.class_ != "stats" or self._box.config.uplink.share_statistics):
                ledger.queue(entry)

        await self._do(queue)

    async def config(self, tickets: Sequence[Mapping[str, Any]], messages: Sequence[Mapping[str, Any]]) -> None:
        """How the box is set up, if that is not what was queued last."""
        entry = gate.config(
            self._box.config, self._box.report_settings, __version__, tickets=tickets, messages=messages
        )
        last = self._ledger().book.last.get("config")
        if last is None or last.sha256 != hashlib.sha256(entry.body).hexdigest():
            await self._queue(entry)

    def _own(self) -> Callable[[str], bool]:
        """Which numbers are the site's own."""
        site = self._box.config.site
        phones, own = frozenset(site.phones.values()), Site(extensions=site.extensions)
        return lambda number: number in phones or own.is_extension(number)

    def _since(self) -> int:
        """The slot behind which statistics go up: the last that was queued, or in which it was switched on, or two weeks ago."""
        book = self._ledger().book
        on = [time_of(at).timestamp() for value, at in book.switches.values() if value == "true"]
        return max(
            max(book.slots, default=0),
            *(int(at * 1_000_000) // SLOT for at in on),
            int((self._clock() - SPOOL) * 1_000_000) // SLOT,
        )

    async def stats(self) -> None:
        """Quarters of an hour that are settled, in their order; what waits for too long is destroyed."""
        before = int((self._clock() - SETTLE) * 1_000_000) // SLOT
        for _ in range(AT_ONCE):
            found = await next_quarter(self._box.queries, self._since(), before)
            if found is None:
                break
            await self._queue(gate.stats(found, self._own()))
        oldest = (self._clock() - SPOOL) * 1_000_000 // SLOT
        old = [item for item in self._ledger().outbox.waiting() if item.slot is not None and item.slot < oldest]
        if old:
            await self._do(
                lambda ledger: ledger.destroy(
                    old, f"older than {SPOOL / 86_400:.0f} days", self._box.config.uplink.state
                )
            )

    async def revise(self) -> None:
        """Queue again the quarters of the last day that calls which ended later have changed."""
        first = int((self._clock() - REVISED) * 1_000_000) // SLOT
        for slot, sha256 in list(self._ledger().book.slots.items()):
            if slot < first:
                continue
            entry = gate.stats(await quarter(self._box.queries, slot), self._own())
            if hashlib.sha256(entry.body).hexdigest() != sha256:
                await self._queue(entry)

    async def health(self) -> None:
        """How the box is now."""
        config = self._box.config
        store = database_path(config.statistics.database)
        folders = {"outbox": config.uplink.outbox, "communications": config.comms.folder}
        folders |= {"statistics": store.parent} if store is not None else {}
        status, least = self._box.status(), config.uplink.usage_at_least
        use = await self._use(status)
        content = vitals.measure(status, await self._box.doctor(), self._box.trunks(), folders, gate.usage(use, least))
        await self._queue(gate.health(content))

    async def _use(self, status: Mapping[str, Any]) -> dict[str, int]:
        """What was used in the last whole UTC day; nothing that is counted of calls, if their statistics are not shared."""
        counters = {
            "recordings": (status["recording"] or {}).get("handed_over", 0),
            "agi_sessions": status["agi"]["sessions"],
        }
        now = self._clock()
        found = self._grown.look(counters, now)
        if self._box.config.uplink.share_statistics:
            today = int(now // DAY) * DAY
            found |= await used(self._box.queries, (today - DAY) * 1_000_000, today * 1_000_000)
        return found
