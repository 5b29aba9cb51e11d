"""`pbxctl people`: what is kept of a person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from pbxd.cli.save import save

app = typer.Typer(no_args_is_help=True)


@app.callback()
def people() -> None:
    """People of the configuration."""


@app.command()
def export(
    context: typer.Context,
    person: Annotated[str, typer.Argument(help="Name of a person in `people`.")],
    to: Annotated[Path, typer.Option(help="The tar file; it is there when it is complete.")],
) -> None:
    """All that is kept of a person, as one tar: recordings, voice messages, chats, who heard them. For root or that person."""
    save(context.obj.stream(f"/v1/people/{quote(person, safe='')}/export"), to)
