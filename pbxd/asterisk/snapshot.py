"""What Asterisk is doing right now, asked after each connect: events alone tell nothing of what began before.

The session holds events back while this is asked (see `manager`), so that a hang-up in between is not lost. Asterisk answers from
what it knows, and sends the events of it later: each event that is held was either in the answers already, or comes after them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from pbxd.asterisk.manager import ManagerSession
from pbxd.asterisk.wire import Message
from pbxd.calls.live import HOLDING
from pbxd.errors import ActionFailed


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The answers, as Asterisk gave them, and what it could not tell (a module that is not loaded)."""

    channels: Sequence[Message]
    bridges: dict[str, list[str]]  # bridge id -> uniqueids
    queues: Sequence[Message]
    endpoints: Sequence[Message]
    version: str
    started: float | None = None  # epoch seconds at which Asterisk started, to about one
    missing: tuple[str, ...] = field(default=())


async def take(session: ManagerSession) -> Snapshot:
    """Ask for channels, bridges, queues, endpoints and the version. AmiError if the link fails meanwhile."""
    missing: list[str] = []

    async def tolerant(name: str, ask: Callable[..., Awaitable[list[Message]]], **headers: str) -> list[Message]:
        try:
            return await ask(name, **headers)
        except ActionFailed as error:
            missing.append(f"{name}: {error}")
            return []

    channels = await session.action_list(
        "CoreShowChannels"
    )  # without it nothing is known: its error ends the connection
    bridges: dict[str, list[str]] = {}
    if channels and not channels[0].all("BridgeId"):  # before Asterisk 13
        for bridge in await tolerant("BridgeList", session.action_list):
            name = bridge.get("BridgeUniqueid")
            members = await tolerant("BridgeInfo", session.action_list, BridgeUniqueid=name)
            bridges[name] = [member.get("Uniqueid") for member in members]
    if any(channel.get("BridgeId") for channel in channels):
        # In a holding bridge (a parking lot) callers wait side by side; they are not connected with one another.
        rows = await tolerant("BridgeList", session.action_list)
        holding = {row.get("BridgeUniqueid") for row in rows if row.get("BridgeTechnology") == HOLDING}
    else:
        holding = set()
    for channel in channels:  # told in one answer with the channels, so that both fit together
        if (name := channel.get("BridgeId")) and name not in holding:
            bridges.setdefault(name, []).append(channel.get("Uniqueid"))
    queues = await tolerant("QueueStatus", session.action_list)
    endpoints = await tolerant("PJSIPShowEndpoints", session.action_list)
    version = (await session.action("CoreSettings")).get("AsteriskVersion")
    return Snapshot(channels, bridges, queues, endpoints, version, session.asterisk_started, tuple(missing))
