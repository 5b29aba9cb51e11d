"""`pbxctl calls`: list, show, watch, export what the store has; import what a CEL file has."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from pbxd.cli.chart import chart
from pbxd.cli.listing import listed
from pbxd.cli.plain import called
from pbxd.cli.when import local, moment, span

app = typer.Typer(no_args_is_help=True)


class Format(StrEnum):
    """How records are written."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"


COLUMNS = (
    "id", "start", "answer", "end", "direction", "disposition", "reason", "cause", "hung_up_by", "caller_number",
    "caller_name", "caller_endpoint", "dialled", "answered_by", "account", "duration", "billed", "ring_time",
    "queue_time", "talk_time", "hold_time", "park_time", "mailbox", "customer", "tags",
)  # fmt: skip


Start = Annotated[str, typer.Option("--from", help="From: 2h, 3d, today, yesterday, 2026-11-24, 2026-11-24T10:30:00Z.")]
End = Annotated[str, typer.Option("--to", help="Until, exclusive; written like --from.")]
Number = Annotated[str, typer.Option(help="A number of any party, or as dialled.")]
Extension = Annotated[str, typer.Option(help="An extension that took part.")]
Queue = Annotated[str, typer.Option(help="A queue that the call was in.")]
Disposition = Annotated[
    str, typer.Option(help="answered, no_answer, busy, failed, voicemail, abandoned, cut; or a reason.")
]
Direction = Annotated[str, typer.Option(help="internal, inbound or outbound.")]
Output = Annotated[Format, typer.Option("--format", "-f", help="Text for people, JSON a line a call, or CSV.")]


def _query(start: str, end: str, **others: Any) -> dict[str, Any]:  # noqa: ANN401 - a query's values
    now = datetime.now().astimezone()
    times = {"start": start and moment(start, now), "end": end and moment(end, now)}
    return {**times, **others}


@app.command("list")
def list_calls(
    context: typer.Context, start: Start = "", end: End = "", number: Number = "", extension: Extension = "",
    queue: Queue = "", disposition: Disposition = "", direction: Direction = "",
    limit: Annotated[int, typer.Option(help="How many, the newest first.")] = 50, output: Output = Format.TEXT,
) -> None:  # fmt: skip
    """The newest calls."""
    query = _query(
        start, end, number=number, extension=extension, queue=queue, disposition=disposition, direction=direction
    )
    write(listed(context.obj, "/v1/calls", limit, "--from", **query), output)


@app.command("export")
def export_calls(
    context: typer.Context, start: Start = "", end: End = "", number: Number = "", extension: Extension = "",
    queue: Queue = "", disposition: Disposition = "", direction: Direction = "", output: Output = Format.CSV,
) -> None:  # fmt: skip
    """All calls, the oldest first."""
    query = _query(
        start, end, number=number, extension=extension, queue=queue, disposition=disposition, direction=direction
    )
    write(context.obj.lines("/v1/calls", limit=10**9, order="oldest", **query), output)


@app.command()
def show(
    context: typer.Context, call: Annotated[str, typer.Argument(help="Its id, or the uniqueid of any of its channels.")],
    output: Output = Format.TEXT,
) -> None:  # fmt: skip
    """One call, whole."""
    record = context.obj.get(f"/v1/calls/{call}")
    if output is Format.TEXT:
        typer.echo("\n".join(show_lines(record)))
    else:
        write([record], output)


@app.command()
def watch(context: typer.Context, output: Output = Format.TEXT) -> None:
    """Calls as they end, until Ctrl-C."""
    write(context.obj.lines("/v1/calls/watch", patient=True), output)


@app.command("import")
def import_calls(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="A CEL file, - for standard input, or the URL of a database.")],
    output: Annotated[
        Format | None, typer.Option("--format", "-f", help="Print the records; no daemon, no store.")
    ] = None,
    trunk: Annotated[
        list[str] | None, typer.Option(help="With --format: endpoints that lead outside, 'PJSIP/trunk-*'.")
    ] = None,
    columns: Annotated[str, typer.Option(help="What the columns are, in their order: eventtype,eventtime,…")] = "",
    table: Annotated[str, typer.Option(help="Table of the database.")] = "cel",
    zone: Annotated[str, typer.Option(help="Zone of times that have none: Europe/Berlin. Else site.time_zone.")] = "",
    again: Annotated[bool, typer.Option("--again", help="Read everything again, whatever was read before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the calls, write nothing.")] = False,
) -> None:
    """Read a history of calls: into the store, or with --format onto the screen. Stopped, it goes on where it was."""
    from pbxd.cli import imports  # noqa: PLC0415 - `pbxctl status` does not need it

    names = [name for name in columns.split(",") if name]
    local_only = output is not None or dry_run
    given = zone or ("" if local_only else context.obj.get("/v1/status")["time_zone"])
    with imports.opened(source, names, table, imports.zone_of(given)) as history:
        if output is not None:
            write(imports.records(history, trunk or []), output)
        elif dry_run:
            typer.echo(imports.count(history))
        else:
            typer.echo(imports.send(context.obj, history, again=again))


def write(records: Iterable[dict[str, Any]], output: Format) -> None:
    """Write records as they come."""
    if output is Format.JSON:
        for record in records:
            typer.echo(json.dumps(record, ensure_ascii=False))
    elif output is Format.CSV:
        table = csv.DictWriter(sys.stdout, COLUMNS, extrasaction="ignore")
        table.writeheader()
        table.writerows(records)
    else:
        typer.echo(
            f"{'START':19}  {'DIRECTION':9} {'CALLER':16} {'DIALLED':14} {'ENDED AS':22} {'TALK':>8}  ANSWERED BY"
        )
        for record in records:
            typer.echo(line(record))


def line(record: dict[str, Any]) -> str:
    """A call as one line of text."""
    ended = record["disposition"]
    if record["reason"] != ended:
        ended += f" ({record['reason']})"
    return (
        f"{local(record['start'])}  {record['direction']:9} {record['caller_number'][:16]:16} {record['dialled'][:14]:14} "
        f"{ended:22} {span(record['talk_time']):>8}  {record['answered_by']}"
    )


def show_lines(record: dict[str, Any]) -> list[str]:
    """A call as a page of text."""
    head = (
        "id",
        "direction",
        "disposition",
        "reason",
        "cause",
        "hung_up_by",
        "dialled",
        "account",
        "customer",
        "mailbox",
    )
    lines = [f"{name:14} {record[name]}" for name in head if record[name] not in ("", None)]
    if record["tags"]:
        lines.append(f"{'tags':14} {'; '.join(record['tags'])}")
    lines.append(
        f"{'caller':14} {called(record['caller_number'])} {called(record['caller_name'])} ({record['caller_endpoint']})"
    )
    lines += [f"{name:14} {local(record[name])}" for name in ("start", "answer", "end")]
    lengths = ("duration", "billed", "ring_time", "queue_time", "talk_time", "hold_time", "park_time")
    lines += [f"{name:14} {span(record[name])}" for name in lengths]
    lines += ["", "legs"]
    for leg in record["legs"]:
        lines.append(f"  {leg['role']:7} {leg['number']:14} {leg['channel']:34} talked {span(leg['talk_time'])}")
    return [*lines, "", *chart(record, shutil.get_terminal_size().columns)]
