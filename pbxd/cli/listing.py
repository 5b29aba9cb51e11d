"""Listings of the daemon, which say when there is more than was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from pbxd.cli.client import Client


def listed(client: Client, route: str, limit: int, other: str, **query: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - whatever a query has
    """At most `limit` of a listing. If there are more, standard error says how many; `other` is the option that finds those."""
    shown = 0
    for line in client.lines(route, patient=True, limit=limit, count=1, **query):
        if line.keys() != {"total"}:
            yield line
            shown += 1
        elif line["total"] > shown:
            typer.echo(f"{shown:,} of {line['total']:,}; --limit N or {other} …", err=True)
