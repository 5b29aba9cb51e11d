"""Delivers the scheduled reports: waits for what is due, has the report made, and has a process of its own draw and mail it."""

from __future__ import annotations

import asyncio
import json
import time as clocks
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import time
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from pbxd.backoff import backoff
from pbxd.config.schema import Mail, Reports, Schedule
from pbxd.errors import PbxdError, ReportError
from pbxd.mail.errand import send_out
from pbxd.mail.server import described
from pbxd.reports.deliveries import Deliveries
from pbxd.reports.schedule import Due, latest, upcoming
from pbxd.reports.table import as_json
from pbxd.stats.report import Report
from pbxd.waking import woken

SECOND = 1_000_000  # µs
LOOK = 60.0  # s after which the clock is looked at again: it may have been set, or the machine have slept
FIRST, LONGEST = 60.0, 3600.0  # s between two tries of one delivery; one that was refused waits the longest at once
PROCESS_LIMIT = 900.0  # s that one delivery may take, its own tries included

MakeReport = Callable[[str, int, int, str], Awaitable[Report]]  # name, start, end (microseconds UTC), by

log = structlog.get_logger("pbxd.reports")


@dataclass(slots=True)
class Retry:
    """A delivery that failed."""

    due: int
    at: int  # µs: not before
    delays: Iterator[float]
    error: str


def now() -> int:
    """Microseconds since the epoch."""
    return clocks.time_ns() // 1000


class Scheduler:
    """`run` is a part of its own for the daemon's `supervise`; `configure` takes up a reload."""

    def __init__(self, config: Reports, zone: str, make_report: MakeReport, clock: Callable[[], int] = now) -> None:
        """`zone` is the site's, as an IANA name; `clock` gives microseconds since the epoch."""
        self.config = config
        self.zone = ZoneInfo(zone)
        self.make_report = make_report
        self.clock = clock
        self.deliveries = Deliveries(config.state)
        self.retries: dict[str, Retry] = {}
        self._changed = asyncio.Event()

    def configure(self, config: Reports, zone: str) -> None:
        """Take up a new configuration; what failed under the old one is tried at once."""
        self.config, self.zone = config, ZoneInfo(zone)
        self.retries.clear()
        self._changed.set()

    async def run(self) -> None:
        """Deliver what is due, for ever."""
        while True:
            self._changed.clear()
            wake = await self.deliver_due()
            pause = LOOK if wake is None else min(LOOK, max(0.0, (wake - self.clock()) / SECOND))
            await woken(self._changed, pause)

    async def deliver_due(self) -> int | None:
        """Try once all that is due now. When to look again (microseconds UTC); None is whenever."""
        if not self.config.schedules:
            return None
        try:
            delivered = await asyncio.to_thread(self._begin)
        except ReportError as error:
            log.error("what was delivered is not known, so nothing is sent", error=str(error))
            return None
        wakes = []
        for schedule in self.config.schedules:
            due, after = self._times(schedule, self.clock())
            if due.at > delivered[schedule.name]:
                retry = self.retries.get(schedule.name)
                if retry is None or retry.due != due.at or retry.at <= self.clock():
                    await self._try(schedule, due)
                failed = self.retries.get(schedule.name)
                wakes.append(failed.at if failed else after.at)
            wakes.append(after.at)
        return min(wakes)

    def status(self) -> list[dict[str, Any]]:
        """Each schedule: when it is due next, what was delivered last, and why it fails if it does. Times in microseconds UTC."""
        delivered = self.deliveries.read()
        return [
            {
                "name": schedule.name,
                "report": schedule.report,
                "next": self._times(schedule, self.clock())[1].at,
                "delivered": delivered.get(schedule.name),
                "error": self.retries[schedule.name].error if schedule.name in self.retries else "",
            }
            for schedule in self.config.schedules
        ]

    def _times(self, schedule: Schedule, moment: int) -> tuple[Due, Due]:
        at = time.fromisoformat(schedule.at)
        return latest(moment, schedule.period, at, self.zone), upcoming(moment, schedule.period, at, self.zone)

    def _begin(self) -> dict[str, int]:
        """What was delivered, with a beginning for schedules that are new: they do not send what was due before they were there.

        A delivery that lies in the future is from a clock that was wrong then; it would keep all others from being sent.
        """
        delivered = self.deliveries.read()
        changes = {}
        for schedule in self.config.schedules:
            due, after = self._times(schedule, self.clock())
            if schedule.name not in delivered or delivered[schedule.name] > after.at:
                changes[schedule.name] = due.at
        if changes:
            with self.deliveries.locked():
                self.deliveries.prepare(changes)()
        return delivered | changes

    async def _try(self, schedule: Schedule, due: Due) -> None:
        """One try of one delivery; a failure is logged and noted for the next."""
        try:
            report = await self.make_report(schedule.report, due.start, due.end, schedule.by)
            job = json.dumps(self._job(schedule, due, report)).encode()
            outcome = await send_out("pbxd.reports.deliver", job, PROCESS_LIMIT, env=self._environment())
        except PbxdError as error:
            outcome = {"result": "failed", "refused": {}, "error": str(error)}
        except Exception as error:
            log.exception("a report could not be made", schedule=schedule.name, report=schedule.report)
            outcome = {"result": "failed", "refused": {}, "error": f"{type(error).__name__}: {error}"}
        if outcome["result"] in ("sent", "already"):
            self.retries.pop(schedule.name, None)
            log.info(
                "a report was delivered", schedule=schedule.name, report=schedule.report, refused=outcome["refused"]
            )
            return
        before = self.retries.get(schedule.name)
        delays = before.delays if before and before.due == due.at else backoff(FIRST, LONGEST)
        delay = LONGEST if outcome["result"] == "refused" else next(delays)
        self.retries[schedule.name] = Retry(due.at, self.clock() + int(delay * SECOND), delays, outcome["error"])
        log.error("a report was not delivered", schedule=schedule.name, error=outcome["error"], again_in=round(delay))

    def _job(self, schedule: Schedule, due: Due, report: Report) -> dict[str, Any]:
        mail: Mail = self.config.mail
        return {
            "report": as_json(report),
            "format": schedule.format,
            "to": list(schedule.to),
            "sender": mail.sender,
            "schedule": schedule.name,
            "due": due.at,
            "state": str(self.deliveries.path),
            "server": described(mail),
        }

    def _environment(self) -> dict[str, str]:
        """matplotlib keeps its list of fonts in its folder, and the home may be read-only; charts need no thread for each core."""
        return {"MPLCONFIGDIR": str(self.deliveries.path.parent / "matplotlib"), "OPENBLAS_NUM_THREADS": "1"}
