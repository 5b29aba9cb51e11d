"""`pbxctl chat`: rooms and messages, for whoever is in them."""

from __future__ import annotations

import json
import mimetypes
import secrets
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from pbxd.cli.listing import listed
from pbxd.cli.save import save
from pbxd.cli.when import moment

app = typer.Typer(no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="As JSON, a line each.")]
Room = Annotated[str, typer.Argument(help="Name of the room: sales, or anna+bert.")]
To = Annotated[str, typer.Argument(help="A room or a person, by name or number.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="File to write; standard output if none.")]


def line(found: dict[str, Any]) -> str:
    """The chats' status on one line."""
    error = found["error"] or found["phone_error"]
    return str(error) or f"{found['messages']} messages in {found['rooms']} rooms, {found['waiting']} wait for a phone"


def _route(room: str, what: str = "") -> str:
    return f"/v1/chat/rooms/{quote(room, safe='')}{what}"


def _when(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1_000_000).astimezone():%Y-%m-%d %H:%M:%S}"


def _said(message: dict[str, Any], *, room: bool) -> str:
    """A message for the terminal: what others wrote holds no control characters but line breaks and tabs."""
    file = message["attachment"]
    text = f"({message['fault']})" if message.get("fault") else message["text"]
    tail = f" [{file['name']}, {file['size']} bytes, {file['id']}]" if file else ""
    place = f"{message['room']:16}  " if room else ""
    return f"{message['number']:6}  {_when(message['at'])}  {place}{message['sender']}: {text}{tail}"


def _print(messages: Iterable[dict[str, Any]], *, as_json: bool, room: bool) -> None:
    for message in messages:
        typer.echo(json.dumps(message, ensure_ascii=False) if as_json else _said(message, room=room))


@app.command()
def rooms(context: typer.Context, as_json: Json = False) -> None:
    """The rooms that you may know of: how many messages, how many of them you have not read."""
    for one in context.obj.get("/v1/chat/rooms")["rooms"]:
        if as_json:
            typer.echo(json.dumps(one, ensure_ascii=False))
            continue
        held = f"  held: {one['hold']}" if one["hold"] else ""
        people = ", ".join(member["person"] for member in one["members"] if not member["left"])
        unread = f"{one['unread']} unread" if one["unread"] else ""
        typer.echo(
            f"{one['room']:20} {one['number']:6} {one['messages']:7}  {_when(one['at'])}  {unread:10}  {people}{held}"
        )


@app.command()
def show(
    context: typer.Context,
    room: Room,
    limit: Annotated[int, typer.Option(help="How many messages, the newest.")] = 50,
    before: Annotated[int, typer.Option(help="Only those before this number.")] = 0,
    facts: Annotated[bool, typer.Option("--facts", help="Who is in it and how far, as JSON, and no message.")] = False,
    as_json: Json = False,
) -> None:
    """What was written in a room, oldest first."""
    if facts:
        typer.echo(json.dumps(context.obj.get(_route(room)), indent=2, ensure_ascii=False))
        return
    found = list(listed(context.obj, _route(room, "/messages"), limit, "--before", before=before or ""))
    _print(reversed(found), as_json=as_json, room=False)


@app.command()
def tail(
    context: typer.Context,
    room: Annotated[str, typer.Argument(help="Only this room; all that you may read without it.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Every event, as JSON: receipts too.")] = False,
) -> None:
    """What is written from now on, as it comes."""
    for event in context.obj.lines("/v1/chat/watch", patient=True, room=room):
        if as_json:
            typer.echo(json.dumps(event, ensure_ascii=False))
        elif event["event"] == "message":
            typer.echo(_said(event["message"], room=not room))
        sys.stdout.flush()
    print("pbxctl: the watch has ended: pbxd stops, or more came than was read", file=sys.stderr)


@app.command()
def send(
    context: typer.Context,
    to: To,
    text: Annotated[str, typer.Argument(help="The text; - is standard input.")],
) -> None:
    """Write to a room or a person."""
    data = sys.stdin.buffer.read() if text == "-" else text.encode("utf-8", "surrogateescape")
    sent = context.obj.post("/v1/chat/messages", data, to=to, token=secrets.token_hex(8))
    typer.echo(f"message {sent['number']} in {sent['room']}")


@app.command()
def attach(
    context: typer.Context,
    to: To,
    file: Annotated[Path, typer.Argument(help="The file.", exists=True, dir_okay=False)],
    text: Annotated[str, typer.Option(help="A text with it.")] = "",
) -> None:
    """Send a file to a room or a person."""
    kind = mimetypes.guess_type(file.name)[0] or ""
    query = {"to": to, "name": file.name, "type": kind, "text": text, "token": secrets.token_hex(8)}
    sent = context.obj.post("/v1/chat/attachments", file.read_bytes(), patient=True, **query)
    typer.echo(f"message {sent['number']} in {sent['room']}, attachment {sent['attachment']['id']}")


@app.command()
def download(
    context: typer.Context,
    attachment: Annotated[str, typer.Argument(help="Id of the attachment.")],
    output: Output = None,
) -> None:
    """An attachment."""
    save(context.obj.stream(f"/v1/chat/attachments/{quote(attachment, safe='')}"), output)


@app.command()
def read(
    context: typer.Context, room: Room, upto: Annotated[int, typer.Option(help="Number of the message.")] = 0
) -> None:
    """Say that you have read a room, or read it up to a message."""
    context.obj.post(_route(room, "/read"), upto=upto or "")
    typer.echo("read")


@app.command()
def search(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="Words, all of which occur; case and accents do not matter.")],
    room: Annotated[str, typer.Option(help="Only in this room.")] = "",
    start: Annotated[str, typer.Option("--from", help="From: 2h, 3d, today, 2026-11-24, 2026-11-24T10:30:00Z.")] = "",
    end: Annotated[str, typer.Option("--to", help="Until, exclusive; written like --from.")] = "",
    as_json: Json = False,
) -> None:
    """Messages that you may read, newest first in each room. Every one is decrypted for it: --from makes it faster."""
    now = datetime.now().astimezone()
    times = {"start": start and moment(start, now), "end": end and moment(end, now)}
    found = context.obj.lines("/v1/chat/search", patient=True, text=text, room=room, **times)
    _print(found, as_json=as_json, room=True)


