"""A process with a scheduler in it, to be killed: `python -m tests.reports.host STATE PORT NOW`. One round, then `done`."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from pbxd.config.schema import Mail, Reports, Schedule
from pbxd.reports.scheduler import Scheduler
from pbxd.stats.report import Report
from tests.reports.conftest import days


async def make_report(name: str, start: int, end: int, by: str) -> Report:
    """The report asked for, over the period asked for."""
    return replace(days(), name=name, start=start, end=end, by=by or "day", title=f"Calls {start}")


def reports(state: Path, port: int) -> Reports:
    """Every morning at seven."""
    return Reports(
        schedules=(Schedule(name="morning", report="calls", to=("anna@example.org",), format="csv"),),
        state=state,
        mail=Mail(host="127.0.0.1", port=port, security="none", sender="pbx@example.org"),
    )


async def main() -> None:
    """One round."""
    state, port, moment = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    await Scheduler(reports(state, port), "Europe/Berlin", make_report, lambda: moment).deliver_due()
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
