"""`pbxctl voicemail`: voice messages and greetings. Asterisk does what is done with them, so that lamps stay right."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from pbxd.errors import ControlError

app = typer.Typer(no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
BoxName = Annotated[str, typer.Argument(help="101, or 101@context.")]
MessageId = Annotated[str, typer.Argument(help="The message's id, as `list` shows it.")]
PLAYERS = (("aplay", "-q"), ("play", "-q"), ("paplay",))  # what may play a file here, with its options


def line(found: dict[str, Any]) -> str:
    """Voicemail's status on one line."""
    return str(found["last_error"]) or f"{found['new']} new of {found['messages']} messages in {found['boxes']} boxes"


def route(box: str, name: str, what: str = "") -> str:
    """The route of a message."""
    return f"/v1/voicemail/messages/{quote(box, safe='')}/{quote(name, safe='')}" + (f"/{what}" if what else "")


def row(message: dict[str, Any]) -> str:
    """A message on one line."""
    when = datetime.fromtimestamp(message["when"]).astimezone()
    who = " ".join(filter(None, (message["caller"], message["caller_name"]))) or "unknown"
    mark = "!" if message["urgent"] else "*" if message["new"] else " "
    return (
        f"{mark} {message['id']:24} {message['box']:16} {message['folder']:8} {when:%Y-%m-%d %H:%M:%S} "
        f"{message['duration']:4} s  {who}"
    )


@app.command("list")
def list_messages(
    context: typer.Context,
    box: Annotated[str, typer.Argument(help="101, or 101@context; all boxes without it.")] = "",
    folder: Annotated[str, typer.Option(help="Only this folder: INBOX, Old, Work …")] = "",
    as_json: Json = False,
) -> None:
    """Messages, the newest first; * is new, ! urgent."""
    found = context.obj.get("/v1/voicemail/messages", box=box, folder=folder)["messages"]
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(map(row, found)) or "no messages")


@app.command()
def show(context: typer.Context, box: BoxName, message: MessageId, as_json: Json = False) -> None:
    """All that is known of a message."""
    found = context.obj.get(route(box, message))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        typer.echo(f"{key:12} {value}")


@app.command()
def play(
    context: typer.Context,
    box: BoxName,
    message: MessageId,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Into this file instead; - is standard output.")
    ] = None,
) -> None:
    """Play a message here. It stays new: marking it is `mark`."""
    data, form = context.obj.file(route(box, message, "sound"))
    if output is not None:
        if str(output) == "-":
            sys.stdout.buffer.write(data)
        else:
            output.write_bytes(data)
            typer.echo(f"{len(data)} bytes of {form} in {output}")
        return
    player = next((command for command in PLAYERS if shutil.which(command[0])), None)
    if player is None:
        raise ControlError("there is no program here that plays sound (aplay, play, paplay): use --output FILE")
    with tempfile.NamedTemporaryFile(suffix=f".{form.lower()}") as file:
        file.write(data)
        file.flush()
        if subprocess.run([*player, file.name], check=False).returncode != 0:
            raise ControlError(f"{player[0]} could not play it: use --output FILE")


@app.command()
def move(
    context: typer.Context,
    box: BoxName,
    message: MessageId,
    folder: Annotated[str, typer.Argument(help="INBOX, Old, Work, Family, Friends, Cust1 … Cust5, Urgent.")],
) -> None:
    """Move a message into another folder of its box."""
    typer.echo(row(context.obj.post(route(box, message, "move"), folder=folder)))


@app.command()
def mark(
    context: typer.Context,
    box: BoxName,
    message: MessageId,
    read: Annotated[bool, typer.Option("--read/--unread", help="As one that was heard, or as new again.")] = True,
) -> None:
    """Mark a message as heard or as new: it moves between INBOX and Old."""
    typer.echo(row(context.obj.post(route(box, message, "read" if read else "unread"))))


@app.command()
def forward(
    context: typer.Context,
    box: BoxName,
    message: MessageId,
    to: Annotated[str, typer.Argument(help="The box that gets a copy.")],
    folder: Annotated[str, typer.Option(help="Into this folder there.")] = "INBOX",
) -> None:
    """Put a copy of a message into another box."""
    context.obj.post(route(box, message, "forward"), to=to, folder=folder)
    typer.echo(f"{message} is in {to} too")


@app.command()
def delete(
    context: typer.Context,
    box: BoxName,
    message: MessageId,
    yes: Annotated[bool, typer.Option("--yes", help="Without asking.")] = False,
) -> None:
    """Delete a message, for good."""
    if not yes:
        typer.confirm(f"delete {message} of {box} for good?", abort=True)
    typer.echo(f"deleted: {row(context.obj.delete(route(box, message)))}")


@app.command()
def boxes(context: typer.Context, as_json: Json = False) -> None:
    """The mailboxes that Asterisk has, and their greetings."""
    found = context.obj.get("/v1/voicemail/boxes")["boxes"]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for box in found:
        greetings = ", ".join(box["greetings"]) or "no greeting of its own"
        typer.echo(
            f"{box['box']:16} {box['name']:24} {box['new']:4} new {box['old']:4} old  {box['mail'] or '-':24} {greetings}"
        )


@app.command()
def greeting(
    context: typer.Context,
    box: BoxName,
    file: Annotated[
        Path | None, typer.Argument(help="A sound file: WAV, FLAC, Ogg, MP3. Without it: what there is.")
    ] = None,
    kind: Annotated[str, typer.Option(help="What for: unavailable, busy, name, temporary.")] = "unavailable",
    remove: Annotated[bool, typer.Option("--remove", help="Take it away.")] = False,
) -> None:
    """Show, upload or remove a box's greetings."""
    place = f"/v1/voicemail/greetings/{quote(box, safe='')}"
    if remove:
        found = context.obj.delete(f"{place}/{quote(kind, safe='')}")
    elif file is not None:
        try:
            data = file.read_bytes()
        except OSError as error:
            raise ControlError(f"{file} cannot be read: {error.strerror}") from error
        found = context.obj.put(f"{place}/{quote(kind, safe='')}", data)
    else:
        found = context.obj.get(place)
    for what, size in found["greetings"].items():
        typer.echo(f"{what:12} {size} bytes")
    if not found["greetings"]:
        typer.echo("no greeting of its own")
