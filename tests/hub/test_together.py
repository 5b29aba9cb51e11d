"""A box's real end of the uplink at a real hub: its ledger, its link as another user, and the hub's own process."""

from __future__ import annotations

import asyncio

from pbxd.hub import messages
from pbxd.hub.keys import message_key
from pbxd.hub.messages import Letter
from pbxd.uplink.notes import Verifier, opened
from pbxd.uplink.outbox import DOWN
from pbxd.uplink.vocabulary import message_of
from tests.hub.running import Hub
from tests.uplink.boxes import BoxEnd, health
from tests.uplink.conftest import end, open_folder

__all__ = ["end", "open_folder"]

NOTICE = Letter("notice", {"title": "Maintenance", "text": "On Sunday.", "topic": "service"}, 3600.0)


async def test_a_box_at_a_hub_that_is_killed_stopped_and_in_the_end_lets_it_in_no_more(hub: Hub, end: BoxEnd) -> None:
    await end.enrol(hub)
    bodies = [health(number) for number in range(30)]
    end.start()
    for number, one in enumerate(bodies):
        end.ledger.queue(one)
        if number == 10:
            hub.kill()
            await asyncio.to_thread(hub.start)
        if number == 20:
            assert await asyncio.to_thread(hub.stop) == 0
            await asyncio.to_thread(hub.start)
    await asyncio.to_thread(end.sent)
    found = await hub.query("SELECT number, body FROM entries ORDER BY number")
    assert [(number, bytes(body)) for number, body in found] == [(n, one.body) for n, one in enumerate(bodies)]

    row = await hub.box(end.box)
    message = await hub.ask(lambda database: messages.queue(database, message_key(hub.config.keys), row, NOTICE))
    place = end.outbox / DOWN / f"{message}.note"
    await asyncio.to_thread(end.wait, place.exists, "the message to be on the box's disk")
    verifier = (hub.folder / "keys" / "message_key.pub").read_text()
    assert message_of(opened(place.read_bytes(), [Verifier.of(verifier)]))["title"] == "Maintenance"
    while not await hub.query("SELECT 1 FROM messages WHERE id = ? AND received IS NOT NULL", message):  # noqa: ASYNC110
        await asyncio.sleep(0.05)

    assert await hub.query("SELECT kind, text FROM alarms") == []
    assert await hub.query("SELECT 1 FROM checkpoints") != []
    await hub.revoke(end.box)
    await asyncio.to_thread(end.wait, lambda: "revoked" in str(end.status()), "the link to know that it is revoked")
