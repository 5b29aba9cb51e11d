"""`pbxctl recordings`: what is stored, for whoever may see it."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Id = Annotated[str, typer.Argument(help="Id of the recording, or of its call.")]


@app.command("list")
def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="How many at most.")] = 100,
    as_json: Json = False,
) -> None:
    """Recordings that you may know of, newest first."""
    found = context.obj.get("/v1/recordings", limit=limit)["recordings"]
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for one in found:
        start = datetime.fromtimestamp(one["start"] / 1_000_000).astimezone()
        people = ", ".join(party["number"] or party["endpoint"] for party in one["about"]["parties"])
        length = (one["end"] - one["start"]) / 1_000_000
        typer.echo(f"{one['id']:22}  {start:%Y-%m-%d %H:%M:%S}  {length:8.1f}s  {people}")


@app.command()
def show(context: typer.Context, recording: Id) -> None:
    """What is known of one recording, as JSON."""
    typer.echo(json.dumps(context.obj.get(f"/v1/recordings/{recording}"), indent=2, ensure_ascii=False))


@app.command()
def play(
    context: typer.Context,
    recording: Id,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; standard output if none.")
    ] = None,
) -> None:
    """Its sound: Ogg Opus, or FLAC. `pbxctl recordings play ID | ffplay -`"""
    sound, _ = context.obj.file(f"/v1/recordings/{recording}/sound")
    if output is None:
        sys.stdout.buffer.write(sound)
    else:
        output.write_bytes(sound)


@app.command()
def delete(
    context: typer.Context,
    recording: Id,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Destroy a recording: its key first, so that copies and backups of it are destroyed too."""
    if not yes:
        typer.confirm(f"Destroy the recording {recording} for good?", abort=True)
    context.obj.delete(f"/v1/recordings/{recording}")
    typer.echo("destroyed")
