"""Reports of what a box uploaded: the same that the box makes itself, of what its customer shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pbxd.errors import ReportError
from pbxd.hub.boxes import BoxRow
from pbxd.hub.database import Database, run
from pbxd.hub.figures import read_entry
from pbxd.hub.reading import read_all
from pbxd.hub.schema import UPLOADED
from pbxd.stats.layout import SLOT
from pbxd.stats.question import TITLES, Asked, Question, ReportSettings
from pbxd.stats.report import Column, Report
from pbxd.stats.reports import OLD, from_rollups
from pbxd.stats.rollup import roll_up_day

NOT_UPLOADED = "agents are persons: their figures stay on the box"
DISABLED = "disabled by the customer"


@dataclass(frozen=True, slots=True)
class Told:
    """What a box's newest configuration says that reports need."""

    share_statistics: bool
    settings: ReportSettings
    config: Mapping[str, Any] = field(default_factory=dict)


async def told(database: Database, box: BoxRow) -> Told | None:
    """The newest configuration of a box; None if it never sent one. Whatever of it is held is read first."""
    await read_all(database, box.number)
    sql = (
        "SELECT body FROM entries WHERE box = ? AND \"class\" = 'config' AND why = '' AND body IS NOT NULL"
        " ORDER BY accepted DESC, number DESC LIMIT 1"
    )
    found = await database.read("reading a configuration", sql, box.number)
    if not found:
        return None
    said = read_entry("config", bytes(found[0][0]))
    report = said["report"]
    settings = ReportSettings(
        said["site"], said["zone"], report["service_level"], report["service_levels"], report["service_target"],
        report["short_abandon"], report["wrapup"],
    )  # fmt: skip
    return Told(bool(said["share_statistics"]), settings, said["config"])


async def report(database: Database, box: BoxRow, question: Question) -> Report:
    """A report of what was uploaded; one that says so where it is disabled. ReportError if there is none such."""
    if question.name == "agents":
        raise ReportError(NOT_UPLOADED)
    known = await told(database, box)
    settings = ReportSettings(site=box.name) if known is None else known.settings
    asked = Asked.of(question, settings)
    if known is not None and not known.share_statistics:
        title, by = f"{TITLES[asked.name]}: {DISABLED}", Column(asked.by, asked.by.capitalize(), "text")
        times = (asked.first * SLOT, asked.end * SLOT)
        note = f"Statistics of this box: {DISABLED}."
        return Report(asked.name, title, settings.site, settings.zone, *times, asked.by, (by,), (), notes=(note,))
    await roll_up(database, box.number, asked.end)
    async with database.reading("making a report") as connection:
        return await from_rollups(connection, box.number, settings, asked)


async def roll_up(database: Database, box: int, before: int) -> None:
    """Make the days of a box that are older than their quarters, before the slot `before`."""
    if not (await database.read("looking for old days", OLD, box, before))[0][0]:
        return
    more = True
    while more:
        async with database.writing("rolling up a day") as connection:
            await run(
                connection, "UPDATE boxes SET slot = slot WHERE number = ?", box
            )  # two reports at once take turns
            more = await roll_up_day(connection, box, before, UPLOADED)
