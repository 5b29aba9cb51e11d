"""`pbxhub tickets` and `pbxhub staff`: who may go through to which box, and who did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pbxd.cli.hub_fleet import Json, moment, seconds
from pbxd.errors import HubError
from pbxd.hub import staff as people
from pbxd.hub.boxes import SECOND
from pbxd.hub.config import HubConfig
from pbxd.hub.database import Database, now
from pbxd.hub.reading import catch_up

app = typer.Typer(no_args_is_help=True)
Person = Annotated[str, typer.Argument(help="The name with which a person signs in.")]
SHOWN = 50  # lines of visits

TICKETS = (
    "SELECT boxes.id, boxes.name, tickets.id, opened, tickets.until, scope, reason, ended, EXISTS (SELECT 1 FROM links"
    " WHERE links.box = boxes.number AND links.ended IS NULL) FROM tickets JOIN boxes ON boxes.number = tickets.box"
    " ORDER BY opened DESC, tickets.id"
)
TICKET = ("box", "name", "ticket", "opened", "until", "scope", "reason", "ended", "reachable")
VISITS = (
    "SELECT boxes.id, person, address, visits.began, visits.ended, sent, received FROM visits"
    " JOIN links ON links.id = visits.link JOIN boxes ON boxes.number = links.box ORDER BY visits.id DESC LIMIT ?"
)
VISIT = ("box", "person", "address", "began", "ended", "sent", "received")


def add_to(root: typer.Typer) -> None:
    """The commands of this file."""
    root.add_typer(app, name="staff", help="People who may go through to boxes: list, add, remove, certify.")
    root.command()(tickets)


def tickets(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Those that ended too.")] = False,
    visits: Annotated[bool, typer.Option("--visits", help="Who went through, instead.")] = False,
    as_json: Json = False,
) -> None:
    """Tickets that owners of boxes hold open, as their boxes tell; with --visits, who went through."""

    async def work(database: Database, _config: HubConfig) -> list[dict[str, Any]]:
        if visits:
            found = await database.read("listing visits", VISITS, SHOWN)
            rows = [dict(zip(VISIT, row, strict=True)) for row in found]
            return [one | {"began": moment(one["began"]), "ended": moment(one["ended"])} for one in rows]
        return [one for one in await listed(database) if every or one["ended"] is None]

    found = context.obj.ask(work)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for one in found:
        typer.echo("  ".join(f"{name} {value}" for name, value in one.items() if value is not None))
    if not found:
        typer.echo("nobody went through" if visits else "no ticket is open")


async def listed(database: Database) -> list[dict[str, Any]]:
    """Every ticket that a box told of, as JSON has it."""
    await catch_up(database)
    rows = [dict(zip(TICKET, row, strict=True)) for row in await database.read("listing tickets", TICKETS)]
    return [one | {"ended": moment(one["ended"]), "reachable": bool(one["reachable"])} for one in rows]


@app.command("list")
def list_(context: typer.Context) -> None:
    """Everybody, with the key."""

    async def work(database: Database, _config: HubConfig) -> list[tuple[Any, ...]]:
        return await people.listed(database)

    for person, key, added in context.obj.ask(work):
        typer.echo(f"{person:16} since {moment(added)}  {key}")


@app.command()
def add(
    context: typer.Context,
    person: Person,
    key: Annotated[Path, typer.Argument(help="Public key: ~/.ssh/id_ed25519.pub.")],
) -> None:
    """Let a person in by a key; a new one takes the place of the old."""

    async def work(database: Database, _config: HubConfig) -> None:
        await people.add(database, person, _text(key))

    context.obj.ask(work)


@app.command()
def remove(context: typer.Context, person: Person) -> None:
    """Let a person in no more; connections of theirs end."""

    async def work(database: Database, _config: HubConfig) -> None:
        await people.remove(database, person)

    context.obj.ask(work)


@app.command()
def certify(
    context: typer.Context,
    person: Person,
    ticket: Annotated[str, typer.Argument(help="The ticket's id, as the owner of the box told it.")],
    key: Annotated[Path | None, typer.Option(help="Public key, where there is no store with it.")] = None,
    authority: Annotated[
        Path | None, typer.Option(help="The support CA's private key; else support_ca of `keys`.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The certificate's file; else it is printed.")
    ] = None,
    length: Annotated[str, typer.Option("--for", help="How long it is good: 1h. Empty: certificates.staff.")] = "",
) -> None:
    """Make the short-lived certificate with which a box lets a person in, for one ticket.

    This needs the support CA, which no node of the hub should have: run it where that key is, with --key and --authority.
    """
    from pbxd.hub.certificates import for_person  # noqa: PLC0415 - asyncssh, which the other commands need not
    from pbxd.hub.keys import line_of, private_key  # noqa: PLC0415

    people.check_person(person)
    people.check_ticket(ticket)
    config: HubConfig = context.obj.config() if authority is None or key is None or not length else HubConfig()
    line = line_of(_text(key)) if key is not None else _stored(context, person)
    start = now() // SECOND
    until = start + int(seconds(length) if length else config.certificates.staff)
    ca = private_key(authority or config.keys / "support_ca")
    certificate = for_person(ca, line, person, ticket, (start, until))
    if output is None:
        typer.echo(certificate)
        return
    try:
        output.write_text(certificate + "\n")
    except OSError as error:
        raise HubError(f"{output}: {error.strerror}") from error
    typer.echo(f"{output}: good until {moment(until * SECOND)}", err=True)


def _stored(context: typer.Context, person: str) -> str:
    async def work(database: Database, _config: HubConfig) -> str | None:
        return await people.key_of(database, person)

    found: str | None = context.obj.ask(work)
    if found is None:
        raise HubError(f"there is no {person}; `pbxhub staff add` brings one in, --key names a key")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise HubError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
