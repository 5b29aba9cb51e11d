"""`pbxctl policy verify`: the privacy contract, clause by clause, with the evidence of this box."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Annotated, Any

import typer

from pbxd.errors import ControlError

app = typer.Typer(no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
TITLES = {
    "P1": "only configuration, statistics, health and sessions go up",
    "P2": "statistics can be switched off",
    "P3": "communications are on this box only",
    "P4": "no access without your ticket",
    "P5": "usage is counted without identifying anybody",
    "P6": "no voice passes the vendor",
    "P7": "the connection is secure, and goes out only",
    "P8": "it can be switched off",
    "P9": "data and access are encrypted and authenticated",
    "P10": "everybody has their own only",
    "P11": "logs end, and hold no secrets",
    "P12": "messages of the vendor can be refused",
    "P13": "no card data",
    "P14": "safe by default",
}


@app.callback()
def policy() -> None:
    """The privacy contract: docs/privacy.md."""


@app.command()
def verify(context: typer.Context, as_json: Json = False) -> None:
    """Look at every clause on this box, as root. Exit 1 if one is broken."""
    if os.geteuid() != 0:
        raise ControlError("run it as root: it looks with the eyes of other users")
    from pbxd.policy.clauses import judged  # noqa: PLC0415 - only this command needs it
    from pbxd.policy.evidence import gather  # noqa: PLC0415

    verdicts = judged(gather(told(context.obj)))
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in verdicts], indent=2))
    for one in [] if as_json else verdicts:
        typer.echo(f"{one.clause:4} {one.state:14} {TITLES[one.clause]}")
        typer.echo("\n".join(f"{'':20}{line}" for line in one.evidence))
    if any(one.state == "broken" for one in verdicts):
        raise typer.Exit(1)


def told(client: Any) -> dict[str, Any]:  # noqa: ANN401 - a Client
    """What the daemon says of itself."""
    found: dict[str, Any] = client.get("/v1/policy")
    found["doctor"] = client.get("/v1/doctor")["findings"]
    found["uplink"] = client.get("/v1/uplink")
    found["tickets"] = client.get("/v1/support")["tickets"]
    found["messages"] = client.get("/v1/uplink/messages")["messages"]
    found["audit"] = client.post("/v1/audit/verify", patient=True)["faults"] if found["kept"] else None
    return found
