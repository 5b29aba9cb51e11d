"""`pbxhub boxes` and `pbxhub show`: what the hub knows of the boxes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from pbxd.config.values import duration
from pbxd.errors import HubError
from pbxd.hub import boxes as registry
from pbxd.hub import messages, reading
from pbxd.hub.boxes import SECOND
from pbxd.hub.config import HubConfig
from pbxd.hub.database import Database, now

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Box = Annotated[str, typer.Argument(help="The box's id.")]
NODE_GONE = 20 * SECOND  # since a node's last sign of life: what it held is no longer connected

LIST = (
    "SELECT boxes.id, boxes.name, version, boxes.seen, until, revoked, session IS NOT NULL AND coalesce(nodes.seen, 0) > ?,"
    ' "next", (SELECT count(*) FROM alarms WHERE alarms.box = boxes.number) FROM boxes'
    " LEFT JOIN nodes ON nodes.name = boxes.node LEFT JOIN ledgers ON ledgers.id = boxes.ledger ORDER BY boxes.name, boxes.id"
)
NAMES = ("box", "name", "version", "seen", "certificate_until", "revoked", "connected", "entries", "alarms")


def seconds(text: str) -> float:
    """A duration on the command line. HubError if it is none."""
    try:
        return duration(text)
    except ValueError as error:
        raise HubError(f"{text!r}: {error}") from error


def moment(micros: int | None) -> str | None:
    """A time for people and programs: RFC 3339, UTC, to the second."""
    return None if micros is None else f"{datetime.fromtimestamp(micros // SECOND, UTC):%Y-%m-%dT%H:%M:%SZ}"


def add_to(app: typer.Typer) -> None:
    """The commands of this file."""
    app.command()(boxes)
    app.command()(show)


async def listed(database: Database) -> list[dict[str, Any]]:
    """Every box, as JSON has it."""
    found = []
    for row in await database.read("listing boxes", LIST, now() - NODE_GONE):
        one = dict(zip(NAMES, row, strict=True))
        one |= {name: moment(one[name]) for name in ("seen", "certificate_until", "revoked")}
        one["connected"] = bool(one["connected"])
        found.append(one)
    return found


def boxes(context: typer.Context, as_json: Json = False) -> None:
    """Every box: whether it is connected, how much it sent, what is wrong with it."""

    async def work(database: Database, _config: HubConfig) -> list[dict[str, Any]]:
        return await listed(database)

    found = context.obj.ask(work)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for one in found:
        state = "revoked" if one["revoked"] else "connected" if one["connected"] else f"seen {one['seen'] or 'never'}"
        alarm = f"  {one['alarms']} ALARMS: pbxhub show {one['box']}" if one["alarms"] else ""
        typer.echo(
            f"{one['box']}  {one['name']:24}  {one['version'] or '-':8}  {one['entries'] or 0:7} entries  {state}{alarm}"
        )
    if not found:
        typer.echo("no box is enrolled; `pbxhub token` makes a token for one")


def show(context: typer.Context, box: Box, as_json: Json = False) -> None:
    """One box: certificate, newest configuration and health, messages, alarms."""

    async def work(database: Database, _config: HubConfig) -> dict[str, Any]:
        row = await registry.get(database, box)
        await reading.read_all(database, row.number)
        return next(one for one in await listed(database) if one["box"] == box) | await _details(database, row)

    found = context.obj.ask(work)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        if isinstance(value, list):
            typer.echo(f"{name}:{'' if value else ' none'}")
            for one in value:
                typer.echo("  " + "  ".join(f"{key} {part}" for key, part in one.items()))
        elif isinstance(value, dict):
            typer.echo(f"{name}: {json.dumps(value)}")
        else:
            typer.echo(f"{name}: {value}")


async def _details(database: Database, row: registry.BoxRow) -> dict[str, Any]:
    newest = (
        "SELECT created, body FROM entries WHERE box = ? AND \"class\" = ? AND why = ''"
        " ORDER BY accepted DESC, number DESC LIMIT 1"
    )
    found: dict[str, Any] = {"key": row.key, "node": row.node}
    for class_ in ("config", "health"):
        entry = await database.read("reading an entry", newest, row.number, class_)
        found[class_] = {"created": entry[0][0], **json.loads(bytes(entry[0][1]))} if entry else None
    sql = 'SELECT "class", why, count(*), sum(size) FROM entries WHERE box = ? GROUP BY "class", why ORDER BY "class", why'
    found["held"] = [
        {"class": class_ or "-", "why": why or "held", "entries": count, "bytes": int(size)}
        for class_, why, count, size in await database.read("counting entries", sql, row.number)
    ]
    sql = "SELECT size, received FROM checkpoints WHERE ledger = ? ORDER BY size DESC LIMIT 1"
    found["checkpoint"] = [
        {"size": size, "received": moment(at)} for size, at in await database.read("reading", sql, row.ledger)
    ]
    found["messages"] = [
        {"id": message, "kind": kind, "issued": moment(issued), "received": moment(received)}
        for message, kind, issued, _, received in await messages.listed(database, row.number, 20)
    ]
    sql = "SELECT at, kind, text FROM alarms WHERE box = ? ORDER BY id DESC LIMIT 20"
    found["alarms"] = [
        {"at": moment(at), "kind": kind, "text": text}
        for at, kind, text in await database.read("reading", sql, row.number)
    ]
    return found
