"""`pbxctl agi`: the FastAGI server, its applications, and the customer's scripts."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True)
AS_WHOM = {
    "user": "the user {user}",
    "own user": "pbxd's own user, who can read all recordings (agi.scripts.own_user)",
    "service": "the user of pbxd-scripts.service",
    "none": "nobody: pbxd-scripts.socket is not there, see docs/dialplan.md",
}
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def where(found: dict[str, Any]) -> str:
    """Where it listens, or why not."""
    return ", ".join(found["listening"]) or str(found["last_error"]) or "nowhere: agi.listen is empty"


def line(found: dict[str, Any]) -> str:
    """FastAGI's status on one line."""
    return (
        f"{where(found)}, {found['running']} sessions of at most {found['limit']}, {found['sessions']} since the start"
    )


@app.command()
def status(context: typer.Context, as_json: Json = False) -> None:
    """Where it listens, sessions now and since the start, and how they ended."""
    found: dict[str, Any] = context.obj.get("/v1/agi")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    ends = ", ".join(f"{count} {name}" for name, count in found["outcomes"].items() if count)
    refused = f"{found['refused']} may not speak" + (f" (last: {found['last_refused']})" if found["refused"] else "")
    typer.echo(f"listening  {where(found)}")
    typer.echo(f"sessions   {found['running']} now of at most {found['limit']}, {found['sessions']} since the start")
    typer.echo(f"ended      {ends or 'none yet'}")
    typer.echo(f"refused    {found['faults']} broke the protocol, {found['cut']} were too many, {refused}")
    typer.echo(f"may speak  {', '.join(found['may_speak'])}")
    typer.echo(f"scripts    {found['scripts_running']} now")


@app.command()
def routes(context: typer.Context, as_json: Json = False) -> None:
    """The applications: agi://127.0.0.1/NAME, and how often each was asked for."""
    found: dict[str, Any] = context.obj.get("/v1/agi/routes")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for route in found["routes"]:
        typer.echo(f"{route['name']:20} {route['sessions']:8}")


@app.command()
def scripts(context: typer.Context, as_json: Json = False) -> None:
    """The programs of agi.scripts.folder, and what is wrong with those that cannot run. Exit 1 if there is one."""
    found: dict[str, Any] = context.obj.get("/v1/agi/scripts")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    for script in [] if as_json else found["scripts"]:
        typer.echo(f"{script['name']:20} {script['sessions']:8}  {script['fault'] or 'ok'}")
    if not as_json and found["scripts"]:
        typer.echo(f"\nThey run as {AS_WHOM[found['way']].format(**found)}.")
    if not found["scripts"] and not as_json:
        typer.echo(f"no scripts in {found['folder']}")
    if any(script["fault"] for script in found["scripts"]):
        raise typer.Exit(1)
