"""`pbxctl uplink`: the link to the vendor. What would leave, what left, and the customer's switches."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from pbxd.errors import ControlError, ControlRefused

app = typer.Typer(no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Number = Annotated[
    int | None, typer.Argument(help="Number of an entry, as the list shows it: its bytes, as they go up.")
]
Outbox = Annotated[Path, typer.Option(help="The outbox, to switch off by hand when pbxd does not run: uplink.outbox.")]
DEFAULT_OUTBOX = Path("/var/lib/pbxd/outbox")
CHECKPOINT = re.compile(r'uplink checkpoint ("(?:[^"\\]|\\.)*")')  # in a line of syslog
NOTE = re.compile(r"^[^\n]+\n[0-9]+\n[A-Za-z0-9+/=]+\n\n(?:\u2014 [^\n]+\n)+", re.MULTILINE)  # as C2SP writes it


def line(found: dict[str, Any]) -> str:
    """The uplink in one line."""
    if found["enrolled"] is None:
        return "this box is not enrolled: nothing leaves it"
    if found["error"]:
        return f"nothing leaves: {found['error']}"
    if not found["on"]:
        return (
            f"off: nothing leaves; {found['waiting']} entries wait until it is on"
            if found["waiting"]
            else "off: nothing leaves"
        )
    return f"{found['link']['state']}, {found['hub']}; {found['waiting']} entries wait"


@app.command()
def status(context: typer.Context, as_json: Json = False) -> None:
    """Whether it is on and up, what waits, and what stops working while it is off."""
    found = context.obj.get("/v1/uplink")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    link = found["link"]
    typer.echo(f"uplink      {line(found)}")
    typer.echo(f"box         {found['enrolled'] or '-'}")
    typer.echo(f"statistics  {'shared' if found['share_statistics'] else 'stay on this box'}")
    typer.echo(f"link        {link['state']} since {link.get('since', '-')}  {link.get('detail', '')}".rstrip())
    if "sent" in link:
        typer.echo(f"wire        {link['sent']} bytes sent, {link['received']} received on this connection")
    typer.echo(
        f"waiting     {found['waiting']} entries, {found['waiting_bytes']} bytes, the oldest of {found['oldest'] or '-'}"
    )
    typer.echo(f"ledger      {found['entries']} entries, {found['lines']} lines")
    typer.echo(f"checkpoints {checkpoints_line(found['checkpoints'])}")
    stopped(found)


def checkpoints_line(found: dict[str, Any]) -> str:
    """Where checkpoints go beside the ledger, in one line."""
    if error := found["error"] or found["unlogged"]:
        return f"{found['to']}: {error}"
    if found["to"] == "mail" and found["at"]:
        return f"mail, the last of {found['lines']} lines at {time.strftime('%Y-%m-%d %H:%M', time.localtime(found['at']))}"
    return {"none": "are in the ledger's folder only"}.get(found["to"], str(found["to"]))


def stopped(found: dict[str, Any]) -> None:
    """What does not work while it is off, and what waits for it to be on again."""
    if found["stops"]:
        typer.echo("not working while it is off: " + ", ".join(found["stops"]))
        typer.echo("everything on this box goes on: calls, records, reports, recordings, voicemail, chats")
    if found["stops"] and found["waiting"]:
        typer.echo(
            f"{found['waiting']} entries that were not sent wait: they go up when it is on again. "
            "`pbxctl uplink preview` shows them, `pbxctl uplink destroy-unsent` destroys them"
        )


@app.command()
def preview(context: typer.Context, number: Number = None, as_json: Json = False) -> None:
    """What would go next, in its order; with a number, that entry's bytes, exactly as they go up."""
    if number is not None:
        typer.echo(b"".join(context.obj.stream(f"/v1/uplink/entries/{number}")), nl=False)
        return
    found = context.obj.get("/v1/uplink/preview")["entries"]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for one in found:
        typer.echo(f"{one['number']:8}  {one['class']:6}  {one['size']:8} bytes  {one['created']}  {one['sha256']}")
    typer.echo(f"{len(found)} entries wait")


