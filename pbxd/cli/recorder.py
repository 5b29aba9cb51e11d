"""`pbxctl recorder`: calls that are being recorded now."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Call = Annotated[str, typer.Argument(help="Uniqueid of any channel of the call, as `pbxctl recorder list` shows it.")]


def line(found: dict[str, Any] | None) -> str:
    """The recorder's status on one line."""
    if found is None:
        return "off: recording.enabled is false"
    number = f"{found['recording']} calls are being recorded, {found['paused']} paused, {found['handed_over']} were since the start"
    if found["spools"]:
        number += f", in {found['spool']} now ({found['why']})"
    return f"{number}; {found['last_error']}" if found["last_error"] else number


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """Calls that are being recorded."""
    found = context.obj.get("/v1/recorder")["recordings"]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for one in found:
        since = datetime.fromtimestamp(one["start"] / 1_000_000).astimezone()
        people = ", ".join(party["number"] or party["endpoint"] for party in one["parties"])
        typer.echo(
            f"{one['id']:22}  since {since:%H:%M:%S}  {one['direction']:8}  {'paused' if one['paused'] else 'on':6}  {people}"
        )
    typer.echo(f"{len(found)} recorded now")


def _ask(context: typer.Context, call: str, what: str) -> None:
    context.obj.post(f"/v1/recorder/{call}/{what}")


@app.command()
def start(context: typer.Context, call: Call) -> None:
    """Record a call of which the rules say on_demand, or take a stopped one up again."""
    _ask(context, call, "start")


@app.command()
def stop(context: typer.Context, call: Call) -> None:
    """Keep nothing more of a call; what was recorded stays."""
    _ask(context, call, "stop")


@app.command()
def pause(context: typer.Context, call: Call) -> None:
    """Keep nothing until `resume`: a card number is about to be said."""
    _ask(context, call, "pause")


@app.command()
def resume(context: typer.Context, call: Call) -> None:
    """Go on after `pause`."""
    _ask(context, call, "resume")
