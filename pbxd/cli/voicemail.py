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

from pbxd.cli.plain import called
from pbxd.cli.save import save
from pbxd.errors import ControlError

app = typer.Typer(no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
BoxName = Annotated[str, typer.Argument(help="101, or 101@context.")]
MessageId = Annotated[str, typer.Argument(help="The message's id, as `list` shows it.")]
PLAYERS = (("aplay", "-q"), ("play", "-q"), ("paplay",))  # what may play a file here, with its options


def line(found: dict[str, Any] | None) -> str:
    """Voicemail's status on one line."""
    if found is None:
        return "off: voicemail.enabled is false"
    error = found["last_error"] or found["upkeep"]["error"] or found["notices"]["error"]
    number = (
        f"{found['new']} new of {found['messages']} messages in {found['boxes']} boxes, {found['archived']} archived"
    )
    return f"{number}; {error}" if error else number


def route(box: str, name: str, what: str = "") -> str:
    """The route of a message."""
    return f"/v1/voicemail/messages/{quote(box, safe='')}/{quote(name, safe='')}" + (f"/{what}" if what else "")


def box_route(box: str) -> str:
    """The route of a mailbox's hold."""
    return f"/v1/voicemail/boxes/{quote(box, safe='')}/hold"


def row(message: dict[str, Any]) -> str:
    """A message on one line."""
    when = datetime.fromtimestamp(message["when"]).astimezone()
    who = called(f"{message['caller']} {message['caller_name']}") or "unknown"
    mark = "!" if message["urgent"] else "*" if message["new"] else " "
    held = f"  held: {message['hold']}" if message["hold"] else ""
    return (
        f"{mark} {message['id']:24} {message['box']:16} {message['folder']:8} {when:%Y-%m-%d %H:%M:%S} "
        f"{message['duration']:4} s  {who}{held}"
    )


@app.command("list")
def list_messages(
    context: typer.Context,
    box: Annotated[str, typer.Argument(help="101, or 101@context; all boxes without it.")] = "",
    folder: Annotated[str, typer.Option(help="Only this folder: INBOX, Old, Work …")] = "",
    archived: Annotated[
        bool, typer.Option("--archived", help="Those in the archive, not those in the mailbox.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Messages that you may know of, the newest first; * is new, ! urgent."""
    wanted = {"box": box, "folder": folder, "archived": "1" if archived else ""}
    found = context.obj.get("/v1/voicemail/messages", **wanted)["messages"]
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(map(row, found)) or "no messages")


@app.command()
def show(context: typer.Context, box: BoxName, message: MessageId, as_json: Json = False) -> None:
    """All that is known of a message."""
    found = context.obj.get(route(box, message))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        typer.echo(f"{key:12} {called(str(value))}")


@app.command()
def play(
    context: typer.Context,
    box: BoxName,
    message: MessageId,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Into this file instead; - is standard output.")
    ] = None,
) -> None:
    """Play a message here, from the mailbox or the archive. It stays new: marking it is `mark`."""
    data, form = context.obj.file(route(box, message, "sound"), download="" if output is None else "1")
    if output is not None:
        if str(output) == "-":
            sys.stdout.buffer.write(data)
        else:
            save(iter([data]), output)
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
    context.obj.delete(route(box, message))
    typer.echo("deleted")


@app.command()
def archive(context: typer.Context, box: BoxName, message: MessageId) -> None:
    """Move a message into the archive now: encrypted, and out of the phone's reach."""
    typer.echo(row(context.obj.post(route(box, message, "archive"))))


@app.command()
def hold(
    context: typer.Context,
    box: BoxName,
    message: Annotated[str, typer.Argument(help="The message's id; without it the whole mailbox.")] = "",
    reason: Annotated[str, typer.Option(help="Which case it is for.")] = "",
) -> None:
    """Keep a message, or a mailbox and all that comes into it, until it is released; by phone too."""
    context.obj.post(route(box, message, "hold") if message else box_route(box), reason=reason)
    typer.echo("held")


@app.command()
def release(
    context: typer.Context,
    box: BoxName,
    message: Annotated[str, typer.Argument(help="The message's id; without it the whole mailbox.")] = "",
) -> None:
    """Take a hold off."""
    if message:
        context.obj.post(route(box, message, "release"))
    else:
        context.obj.delete(box_route(box))
    typer.echo("released")


@app.command()
def export(
    context: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", help="The tar file; - is standard output.")],
    person: Annotated[str, typer.Option(help="Name of a person in `people`.")] = "",
    box: Annotated[str, typer.Option(help="A mailbox: 101, or 101@context.")] = "",
) -> None:
    """All messages of a person or a mailbox with all that is known of them, greetings too, as one tar."""
    if bool(person) == bool(box):
        raise typer.BadParameter("say whose: --person or --box")
    content = context.obj.stream("/v1/voicemail/export", person=person, box=box)
    if str(output) == "-":
        save(content, None)
    else:
        save(content, output)
        typer.echo(f"{output.stat().st_size} bytes in {output}")


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
            + (f"  held: {box['hold']}" if box["hold"] else "")
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
