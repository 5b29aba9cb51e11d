"""`pbxctl report`: what the statistics say, as a table, for programs, as a page or on paper. Drawn here, not by the daemon."""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pbxd.cli.client import Client
from pbxd.cli.when import moment
from pbxd.errors import ReportError
from pbxd.stats.report import Report

app = typer.Typer(no_args_is_help=True)


class Format(StrEnum):
    """How a report is drawn."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"
    HTML = "html"
    PDF = "pdf"


Start = Annotated[str, typer.Option("--from", help="From: 2h, 3d, today, yesterday, 2026-11-24, 2026-11-24T10:30:00Z.")]
End = Annotated[str, typer.Option("--to", help="Until, exclusive; written like --from. Empty is now.")]
By = Annotated[str, typer.Option(help="What a row stands for: hour, weekday, day, …; empty is the report's own way.")]
Drawn = Annotated[Format, typer.Option("--format", "-f", help="text, json, csv, html or pdf.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="File to write; it is replaced whole or not at all.")
]
Queue = Annotated[str, typer.Option(help="Only this queue.")]
Agent = Annotated[str, typer.Option(help="Only this agent.")]
Extension = Annotated[str, typer.Option(help="Only this extension.")]
Trunk = Annotated[str, typer.Option(help="Only this trunk.")]


@app.command()
def calls(
    context: typer.Context, start: Start = "today", end: End = "", by: By = "", drawn: Drawn = Format.TEXT,
    output: Output = None, queue: Queue = "", extension: Extension = "", trunk: Trunk = "",
) -> None:  # fmt: skip
    """How many calls, how they ended, and how long people waited and talked."""
    _report(context.obj, "calls", start, end, drawn, output, by=by, queue=queue, extension=extension, trunk=trunk)


@app.command()
def queues(
    context: typer.Context, start: Start = "today", end: End = "", by: By = "", drawn: Drawn = Format.TEXT,
    output: Output = None, queue: Queue = "",
) -> None:  # fmt: skip
    """Queues: offered, answered, abandoned, service level, waiting times."""
    _report(context.obj, "queues", start, end, drawn, output, by=by, queue=queue)


@app.command()
def agents(
    context: typer.Context, start: Start = "today", end: End = "", by: By = "", drawn: Drawn = Format.TEXT,
    output: Output = None, agent: Agent = "", queue: Queue = "",
) -> None:  # fmt: skip
    """Agents: calls, talk time, pauses."""
    _report(context.obj, "agents", start, end, drawn, output, by=by, agent=agent, queue=queue)


@app.command()
def trunks(
    context: typer.Context, start: Start = "today", end: End = "", by: By = "", drawn: Drawn = Format.TEXT,
    output: Output = None, trunk: Trunk = "",
) -> None:  # fmt: skip
    """Trunks: calls in and out, minutes, how many at once."""
    _report(context.obj, "trunks", start, end, drawn, output, by=by, trunk=trunk)


@app.command()
def quality(
    context: typer.Context, start: Start = "today", end: End = "", by: By = "", drawn: Drawn = Format.TEXT,
    output: Output = None, extension: Extension = "", trunk: Trunk = "",
) -> None:  # fmt: skip
    """Voice quality: loss, jitter, round trip, MOS."""
    _report(context.obj, "quality", start, end, drawn, output, by=by, extension=extension, trunk=trunk)


@app.command()
def heatmap(
    context: typer.Context, start: Start = "28d", end: End = "", by: By = "", drawn: Drawn = Format.TEXT,
    output: Output = None, queue: Queue = "", extension: Extension = "", trunk: Trunk = "",
) -> None:  # fmt: skip
    """Calls by weekday and hour."""
    _report(context.obj, "heatmap", start, end, drawn, output, by=by, queue=queue, extension=extension, trunk=trunk)


def _report(
    client: Client, name: str, start: str, end: str, form: Format, output: Path | None, **query: str
) -> None:  # fmt: skip
    """Ask for the report, draw it, and write it to the file or to standard output."""
    if form is Format.PDF and output is None and sys.stdout.buffer.isatty():
        raise ReportError("a PDF is nothing for a terminal: name a file with --output, or send it on with |")
    now = datetime.now().astimezone()
    times = {"start": moment(start, now), "end": moment(end or "0s", now)}
    content = draw(client.get(f"/v1/reports/{name}", **times, **query), form)
    if output is not None:
        replace(output, content)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def draw(found: Any, form: Format) -> bytes:  # noqa: ANN401 - JSON
    """The daemon's JSON in another form. What draws is loaded only when it is asked for."""
    from pbxd.reports import table  # noqa: PLC0415 - `pbxctl status` does not need it

    return drawn(table.read_report(found), form)


def drawn(report: Report, form: Format) -> bytes:
    """A report in a form."""
    from pbxd.reports import table, text  # noqa: PLC0415 - as above

    if form is Format.HTML:
        from pbxd.reports import page  # noqa: PLC0415 - heavy

        return page.draw(report).encode()
    if form is Format.PDF:
        from pbxd.reports import pdf  # noqa: PLC0415 - heavy

        return pdf.draw(report)
    return {Format.JSON: table.draw_json, Format.CSV: table.draw_csv, Format.TEXT: text.draw}[form](report).encode()


def replace(path: Path, content: bytes) -> None:
    """Write the file whole: a reader sees the old or the new one, a failure leaves the old one. ReportError if it cannot be."""
    made = None
    try:
        handle, made = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        Path(made).chmod(0o666 & ~mask)  # mkstemp makes it for its owner alone
        Path(made).replace(path)
    except OSError as error:
        if made is not None:
            Path(made).unlink(missing_ok=True)
        raise ReportError(f"{path} cannot be written: {error.strerror}") from error
