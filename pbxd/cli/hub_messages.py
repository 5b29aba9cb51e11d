"""`pbxhub propose`, `notice` and `offer`: messages down. A box shows each to its owner, who decides."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from pbxd.cli.hub_fleet import Box, seconds
from pbxd.errors import HubError
from pbxd.hub import boxes, messages
from pbxd.hub.config import HubConfig
from pbxd.hub.database import Database
from pbxd.hub.keys import message_key

Length = Annotated[str, typer.Option("--for", help="How long it is good: 7d, 12h.")]
ALL = "all"
BoxOrAll = Annotated[str, typer.Argument(help="The box's id, or `all`.")]


def add_to(app: typer.Typer) -> None:
    """The commands of this file."""
    app.command()(propose)
    app.command()(notice)
    app.command()(offer)


def propose(
    context: typer.Context,
    box: Box,
    change: Annotated[list[str], typer.Argument(help="What to change: a.b.c=VALUE, VALUE as JSON or a word.")],
    reason: Annotated[str, typer.Option(help="Why, for the owner of the box.")],
    by: Annotated[str, typer.Option(help="Who proposes it.")],
    length: Length = "30d",
) -> None:
    """Propose a change of a box's configuration. Nothing is changed unless its owner, or the owner's own rule, takes it."""
    changes = [_change(one) for one in change]
    _send(context, box, "propose-config", {"changes": changes, "reason": reason, "by": by}, length)


def _change(text: str) -> dict[str, Any]:
    path, mark, value = text.partition("=")
    if not mark:
        raise HubError(f"{text!r}: a change is written a.b.c=VALUE")
    try:
        return {"path": path, "value": json.loads(value)}
    except ValueError:
        return {"path": path, "value": value}


def notice(
    context: typer.Context,
    box: BoxOrAll,
    title: str,
    text: str,
    topic: Annotated[str, typer.Option(help="product, security or service; owners can turn off product.")] = "service",
    length: Length = "30d",
) -> None:
    """Send a notice to the owner of a box, or of all boxes."""
    _send(context, box, "notice", {"title": title, "text": text, "topic": topic}, length)


def offer(
    context: typer.Context,
    box: BoxOrAll,
    version: str,
    sha256: Annotated[str, typer.Argument(help="Of the package, 64 hex digits.")],
    summary: Annotated[str, typer.Option(help="What is new in it.")],
    length: Length = "90d",
) -> None:
    """Offer an update. A box installs nothing by it."""
    _send(context, box, "offer-update", {"version": version, "summary": summary, "sha256": sha256}, length)


def _send(context: typer.Context, box: str, kind: str, fields: dict[str, Any], length: str) -> None:
    """Put it into the queue of each box that it is for; the ids are printed."""
    letter = messages.Letter(kind, fields, seconds(length))

    async def work(database: Database, config: HubConfig) -> list[tuple[str, str]]:
        signer = message_key(config.keys)
        every = "SELECT id FROM boxes WHERE revoked IS NULL ORDER BY number"
        ids = [box] if box != ALL else [str(row[0]) for row in await database.read("listing boxes", every)]
        rows = [await boxes.get(database, one) for one in ids]
        return [(row.id, await messages.queue(database, signer, row, letter)) for row in rows]

    for one, message in context.obj.ask(work):
        typer.echo(f"{one}  {message}")