@app.command()
def export(
    context: typer.Context,
    person: Annotated[str, typer.Option(help="Name of a person in `people`.")] = "",
    room: Annotated[str, typer.Option(help="Name of a room.")] = "",
    output: Output = None,
) -> None:
    """All chats of a person, or one room, with attachments, as one zip."""
    if bool(person) == bool(room):
        raise typer.BadParameter("say what: --person or --room")
    save(context.obj.stream("/v1/chat/export", person=person, room=room), output)


@app.command()
def delete(
    context: typer.Context,
    room: Annotated[str, typer.Argument(help="Name of the room.")] = "",
    message: Annotated[int, typer.Option(help="Number of one message, instead of a room.")] = 0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Destroy a message that you wrote, or a whole room, which an admin may: its key first."""
    if bool(room) == bool(message):
        raise typer.BadParameter("say what: a room or --message")
    if not yes:
        typer.confirm(f"Destroy {room or f'message {message}'} for good?", abort=True)
    context.obj.delete(_route(room) if room else f"/v1/chat/messages/{message}")
    typer.echo("destroyed")


@app.command()
def hold(
    context: typer.Context, room: Room, reason: Annotated[str, typer.Option(help="Which case it is for.")]
) -> None:
    """Keep all of a room until it is released, whatever else says."""
    context.obj.post(_route(room, "/hold"), reason=reason)
    typer.echo("held")


@app.command()
def release(context: typer.Context, room: Room) -> None:
    """Take a hold off."""
    context.obj.post(_route(room, "/release"))
    typer.echo("released")
