"""`pbxctl recordings`: what is stored, for whoever may have it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from pbxd.cli.listing import listed
from pbxd.cli.save import save
from pbxd.cli.when import moment
from pbxd.errors import ControlError

app = typer.Typer(no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Id = Annotated[str, typer.Argument(help="Id of the recording, or of its call.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="File to write; standard output if none.")]


def line(found: dict[str, Any]) -> str:
    """What is stored, on one line."""
    number = f"{found['recordings']} in the vault, {found['held']} held, {found.get('waiting', 0)} wait in the spool"
    return f"{number}; {found['error']}" if found["error"] else number


def _route(recording: str, what: str = "") -> str:
    return f"/v1/recordings/{quote(recording, safe='')}{what}"


@app.command("list")
def list_(
    context: typer.Context,
    start: Annotated[str, typer.Option("--from", help="From: 2h, 3d, today, 2026-11-24, 2026-11-24T10:30:00Z.")] = "",
    end: Annotated[str, typer.Option("--to", help="Until, exclusive; written like --from.")] = "",
    number: Annotated[str, typer.Option(help="A number of any party.")] = "",
    queue: Annotated[str, typer.Option(help="A queue that the caller waited in.")] = "",
    class_: Annotated[str, typer.Option("--class", help="A class of recording.classes, or call.")] = "",
    held: Annotated[bool, typer.Option("--held", help="Only those that are held.")] = False,
    limit: Annotated[int, typer.Option(help="How many, the newest first.")] = 100,
    as_json: Json = False,
) -> None:
    """Recordings that you may know of, newest first."""
    now = datetime.now().astimezone()
    times = {"start": start and moment(start, now), "end": end and moment(end, now)}
    wanted = {"number": number, "queue": queue, "held": int(held), "class": class_, **times}
    found = listed(context.obj, "/v1/recordings", limit, "--from", **wanted)
    if as_json:
        typer.echo(json.dumps(list(found), indent=2, ensure_ascii=False))
        return
    for one in found:
        typer.echo(_line(one))


def _line(one: dict[str, Any]) -> str:
    start = datetime.fromtimestamp(one["start"] / 1_000_000).astimezone()
    held = f"  held: {one['hold']}" if one["hold"] else ""
    people = ", ".join(one["extensions"]) + (f"  {one['queue']}" if one["queue"] else "")
    what = f"{one['direction']:8}  {one['class']:8}"
    return f"{one['id']:22}  {start:%Y-%m-%d %H:%M:%S}  {one['seconds']:8.1f}s  {what}  {people}{held}"


@app.command()
def show(context: typer.Context, recording: Id) -> None:
    """All that is known of one recording, as JSON."""
    typer.echo(json.dumps(context.obj.get(_route(recording)), indent=2, ensure_ascii=False))


@app.command()
def play(
    context: typer.Context,
    recording: Id,
    start: Annotated[str, typer.Option("--from", help="Where to begin: 90, 1:30 or 1:02:03; then it is WAV.")] = "",
    wav: Annotated[bool, typer.Option("--wav", help="As WAV; else as it is stored, Ogg Opus or FLAC.")] = False,
    output: Output = None,
) -> None:
    """Its sound. `pbxctl recordings play ID --from 1:30 | aplay`"""
    seconds = offset(start)
    query = {"from": seconds or "", "format": "wav" if wav else "", "download": int(output is not None)}
    save(context.obj.stream(_route(recording, "/sound"), **query), output)


@app.command()
def export(
    context: typer.Context,
    person: Annotated[str, typer.Option(help="Name of a person in `people`.")] = "",
    number: Annotated[str, typer.Option(help="A number, of whomever.")] = "",
    output: Output = None,
) -> None:
    """All recordings of a person, with all that is known of them, as one zip: for a request for access to one's data."""
    if bool(person) == bool(number):
        raise typer.BadParameter("say whose: --person or --number")
    save(context.obj.stream("/v1/recordings/export", person=person, number=number), output)


@app.command()
def delete(
    context: typer.Context,
    recording: Id,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Destroy a recording: its key first, so that copies of it are destroyed too."""
    if not yes:
        typer.confirm(f"Destroy the recording {recording} for good?", abort=True)
    context.obj.delete(_route(recording))
    typer.echo("destroyed")


@app.command()
def hold(
    context: typer.Context, recording: Id, reason: Annotated[str, typer.Option(help="Which case it is for.")]
) -> None:
    """Keep a recording until it is released, whatever else says."""
    context.obj.post(_route(recording, "/hold"), reason=reason)
    typer.echo("held")


@app.command("class")
def class_(
    context: typer.Context,
    recording: Id,
    name: Annotated[str, typer.Argument(help="One of recording.classes, or call.")],
) -> None:
    """Give a recording another class: how long it is kept."""
    context.obj.post(_route(recording, "/class"), name=name)
    typer.echo(name)


@app.command()
def release(context: typer.Context, recording: Id) -> None:
    """Take a hold off."""
    context.obj.post(_route(recording, "/release"))
    typer.echo("released")


def offset(text: str) -> int:
    """`90`, `1:30`, `1:02:03` as seconds. ControlError if it is none."""
    parts = text.split(":") if text else ["0"]
    if len(parts) > 3 or not all(part.isdecimal() for part in parts):
        raise ControlError(f"{text!r} is no place in a recording: write 90, 1:30 or 1:02:03")
    seconds = 0
    for part in parts:
        seconds = seconds * 60 + int(part)
    return seconds
