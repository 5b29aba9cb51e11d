"""What Asterisk is doing right now, asked after each connect: events alone tell nothing of what began before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from pbxd.asterisk.manager import ManagerSession
from pbxd.asterisk.wire import Message
from pbxd.errors import ActionFailed


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The answers, as Asterisk gave them, and what it could not tell (a module that is not loaded)."""

    channels: Sequence[Message]
    bridges: dict[str, list[str]]  # bridge id -> uniqueids
    queues: Sequence[Message]
    endpoints: Sequence[Message]
    version: str
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
    )  # without it nothing is known: an error ends the connection
    bridges: dict[str, list[str]] = {}
    for bridge in await tolerant("BridgeList", session.action_list):
        name = bridge.get("BridgeUniqueid")
        members = await tolerant("BridgeInfo", session.action_list, BridgeUniqueid=name)
        bridges[name] = [member.get("Uniqueid") for member in members]
    queues = await tolerant("QueueStatus", session.action_list)
    endpoints = await tolerant("PJSIPShowEndpoints", session.action_list)
    version = (await session.action("CoreSettings")).get("AsteriskVersion")
    return Snapshot(channels, bridges, queues, endpoints, version, tuple(missing))
