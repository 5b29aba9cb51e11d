"""`pbxctl vault` and `pbxctl audit`: the store of communications, and who did what with it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import typer

from pbxd.cli.listing import listed
from pbxd.cli.recordings import Json, Output
from pbxd.cli.save import save
from pbxd.cli.when import moment

app = typer.Typer(no_args_is_help=True)
audit = typer.Typer(no_args_is_help=True)


def line(found: dict[str, Any]) -> str:
    """The store's status on one line."""
    if not found["open"]:
        return f"not open: {found['error'] or 'pbxd is starting'}"
    wrong = f", {len(found['missing'])} objects missing" if found["missing"] else ""
    return f"{found['folder']}, {found['free'] / 2**30:.1f} GiB free{wrong}"


@app.command()
def status(context: typer.Context, as_json: Json = False) -> None:
    """Whether the store is open, with which key, and what is wrong with it."""
    found: dict[str, Any] = context.obj.get("/v1/vault")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(f"store    {found['folder']}, {'open' if found['open'] else 'not open: ' + found['error']}")
    typer.echo(f"key      {found['recipient'] or '-'}")
    typer.echo(f"disk     {found['free'] / 2**30:.1f} GiB free")
    typer.echo(f"missing  {len(found['missing'])} objects; {found['orphans']} without a row were set aside")


@app.command()
def verify(context: typer.Context, as_json: Json = False) -> None:
    """Decrypt every object and compare it with its row. Reads the whole store. Exit 1 if something is wrong."""
    found = context.obj.post("/v1/vault/verify", patient=True)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        typer.echo(f"{found['objects']} objects, {found['bytes'] / 1e6:.1f} MB, {len(found['faults'])} wrong")
        typer.echo("".join(f"{fault}\n" for fault in found["faults"]), nl=False)
    if found["faults"]:
        raise typer.Exit(1)


@app.command()
def rekey(context: typer.Context, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Give the store a new key. Copies of the old key then open nothing of this store; objects are not rewritten."""
    if not yes:
        typer.confirm("Make a new key for the store? Copy the new key file to a safe place afterwards.", abort=True)
    found = context.obj.post("/v1/vault/rekey", patient=True)
    typer.echo(f"{found['resealed']} keys were wrapped anew for {found['recipient']}")


@app.command()
def export(context: typer.Context, output: Output = None) -> None:
    """Everything in the vault, decrypted, as one tar file. For root only."""
    save(context.obj.stream("/v1/vault/export"), output)


@audit.command("list")
def list_(
    context: typer.Context,
    start: Annotated[str, typer.Option("--from", help="From: 2h, 3d, today, 2026-11-24, 2026-11-24T10:30:00Z.")] = "",
    end: Annotated[str, typer.Option("--to", help="Until, exclusive; written like --from.")] = "",
    who: Annotated[str, typer.Option(help="Name of a person, root, or pbxd.")] = "",
    subject: Annotated[str, typer.Option(help="Id of what it was about.")] = "",
    limit: Annotated[int, typer.Option(help="How many, the newest last.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON each.")] = False,
) -> None:
    """Who did what, and who was refused."""
    now = datetime.now().astimezone()
    times = {"start": start and moment(start, now), "end": end and moment(end, now)}
    for row in listed(context.obj, "/v1/audit", limit, "--from", who=who, subject=subject, **times):
        typer.echo(json.dumps(row, ensure_ascii=False) if as_json else _line(row))


def _line(row: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(row["at"] / 1_000_000).astimezone()
    done = "allowed" if row["allowed"] else "REFUSED"
    return (
        f"{row['seq']:6}  {at:%Y-%m-%d %H:%M:%S}  {row['who']:12} {row['action']:8} {row['kind']:9} {row['subject']:22} "
        f"{done}  {row['reason']}"
    )


@audit.command("verify")
def audit_verify(context: typer.Context, as_json: Json = False) -> None:
    """Whether the log is as it was written. Exit 1 if not. Keep the hash elsewhere: it proves all rows up to it."""
    found = context.obj.post("/v1/audit/verify", patient=True)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        typer.echo(f"{found['rows']} rows, the last one is {found['seq']} with the hash {found['hash']}")
        typer.echo("".join(f"{fault}\n" for fault in found["faults"]), nl=False)
    if found["faults"]:
        raise typer.Exit(1)
