"""`pbxctl stats`: the rollups that reports are made from, and what is kept for how long."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def _moment(micros: int | None) -> str:
    """A moment in the zone of whoever reads."""
    return "-" if micros is None else f"{datetime.fromtimestamp(micros / 1_000_000).astimezone():%Y-%m-%d %H:%M}"


@app.command()
def status(context: typer.Context, as_json: Json = False) -> None:
    """What waits to be rolled up, and since when calls and figures are kept."""
    found: dict[str, Any] = context.obj.get("/v1/stats")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(f"rolled up  {found['quarters']} quarters of an hour, {found['days']} days")
    typer.echo(f"waiting    {found['waiting_quarters']} quarters of an hour, {found['waiting_days']} days")
    typer.echo(f"oldest     call {_moment(found['oldest_call'])}")
    typer.echo(
        f"deleted    calls before {_moment(found['calls_from'])}, figures before {_moment(found['rollups_from'])}"
    )


@app.command()
def rebuild(context: typer.Context) -> None:
    """Make all rollups again from the calls; reports go on meanwhile."""
    done = context.obj.post("/v1/stats/rebuild", patient=True)
    typer.echo(f"{done['quarters']} quarters of an hour made again")


@app.command()
def purge(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Delete what is older than statistics.keep_calls and statistics.keep_rollups say; it happens daily by itself."""
    done = context.obj.post("/v1/stats/purge", patient=True, dry_run="1" if dry_run else "")
    if as_json:
        typer.echo(json.dumps(done, indent=2))
        return
    word = "would go" if dry_run else "deleted"
    typer.echo(
        f"{done['calls']} calls and {done['queue_log']} lines of queue_log {word}, before {_moment(done['calls_before'])}"
    )
    typer.echo(f"{done['rollups']} rows of figures {word}, before {_moment(done['rollups_before'])}")
