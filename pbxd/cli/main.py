"""`pbxctl`: what people ask and tell a running pbxd. One file a noun; nothing heavy is imported before it is needed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pbxd import __version__
from pbxd.cli import (
    agi,
    calls,
    chat,
    people,
    policy,
    proposals,
    recorder,
    recordings,
    report,
    stats,
    support,
    uplink,
    vault,
    voicemail,
)
from pbxd.cli.client import DEFAULT_SOCKET, Client
from pbxd.cli.plain import called, plainly
from pbxd.errors import PbxdError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(calls.app, name="calls", help="Call records: list, show, watch, import, export.")
app.add_typer(report.app, name="report", help="Reports: calls, queues, agents, trunks, quality, heatmap.")
app.add_typer(agi.app, name="agi", help="FastAGI: status, routes, scripts.")
app.add_typer(recorder.app, name="recorder", help="Calls that are being recorded: list, start, stop, pause, resume.")
app.add_typer(
    recordings.app, name="recordings", help="Recordings that are stored: list, show, play, export, delete, hold."
)
app.add_typer(chat.app, name="chat", help="Chats: rooms, show, tail, send, attach, search, export, hold, delete.")
app.add_typer(people.app, name="people", help="All that is kept of a person: export.")
app.add_typer(vault.app, name="vault", help="The store of communications: status, verify, rekey, export.")
app.add_typer(vault.audit, name="audit", help="Who did what with communications: list, verify.")
app.add_typer(stats.app, name="stats", help="Figures of calls: status, rebuild, purge.")
app.add_typer(
    uplink.app,
    name="uplink",
    help="The link to the vendor: status, preview, ledger, verify, on, off, destroy-unsent, enrol.",
)
app.add_typer(voicemail.app, name="voicemail", help="Voice messages: list, play, move, forward, delete, greetings.")
app.add_typer(support.app, name="support", help="Who of the vendor may look: open, list, show, watch, end, replay.")
app.add_typer(policy.app, name="policy", help="The privacy contract, looked at on this box: verify.")
proposals.add_to(uplink.app)

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.callback()
def connect(
    context: typer.Context,
    socket: Annotated[Path, typer.Option(envvar="PBXD_SOCKET", help="Control socket of the daemon.")] = DEFAULT_SOCKET,
) -> None:
    """Ask and tell pbxd, the daemon beside Asterisk."""
    context.obj = Client(socket)


@app.command()
def version() -> None:
    """The version of this pbxctl."""
    typer.echo(f"pbxctl {__version__}")


@app.command()
def status(context: typer.Context, as_json: Json = False) -> None:
    """State of every part."""
    found = context.obj.get("/v1/status")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo("\n".join(status_lines(found)))


def status_lines(found: dict[str, Any]) -> list[str]:
    """The status as text: a line a part. Who does not look after the box gets the short one."""
    if found.get("short"):
        ami = found["ami"]
        link = f"connected, Asterisk {ami['asterisk']}" if ami["connected"] else ami["state"]
        first = f"pbxd {found['version']} on {found['site']}, {found['state']}, up {found['uptime']:.0f} s"
        return [first, f"ami      {link}", f"live     {found['live']['calls']} calls"]
    ami, journal, live, store, disk = (found[part] for part in ("ami", "journal", "live", "store", "disk"))
    link = (
        f"connected to {ami['peer']}, Asterisk {ami['asterisk']}"
        if ami["connected"]
        else f"{ami['state']}: {ami['last_error']}"
    )
    state = journal["last_error"] or f"{journal['records']} calls from {journal['lines']} lines since the start"
    return [
        f"pbxd {found['version']} on {found['site']}, {found['state']}, up {found['uptime']:.0f} s, {found['rss'] / 2**20:.0f} MB",
        f"ami      {link}",
        f"live     {live['calls']} calls, {live['channels']} channels",
        f"journal  {state}, {journal['open_calls']} open, {journal['rejects']} rejected",
        f"store    {store['calls']} calls in {store['path']}, commit lag {journal['lag']:.2f} s",
        f"agi      {agi.line(found['agi'])}",
        f"recorder {recorder.line(found['recording'])}",
        *([f"recordings {recordings.line(found['recordings'])}"] if found["recordings"] else []),
        *([f"vault    {vault.line(found['comms'])}"] if found["comms"] else []),
        f"voicemail {voicemail.line(found['voicemail'])}",
        *([f"chat     {chat.line(found['chat'])}"] if found["chat"] else []),
        f"uplink   {uplink.line(found['uplink'])}",
        f"support  {support.line(found['support'])}",
        f"disk     {disk['free'] / 2**30:.1f} GiB free in {disk['path']}",
    ]


@app.command()
def live(context: typer.Context, as_json: Json = False) -> None:
    """Calls in progress, queues and endpoints."""
    found = context.obj.get("/v1/live")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for call in found["calls"]:
        ends = f"{called(call['caller'])} -> {called(call['dialled'])}"
        typer.echo(f"{call['state']:8} {call['seconds']:7.0f} s  {ends}  {' '.join(call['channels'])}")
    for queue in found["queues"]:
        typer.echo(f"queue {queue['name']}: {queue['waiting']} waiting, {queue['members']} members")
    if not found["calls"]:
        typer.echo("no calls in progress")


@app.command()
def reload(context: typer.Context) -> None:
    """Read the configuration again; with mistakes in it, it is refused and the old one runs on."""
    changed = context.obj.post("/v1/reload")["changed"]
    typer.echo("changed: " + ", ".join(changed) if changed else "nothing changed")


@app.command()
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Look for the usual faults and say the remedy. Exit 1 if there is one."""
    findings = context.obj.get("/v1/doctor")["findings"]
    if as_json:
        typer.echo(json.dumps(findings, indent=2))
    for finding in [] if as_json else findings:
        typer.echo(f"{finding['state']:8} {finding['check']:9} {finding['detail']}")
        if finding["state"] != "ok" and finding["remedy"]:
            typer.echo(f"{'':18} -> {finding['remedy']}")
    if any(finding["state"] == "fault" for finding in findings):
        raise typer.Exit(1)


@app.command()
def metrics(context: typer.Context) -> None:
    """All metrics, in Prometheus' text format."""
    typer.echo(context.obj.text("/metrics"), nl=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: an error of ours is one line, not a traceback."""
    try:
        with plainly():
            run(arguments)
    except BrokenPipeError:
        sys.exit(0)  # the reader, `head` say, has had enough
    except KeyboardInterrupt:
        sys.exit(130)


def run(arguments: Sequence[str] | None) -> None:
    """The same, to a stream that is plain."""
    try:
        app(arguments)
    except PbxdError as error:
        print(f"pbxctl: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
