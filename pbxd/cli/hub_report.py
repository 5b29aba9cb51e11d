"""`pbxhub report`: the reports that the box makes of itself, made of what it uploaded."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from pbxd.cli.hub_fleet import Box
from pbxd.cli.report import By, Drawn, End, Extension, Format, Output, Queue, Start, Trunk, drawn, replace
from pbxd.cli.when import moment
from pbxd.errors import ReportError
from pbxd.hub import boxes, reports
from pbxd.hub.config import HubConfig
from pbxd.hub.database import Database
from pbxd.stats.question import Question
from pbxd.stats.report import Report


def add_to(app: typer.Typer) -> None:
    """The command of this file."""
    app.command()(report)


def report(
    context: typer.Context, box: Box,
    name: Annotated[str, typer.Argument(help="calls, queues, trunks, quality or heatmap.")] = "calls",
    start: Start = "7d", end: End = "", by: By = "", form: Drawn = Format.HTML, output: Output = None,
    queue: Queue = "", extension: Extension = "", trunk: Trunk = "",
) -> None:  # fmt: skip
    """A report of a box, as it makes it itself. Times without a zone are of the box's zone."""
    if form in (Format.HTML, Format.PDF) and output is None and sys.stdout.buffer.isatty():
        raise ReportError("a page is nothing for a terminal: name a file with --output, or send it on with |")

    async def work(database: Database, _config: HubConfig) -> Report:
        row = await boxes.get(database, box)
        known = await reports.told(database, row)
        now = datetime.now(UTC).astimezone(ZoneInfo(known.settings.zone) if known else UTC)
        filters = {"queue": queue, "extension": extension, "trunk": trunk}
        question = Question(name, moment(start, now), moment(end or "0s", now), by, filters)
        return await reports.report(database, row, question)

    content = drawn(context.obj.ask(work), form)
    if output is not None:
        replace(Path(output), content)
    else:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
