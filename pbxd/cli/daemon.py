"""`pbxd`: the daemon's own command. `run` is what systemd starts; the others prepare and check a box."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from pbxd import __version__
from pbxd.errors import ConfigError, PbxdError

DEFAULT_CONFIG = Path("/etc/pbxd/pbxd.yaml")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
ConfigPath = Annotated[Path, typer.Option("--config", "-c", envvar="PBXD_CONFIG", help="Configuration file.")]


def credentials() -> Path | None:
    """Where systemd put our credentials."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(folder) if folder else None


@app.command()
def run(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Run the daemon in the foreground, until SIGTERM."""
    from pbxd import lean  # noqa: PLC0415

    lean.load_structlog()  # before anything else does
    from pbxd import logs  # noqa: PLC0415 - the other commands need none of this
    from pbxd.config.load import load_with_notes  # noqa: PLC0415
    from pbxd.daemon import Daemon  # noqa: PLC0415

    loaded = load_with_notes(config, credentials=credentials())
    logs.configure(loaded.config.log.level, loaded.config.log.format)
    for warning in loaded.warnings:
        logs.log().warning("configuration", warning=warning)

    os.umask(0o027)  # the store holds numbers and names: nothing of it is for everybody

    async def main() -> None:
        await Daemon(config, loaded.config, credentials()).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@app.command()
def check(
    config: ConfigPath = DEFAULT_CONFIG,
    show: Annotated[bool, typer.Option(help="Print the configuration in force.")] = False,
) -> None:
    """Check the configuration: every mistake at once, with its file and line. Exit 1 if there is one."""
    from pbxd.config.load import load_with_notes, render  # noqa: PLC0415

    loaded = load_with_notes(config, credentials=credentials())
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if show:
        typer.echo(render(loaded.config), nl=False)
    typer.echo(f"{', '.join(map(str, loaded.files))}: good", err=True)


@app.command("asterisk-config")
def asterisk_config(
    folder: Annotated[Path, typer.Argument(help="Asterisk's configuration folder.")] = Path("/etc/asterisk"),
    write: Annotated[Path | None, typer.Option(help="Write into this folder, after showing the difference.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take pbxd's part out again.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    log: Annotated[Path, typer.Option(help="Asterisk's log folder.")] = Path("/var/log/asterisk"),
    secret_file: Annotated[Path, typer.Option(help="Where the AMI secret is, or is to be.")] = Path(
        "/etc/pbxd/ami.secret"
    ),
    permit: Annotated[str, typer.Option(help="From where pbxd may log in.")] = "127.0.0.1/255.255.255.255",
    agi: Annotated[str, typer.Option(help="Where Asterisk finds our FastAGI server: agi.listen.")] = "127.0.0.1:4573",
) -> None:
    """Add to Asterisk's configuration what pbxd needs: CEL, its file, an AMI user, a dialplan. Shows the difference first."""
    from pbxd.asterisk import install  # noqa: PLC0415
    from pbxd.config.secrets import ensure_secret  # noqa: PLC0415

    etc = write or folder
    changes = (
        install.removal(etc)
        if remove
        else install.plan(etc, ensure_secret(secret_file, make=write is not None), permit, agi)
    )
    backup = etc / f"pbxd-backup-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    wanted = remove or write is not None
    done = install.run(
        etc, changes, backup, write=wanted, say=typer.echo, confirm=lambda: yes or typer.confirm("write this?")
    )
    if wanted and not remove and install.make_journal_folder(log):
        typer.echo(f"made {log}/cel-custom")
    if done:
        typer.echo(
            "now: asterisk -rx 'module reload cel'; asterisk -rx 'module reload cel_custom'; asterisk -rx 'manager reload'; "
            "asterisk -rx 'dialplan reload'"
        )


@app.command()
def setup(
    remove: Annotated[
        bool, typer.Option("--remove", help="Take pbxd off this box; configuration and data are kept.")
    ] = False,
    purge: Annotated[bool, typer.Option("--purge", help="With --remove: configuration and data too.")] = False,
    root: Annotated[Path, typer.Option(help="Another root than /, to look at what would be laid.")] = Path("/"),
) -> None:
    """Put the systemd unit, its user, logrotate and /etc/pbxd in place. Says each thing that it does."""
    from pbxd import installation  # noqa: PLC0415

    if remove:
        installation.take_away(root, typer.echo, purge=purge)
    else:
        installation.put(root, typer.echo)
    if root == Path("/"):
        installation.activate(typer.echo)


@app.command()
def version() -> None:
    """The version of this pbxd."""
    typer.echo(f"pbxd {__version__}")


def main() -> None:
    """Entry point: an error of ours is told in a line each, not as a traceback."""
    try:
        app()
    except ConfigError as error:
        print("\n".join(error.problems), file=sys.stderr)
        sys.exit(1)
    except PbxdError as error:
        print(f"pbxd: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
