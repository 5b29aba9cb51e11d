"""`pbxctl uplink proposals|proposal|messages`: what the vendor proposed and sent, and what you say to it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import typer

from pbxd.errors import ControlError, ProposalError

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
ProposalId = Annotated[str, typer.Argument(help="The proposal's id, as `pbxctl uplink proposals` shows it.")]
proposal = typer.Typer(no_args_is_help=True)


def add_to(uplink: typer.Typer) -> None:
    """Add these commands to `pbxctl uplink`."""
    uplink.add_typer(proposal, name="proposal", help="One proposed change: show, accept, refuse, undo.")
    uplink.command("proposals")(list_proposals)
    uplink.command("messages")(list_messages)


def when(at: float) -> str:
    """A time as people here read it."""
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M}"


def list_proposals(context: typer.Context, as_json: Json = False) -> None:
    """Changes of the configuration that were proposed, the oldest first."""
    found = context.obj.get("/v1/uplink/proposals")["proposals"]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo("\n".join(map(row, found)) or "nothing was proposed")


def row(one: dict[str, Any]) -> str:
    """A proposal on one line."""
    paths = ", ".join(change["path"] for change in one["changes"])
    why = one["why"].splitlines()[0] if one["why"] else one["reason"]
    return f"{one['id']}  {one['state']:11} {when(one['made'])}  {one['by']:12} {paths}  {why}"


@proposal.command()
def show(context: typer.Context, name: ProposalId, as_json: Json = False) -> None:
    """What it would change, as the configuration stands now."""
    found = context.obj.get(f"/v1/uplink/proposals/{name}")
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(lines(found)))


def lines(one: dict[str, Any]) -> list[str]:
    """A proposal for a person to read."""
    head = [row(one), f"proposed by {one['by']}, {one['source']}: {one['reason'] or 'no reason given'}"]
    if one["why"]:
        head.append(one["why"])
    return head + (one["difference"] or ["it changes nothing"] if one["state"] != "invalid" else [])


@proposal.command()
def accept(context: typer.Context, name: ProposalId) -> None:
    """Apply it. It stays if the doctor finds no more than before and Asterisk stays connected; else it is taken back by itself."""
    found = context.obj.post(f"/v1/uplink/proposals/{name}/accept", patient=True)
    if found["state"] != "applied":
        raise ProposalError(f"proposal {name} was applied and taken back: {found['why']}")
    typer.echo("\n".join(found["difference"]))
    waits = f"; at the next start: {', '.join(found['waits'])}" if found["waits"] else ""
    typer.echo(f"proposal {name} is in force{waits}. Take it back: pbxctl uplink proposal undo {name}")


@proposal.command()
def refuse(context: typer.Context, name: ProposalId) -> None:
    """Say no to it."""
    context.obj.post(f"/v1/uplink/proposals/{name}/refuse")
    typer.echo(f"proposal {name} is refused")


@proposal.command()
def undo(context: typer.Context, name: ProposalId) -> None:
    """Take it back: the configuration is as your own files say, and what else you accepted."""
    context.obj.post(f"/v1/uplink/proposals/{name}/undo", patient=True)
    typer.echo(f"proposal {name} is taken back")


def list_messages(
    context: typer.Context,
    show_all: Annotated[bool, typer.Option("--all", help="Those too that your rules hide.")] = False,
    as_json: Json = False,
) -> None:
    """Messages of the vendor, the oldest first: notices, offers, proposals, and what was refused and why."""
    found = context.obj.get("/v1/uplink/messages")["messages"]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    shown = [one for one in found if show_all or one["state"] != "hidden"]
    typer.echo("\n".join(line for one in shown for line in message_lines(one)) or "no messages")


def message_lines(one: dict[str, Any]) -> list[str]:
    """A message for a person to read."""
    head = f"{when(one['at'])}  {one['kind']:14} {one['state']:9} {one['detail']}".rstrip()
    message = one["message"] or {}
    match one["kind"]:
        case "notice":
            mark = "SECURITY: " if message["topic"] == "security" else ""
            return [head, f"  {mark}{message['title']}", *(f"  {line}" for line in message["text"].splitlines())]
        case "offer-update":
            return [head, f"  version {message['version']}: {message['summary']}", f"  sha256 {message['sha256']}"]
        case "propose-config" | "checkpoint" | "?":
            return [head]
        case other:
            raise ControlError(f"the message {one['id']} is of the kind {other}, which this pbxctl does not know")
