"""`pbxctl support`: who of the vendor may look at this box, for how long, and what was shown."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from pbxd.cli.plain import raw
from pbxd.cli.save import save
from pbxd.errors import SupportError
from pbxd.uplink.support.terminal import AFTER, Harmless
from pbxd.uplink.support.ticket import REASONS, SCOPES, SHELL_WARNING

UNITS = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
LONGEST_PAUSE = 2.0  # s between two pieces of a replay

app = typer.Typer(no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
TicketId = Annotated[str, typer.Argument(help="The ticket's id, as `list` shows it; the open one without it.")]


def seconds_of(text: str) -> float:
    """`30min`, `2h` as seconds. SupportError if it is written otherwise."""
    number, unit = text.rstrip("abcdefghijklmnopqrstuvwxyz"), text.lstrip("0123456789.")
    try:
        return float(number) * UNITS[unit]
    except (ValueError, KeyError) as error:
        raise SupportError(f"{text!r} is no time; write 30min or 2h") from error


def line(found: dict[str, Any]) -> str:
    """Support's status on one line."""
    if found["alarm"]:
        return f"ALARM: {found['alarm']}"
    if not found["open"]:
        waiting = found["proposals_waiting"]
        return "nobody can come in" + (f"; {waiting} proposed changes wait for your answer" if waiting else "")
    return f"ticket {found['ticket']} ({found['scope']}) is open until {when(found['until'])}, {found['sessions']} sessions"


def when(at: float) -> str:
    """A time as people here read it."""
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S}"


@app.command("open")
def open_ticket(
    context: typer.Context,
    reason: Annotated[str, typer.Option(help="; ".join(f"{name}: {text}" for name, text in REASONS.items()))],
    scope: Annotated[str, typer.Option(help=", ".join(SCOPES))] = "diagnose",
    duration: Annotated[str, typer.Option("--for", help="How long: 30min, 2h.")] = "2h",
    note: Annotated[str, typer.Option(help="What it is about, for your own records.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Open a ticket: the vendor's people may come in until it ends."""
    if scope == "shell":
        typer.echo(SHELL_WARNING)
        if not (yes or typer.confirm("OPEN THIS TICKET?")):
            raise typer.Exit(1)
    query = {"scope": scope, "reason": reason, "seconds": seconds_of(duration), "note": note}
    found = context.obj.post("/v1/support", patient=True, **query)
    box = found["box"]
    lines = [
        f"ticket {found['id']} is open until {when(found['until'])}, scope {found['scope']}: {REASONS[found['reason']]}",
        f"tell the vendor: ssh -J {box.get('hub', 'HUB')} {found['id']}@{box.get('id', 'BOX')}",
        f"this box's key there: {found['host_key']}",
        f"watch: pbxctl support watch {found['id']}",
        f"end it at once: pbxctl support end {found['id']}",
    ]
    if not box.get("on"):
        lines.append("the uplink is off: nobody can come in until it is on (`pbxctl uplink status` says why)")
    typer.echo("\n".join(lines))


@app.command("list")
def list_tickets(context: typer.Context, as_json: Json = False) -> None:
    """All tickets, the oldest first."""
    found = context.obj.get("/v1/support")["tickets"]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo("\n".join(map(row, found)) or "no tickets: nobody was ever let in")


def row(ticket: dict[str, Any]) -> str:
    """A ticket on one line."""
    return (
        f"{ticket['id']}  {ticket['state']:8} {ticket['scope']:9} {ticket['reason']:8} {when(ticket['opened'])} to "
        f"{when(ticket['ended'] or ticket['until'])}  by {ticket['by']}, {len(ticket['recordings'])} sessions  {ticket['note']}"
    )


@app.command()
def show(context: typer.Context, ticket: TicketId = "", as_json: Json = False) -> None:
    """All that is known of a ticket: who came in, who was refused and why, what was proposed, the recordings."""
    found = context.obj.get(f"/v1/support/{named(context, ticket)}")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(row(found))
    typer.echo(f"host key {found['host_key']}")
    for event in found["events"]:
        facts = "  ".join(
            f"{name}: {value}" for name, value in event.items() if name not in ("at", "event") and value != ""
        )
        typer.echo(f"{when(event['at'])}  {event['event']:8} {facts}")


def named(context: typer.Context, ticket: str) -> str:
    """The ticket that is meant. SupportError if none is named and none is open."""
    if ticket:
        return ticket
    for one in context.obj.get("/v1/support")["tickets"]:
        if one["state"] == "open":
            return str(one["id"])
    raise SupportError("no ticket is open; name one")


@app.command()
def end(context: typer.Context, ticket: TicketId = "") -> None:
    """End a ticket at once, with every session and process of it."""
    found = context.obj.post(f"/v1/support/{named(context, ticket)}/end")
    typer.echo(f"ticket {found['id']} is ended; nothing of it runs")


@app.command()
def watch(context: typer.Context, ticket: TicketId = "") -> None:
    """See what the vendor's people see, as they see it, until the ticket ends."""
    last, screens = 0, defaultdict[int, Harmless](Harmless)
    for piece in context.obj.lines(f"/v1/support/{named(context, ticket)}/watch", patient=True):
        if piece["session"] != last:
            last = piece["session"]
            raw(f"{AFTER}\r\n--- session {last} ---\r\n")
        if isinstance(piece["line"], list) and piece["line"][1] == "o":
            raw(screens[last].feed(str(piece["line"][2])))
    raw(f"{AFTER}\r\n--- the ticket has ended ---\r\n")


@app.command()
def replay(
    context: typer.Context,
    ticket: Annotated[str, typer.Argument(help="The ticket's id.")],
    session: Annotated[int, typer.Argument(help="The session's number, as `show` tells it.")] = 1,
    speed: Annotated[float, typer.Option(help="2 is twice as fast; 0 is all at once.")] = 1.0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the asciicast file here instead.")
    ] = None,
) -> None:
    """Show a session again, as it was."""
    data, _ = context.obj.file(f"/v1/support/{ticket}/recordings/{session}")
    if output is not None:
        save(iter((data,)), output)  # a shell's may hold communications
        typer.echo(f"{output}: {len(data)} bytes")
        return
    before, screen = 0.0, Harmless()
    for at, text in pieces(data):
        if speed > 0:
            time.sleep(min(LONGEST_PAUSE, max(0.0, at - before)) / speed)
        before = at
        raw(screen.feed(text))
    raw(AFTER)


def pieces(data: bytes) -> Iterator[tuple[float, str]]:
    """What a recording showed: seconds from its beginning, and the text."""
    for line in data.splitlines()[1:]:
        at, kind, text = json.loads(line)
        if kind == "o":
            yield at, text
