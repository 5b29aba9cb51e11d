"""The link against the real hub: each entry once and in order, whatever is killed or cut; off means off."""

from __future__ import annotations

import json

from tests.hub.running import Hub
from tests.uplink.boxes import BoxEnd, health


async def held(hub: Hub) -> list[tuple[int, bytes]]:
    """The entries that the hub has, in their order."""
    found = await hub.query("SELECT number, body FROM entries ORDER BY number")
    return [(number, bytes(body) if body is not None else b"") for number, body in found]


async def test_entries_arrive_as_they_were_entered(hub: Hub, end: BoxEnd) -> None:
    bodies = [health(number) for number in range(20)]
    await end.enrol(hub)
    for one in bodies[:10]:
        end.ledger.queue(one)
    end.start()
    end.becomes("connected")
    for one in bodies[10:]:
        end.ledger.queue(one)
    end.sent()
    assert await held(hub) == [(number, one.body) for number, one in enumerate(bodies)]
    lines = [json.loads(line) for line in (end.outbox / "ledger").read_bytes().splitlines()]
    for number in range(20):
        order = [line["what"] for line in lines if line.get("number") == number]
        assert order == ["entry", "intent", "sent"]
