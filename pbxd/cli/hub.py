"""`pbxhub`: the vendor's end of the uplink. `run` is what systemd starts; the others tell a hub what to do, through its store."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from pbxd import __version__
from pbxd.cli import hub_fleet, hub_messages, hub_report, hub_staff
from pbxd.cli.plain import plain, plainly
from pbxd.errors import ConfigError, HubError, PbxdError
from pbxd.hub.config import DEFAULT_CONFIG, HubConfig, load
from pbxd.hub.database import Database

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
hub_fleet.add_to(app)
hub_messages.add_to(app)
hub_report.add_to(app)
hub_staff.add_to(app)

CONFIG = """\
# The hub's configuration: docs/hub.md has every key. Those with a # show the default.
node: {node}
listen: 0.0.0.0:22
database: sqlite+aiosqlite:///{folder}/hub.db
keys: {keys}
# metrics: 127.0.0.1:9465
# classical_kex: false
"""


class Hub:
    """What commands have in common: the configuration, and the store when they ask for it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def config(self) -> HubConfig:
        """The configuration. ConfigError with every mistake."""
        loaded = load(self.path)
        for warning in loaded.warnings:
            typer.echo(f"warning: {warning}", err=True)
        return loaded.config

    def ask(self, work: Callable[[Database, HubConfig], Awaitable[T]]) -> T:
        """Do something with the store."""
        config = self.config()

        async def main() -> T:
            database = await Database.open(config.database)
            try:
                return await work(database, config)
            finally:
                await database.close()

        return asyncio.run(main())


@app.callback()
def configure(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar="PBXHUB_CONFIG", help="Configuration file.")
    ] = DEFAULT_CONFIG,
) -> None:
    """The vendor's end of the uplink of pbxd."""
    context.obj = Hub(config)
    if context.invoked_subcommand != "run":  # whose log is for a terminal as it is
        context.with_resource(plainly())


@app.command()
def init(
    context: typer.Context, state: Annotated[Path, typer.Option(help="Folder of the store.")] = Path("/var/lib/pbxhub")
) -> None:
    """Make what a hub needs and is not there: configuration, keys, store."""
    import socket  # noqa: PLC0415 - the other commands need it not

    from pbxd.hub import keys  # noqa: PLC0415

    path: Path = context.obj.path
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o750)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            text = CONFIG.format(node=socket.gethostname(), folder=state, keys=path.parent / "keys")
            path.write_text(text)
            path.chmod(0o640)
            typer.echo(f"{path}: written")
    except OSError as error:
        raise HubError(f"{error.filename}: {error.strerror}") from error
    config = context.obj.config()
    for written in keys.make(config.keys):
        typer.echo(f"{written}: written")

    async def nothing(_database: Database, _config: HubConfig) -> None:
        """Opening the store has made it."""

    context.obj.ask(nothing)
    typer.echo(f"the store is ready. Boxes pin {config.keys / 'host_key.pub'}:")
    typer.echo(keys.public_line(config.keys / "host_key.pub"))
    if (config.keys / "support_ca").exists():
        typer.echo(f"{config.keys / 'support_ca'}: move this key off this machine; docs/hub.md says why and how")


@app.command()
def run(context: typer.Context) -> None:
    """Run a node in the foreground, until SIGTERM."""
    import signal  # noqa: PLC0415 - the other commands need none of this

    import uvloop  # noqa: PLC0415

    from pbxd import logs  # noqa: PLC0415
    from pbxd.heap import keep_freed_memory  # noqa: PLC0415
    from pbxd.hub.keys import Keys  # noqa: PLC0415
    from pbxd.hub.node import Node  # noqa: PLC0415

    config: HubConfig = context.obj.config()
    keep_freed_memory()
    logs.configure(config.log.level, config.log.format)
    keys = Keys.read(config.keys)

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        database = await Database.open(config.database)
        try:
            await Node(config, keys, database).run(stop)
        finally:
            await database.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@app.command()
def check(context: typer.Context) -> None:
    """Check the configuration and the keys: every mistake at once. Exit 1 if there is one."""
    from pbxd.hub.keys import Keys  # noqa: PLC0415

    config = context.obj.config()
    Keys.read(config.keys)
    typer.echo(f"{context.obj.path}: good", err=True)


@app.command()
def token(
    context: typer.Context,
    length: Annotated[str, typer.Option("--for", help="How long it is good: 1h, 7d. Empty: certificates.token.")] = "",
    note: Annotated[str, typer.Option(help="For whom it is.")] = "",
    box: Annotated[str, typer.Option(help="To enrol this box anew, under the id that it has.")] = "",
) -> None:
    """Make a token with which one box can enrol, once. It is shown now and never again."""
    from pbxd.hub import boxes  # noqa: PLC0415

    async def work(database: Database, config: HubConfig) -> str:
        row = await boxes.get(database, box) if box else None
        seconds = hub_fleet.seconds(length) if length else config.certificates.token
        return await boxes.new_token(database, seconds, note, row)

    typer.echo(context.obj.ask(work))


@app.command()
def revoke(
    context: typer.Context,
    box: Annotated[str, typer.Argument(help="The box's id.")],
    why: Annotated[str, typer.Option(help="A word for the record.")] = "",
) -> None:
    """Let a box in no more; a connection that it has ends within seconds."""
    from pbxd.hub import boxes  # noqa: PLC0415

    async def work(database: Database, _config: HubConfig) -> None:
        await boxes.revoke(database, await boxes.get(database, box), why)

    context.obj.ask(work)
    typer.echo(f"{box} is revoked; `pbxhub token --box {box}` lets it enrol anew")


@app.command()
def health(context: typer.Context) -> None:
    """Ask the node on this machine how it is. Exit 1 if it is not well."""
    import urllib.error  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    config = context.obj.config()
    if config.metrics is None:
        raise HubError("metrics: null: this node tells nobody how it is")
    try:
        with urllib.request.urlopen(f"http://{config.metrics}/health", timeout=10) as answer:
            found = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        found = json.loads(error.read())
    except OSError as error:
        raise HubError(f"nobody answers at {config.metrics}: {error}; is `pbxhub run` running?") from error
    state = "well" if found["healthy"] else f"NOT WELL: {found['problem']}"
    typer.echo(f"{found['node']} is {state}; {found['boxes']} boxes, {found['connections']} connections")
    if not found["healthy"]:
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """The version of this pbxhub."""
    typer.echo(f"pbxhub {__version__}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: an error of ours is a line, not a traceback."""
    try:
        app(arguments)
    except ConfigError as error:
        print(plain("\n".join(error.problems)), file=sys.stderr)
        sys.exit(1)
    except PbxdError as error:
        print(plain(f"pbxhub: {error}"), file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(0)  # the reader, `head` say, has had enough
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