@app.command()
def ledger(
    context: typer.Context,
    number: Number = None,
    start: Annotated[int, typer.Option(help="From this line on.")] = 0,
    limit: Annotated[int | None, typer.Option(help="As many lines at most.")] = None,
) -> None:
    """Every line of the ledger: what was entered, what left and what became of it; with a number, that entry's bytes."""
    if number is not None:
        preview(context, number)
        return
    for one in context.obj.lines("/v1/uplink/ledger", start=start, limit=limit):
        typer.echo(json.dumps(one, ensure_ascii=False))


@app.command()
def verify(
    context: typer.Context,
    checkpoints: Annotated[
        Path | None,
        typer.Option(help="File with checkpoints that were kept elsewhere: lines of syslog, or notes as mailed."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at every line, signature and body of the ledger. Exit 1 if anything was changed."""
    notes = notes_in(checkpoints.read_text()) if checkpoints is not None else []
    found = context.obj.post("/v1/uplink/verify", json.dumps(notes).encode(), patient=True)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        typer.echo(
            f"{found['lines']} lines, {found['entries']} entries, {found['bodies']} bodies, root {found['root']}"
        )
        typer.echo(f"{found['checkpoints']} checkpoints hold, {len(notes)} of them from elsewhere")
        typer.echo("".join(f"{fault}\n" for fault in found["faults"]), nl=False)
    if found["faults"]:
        raise typer.Exit(1)


def notes_in(text: str) -> list[str]:
    """The checkpoints in lines of syslog, or one below the other as they are mailed; the text itself, if there is none."""
    found = [json.loads(match) for match in CHECKPOINT.findall(text)] or NOTE.findall(text)
    return found or [text]


@app.command()
def on(context: typer.Context) -> None:
    """Let the link run again."""
    found = context.obj.post("/v1/uplink/on")
    typer.echo(
        "the uplink is on"
        if found["on"]
        else "the uplink is allowed, but off: is uplink.enabled true, and the box enrolled?"
    )


@app.command()
def off(context: typer.Context, outbox: Outbox = DEFAULT_OUTBOX) -> None:
    """Close the link at once, and keep it closed over restarts. It can be done by hand too: touch OUTBOX/off."""
    try:
        found = context.obj.post("/v1/uplink/off")
    except ControlRefused:
        raise
    except ControlError as error:
        if not outbox.is_dir():
            raise
        try:
            (outbox / "off").touch()
            (outbox / "enabled").unlink(missing_ok=True)
        except OSError as failure:
            raise ControlError(f"{error}; {outbox}/off cannot be written by hand: {failure.strerror}") from failure
        from pbxd.uplink.service import STOPS  # noqa: PLC0415 - with pbxd there, it says so

        typer.echo(f"pbxd does not answer ({error}); {outbox}/off was written by hand")
        found = {"stops": STOPS, "waiting": 0}
    typer.echo("the uplink is off: no connection, no look-up of a name, until `pbxctl uplink on`")
    stopped(found)


@app.command("destroy-unsent")
def destroy_unsent(
    context: typer.Context, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Destroy everything that was not sent. The ledger keeps that it was there, and its hash."""
    if not yes:
        typer.confirm("Destroy what was not sent? It can never be sent then", abort=True)
    found = context.obj.post("/v1/uplink/destroy-unsent")["destroyed"]
    typer.echo(f"{len(found)} entries destroyed")


@app.command()
def enrol(
    context: typer.Context,
    token: Annotated[str, typer.Option(prompt=True, hide_input=True, envvar="PBXD_TOKEN", help="The one-time token.")],
) -> None:
    """Enrol this box at the hub of uplink.hub, with the one-time token from the vendor. From then on the uplink is up."""
    from pbxd.uplink.enrol import Applicant  # noqa: PLC0415 - asyncssh takes long to load
    from pbxd.uplink.enrol import enrol as ask  # noqa: PLC0415

    what = context.obj.post("/v1/uplink/application")
    who = Applicant(what["key"], what["ledger"], what["name"], what["classical_kex"])
    answer = asyncio.run(ask(what["hub"], tuple(what["host_keys"]), token.strip(), who))
    found = context.obj.post("/v1/uplink/enrolled", json.dumps(answer).encode())
    typer.echo(f"this box is enrolled at {what['hub']} as {answer['box']}; its certificate ends at {answer['until']}")
    typer.echo(f"the ledger's public key, for whoever is to check it: {what['ledger']}")
    typer.echo(f"SHA-256 of it: {hashlib.sha256(what['ledger'].encode()).hexdigest()}")
    typer.echo(f"uplink: {line(found)}")
