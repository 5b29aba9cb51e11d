"""What a box and the hub say to each other, on both kinds of store."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import struct

from pbxd.hub import messages, upkeep
from pbxd.hub.config import Keep
from pbxd.hub.database import Database
from pbxd.hub.keys import message_key
from pbxd.hub.messages import Letter
from pbxd.uplink.bodies import LARGEST
from pbxd.uplink.frames import Frame, encode, frame
from pbxd.uplink.notes import Verifier, opened
from pbxd.uplink.vocabulary import message_of
from tests.hub.conftest import NewHub, StartWithin
from tests.hub.peer import Peer, config, entry, health, pieces

AT_ONCE = ("sha256", "size")  # of these the hub keeps nothing; of the rest it finds out when it reads it
SHORT = Keep.model_validate({"bodies": "1ms", "visits": "1ms"})
NOTICE = Letter("notice", {"title": "Maintenance", "text": "On Sunday.", "topic": "service"}, 3600.0)


async def held(peer: Peer) -> list[tuple[int, str, bytes | None]]:
    """What the store has of the entries, once they are read."""
    await peer.read()
    found = await peer.hub.query("SELECT number, why, body FROM entries ORDER BY ledger, number")
    return [(number, why, None if body is None else bytes(body)) for number, why, body in found]


async def alarms(peer: Peer) -> list[str]:
    return [kind for (kind,) in await peer.hub.query("SELECT kind FROM alarms ORDER BY id")]


async def test_entries_are_held_once_and_in_their_order(box: Peer) -> None:
    async with box.uplink() as (link, welcome):
        assert (welcome["next"], welcome["have"]) == (0, 0)
        await link.send(*(entry(n, health(n)) for n in range(5)), frame("skip", number=5, why="destroyed"))
        assert [(await link.until("accepted"))["number"] for _ in range(5)] == list(range(5))
        await link.send(entry(3, health(3)))  # again
        assert (await link.until("accepted", "rejected")).type == "accepted"
    async with box.uplink() as (_, welcome):
        assert (welcome["next"], welcome["have"]) == (6, 0)
    assert await held(box) == [*((n, "", health(n)) for n in range(5)), (5, "destroyed", None)]


async def test_an_entry_goes_on_where_its_connection_ended(box: Peer) -> None:
    body = config(config={f"k.{'x' * n}": 1 for n in range(1, 30)})
    first, second, *rest = pieces(0, body, 100, class_="config")
    async with box.uplink() as (link, _):
        await link.send(first, second)
        while len(await box.hub.query("SELECT 1 FROM parts")) < 2:  # noqa: ASYNC110 - a piece has no answer
            await asyncio.sleep(0.01)
    async with box.uplink() as (link, welcome):
        assert (welcome["next"], welcome["have"]) == (0, 200)
        await link.send(*rest)
        assert (await link.until("accepted"))["number"] == 0
    assert await held(box) == [(0, "", body)]
    assert await box.hub.query("SELECT 1 FROM parts") == []


async def test_what_is_not_of_its_form_is_rejected_and_the_box_goes_on(box: Peer) -> None:
    good = health(1)
    twice = {"slot": 1, "levels": [], "tables": {"rollup_calls": [], "rollup_queues": [], "rollup_quality": []}}
    row = [0, "", *[0] * 16, 0, 0, ""]
    twice["tables"] = {**twice["tables"], "rollup_calls": [row, row]}  # type: ignore[dict-item]
    faulty = [
        (entry(0, good, sha256=hashlib.sha256(b"else").hexdigest()), "sha256"),
        (entry(1, good, "stats"), "schema"),
        (entry(2, b"{}"), "schema"),
        (entry(3, b"\xff\xfe"), "schema"),
        (Frame("entry", {**entry(4, good).fields, "size": LARGEST + 1}, good), "size"),
        (entry(5, json.dumps(twice).encode(), "stats"), "schema"),
        (entry(6, config(zone="Europe/Atlantis"), "config"), "schema"),
    ]
    whys = {number: why for number, (_, why) in enumerate(faulty)}
    async with box.uplink() as (link, _):
        await link.send(*(one for one, _ in faulty), entry(7, good))
        for number in range(8):  # at once only what is not whole is turned away
            answer = await link.until("accepted", "rejected")
            wanted = whys[number] if whys.get(number) in AT_ONCE else None
            assert (answer["number"], answer.fields.get("why")) == (number, wanted)
        later = {number: why for number, why in whys.items() if why not in AT_ONCE}
        found = [await link.until("rejected") for _ in later]
        assert {one["number"]: one["why"] for one in found} == later
    assert [(number, why) for number, why, _ in await held(box)] == [*whys.items(), (7, "")]
    assert await box.hub.query("SELECT 1 FROM entries WHERE why <> '' AND body IS NOT NULL") == []
    assert sorted(await alarms(box)) == ["rejected"] * len(faulty)


async def test_a_rejection_is_told_until_the_box_has_noted_it(box: Peer) -> None:
    """The box misses it, is away when it is found out, and answers late: it is told each time, and no more once it has noted it."""
    async with box.uplink() as (link, _):
        await link.send(entry(0, b"{}"), entry(1, health(1), sha256="0" * 64))
        assert (await link.until("accepted"))["number"] == 0
    await box.read()
    for _ in range(2):
        async with box.uplink() as (link, welcome):
            assert welcome["next"] == 2
            found = [await link.until("rejected") for _ in range(2)]
            assert [(one["number"], one["why"]) for one in found] == [(0, "schema"), (1, "sha256")]
    async with box.uplink() as (link, _):
        await link.until("rejected")
        await link.send(frame("noted", number=0), frame("noted", number=77), entry(2, health(2)))
        await link.until("accepted")
    async with box.uplink() as (link, _):
        assert (await link.until("rejected"))["number"] == 1
        await link.send(frame("noted", number=1), entry(3, health(3)))
        await link.until("accepted")
    assert await box.hub.query("SELECT 1 FROM refusals") == []


HEADER = b'{"type":"skip","number":0,"why":"destroyed"}'


GARBAGE = [
    os.urandom(5000),
    b"GET / HTTP/1.1\r\n\r\n" * 10,
    struct.pack(">II", 2**31, 0),
    struct.pack(">II", 10, 2**31) + b"x" * 10,
    struct.pack(">II", len(HEADER), 5) + HEADER + b"12345",
    encode(frame("welcome", protocol=1, time="2026-11-28T07:00:00Z", next=0, have=0)),  # a hub's word
    encode(frame("hello", protocol=1, version="1", ledger="0" * 64, size=0)),  # a second greeting
    encode(entry(7, health(7))),  # a number that is too high
    encode(pieces(0, health(0), 50)[1]),  # a piece whose beginning never came
]


async def test_garbage_ends_its_own_connection_and_nothing_else(new_hub: NewHub, within: StartWithin) -> None:
    hub = new_hub()
    node = await within(hub)
    peer, other = Peer(hub), Peer(hub)
    await peer.enrol()
    await other.enrol()
    async with other.uplink() as (good, _):
        for number, garbage in enumerate(GARBAGE):
            async with peer.uplink() as (link, welcome):
                assert welcome["next"] == 0
                await link.raw(garbage)
                assert await link.ended() == []
            await good.send(entry(number, health(number)))
            assert (await good.until("accepted"))["number"] == number
        async with peer.channel() as link:  # before the greeting
            await link.raw(encode(frame("skip", number=0, why="destroyed")))
            assert await link.ended() == []
    assert (node.counts["broken"], node.counts["faults"]) == (len(GARBAGE) + 1, 0)


async def test_messages_are_sent_until_the_box_has_them(box: Peer) -> None:
    row = await box.hub.box(box.id)
    signer = message_key(box.hub.folder / "keys")

    async def queue(database: Database) -> str:
        return await messages.queue(database, signer, row, NOTICE)

    first = await box.hub.ask(queue)
    async with box.uplink() as (link, _):
        assert (await link.until("message"))["id"] == first
        second = await box.hub.ask(queue)  # while it is connected: a node notices by itself
        assert (await link.until("message"))["id"] == second
    async with box.uplink() as (link, _):
        found = [await link.until("message"), await link.until("message")]
        assert [one["id"] for one in found] == [first, second]
        await link.send(*(frame("received", id=one["id"]) for one in found))
        await link.send(entry(0, health(0)))
        await link.until("accepted")  # so those before it were taken
    assert box.enrolled is not None
    said = message_of(opened(found[0].body, [Verifier.of(box.enrolled["message_key"])]))
    assert (said["box"], said["kind"], said["title"]) == (box.id, "notice", "Maintenance")
    async with box.uplink() as (link, _):
        await link.send(entry(1, health(1)))
        answer = await link.next()
        assert answer is not None
        assert answer.type == "accepted"  # no message came before it


async def test_another_boxs_messages_are_not_its_own(box: Peer) -> None:
    other = Peer(box.hub)
    await other.enrol()
    row = await box.hub.box(box.id)
    signer = message_key(box.hub.folder / "keys")
    message = await box.hub.ask(lambda database: messages.queue(database, signer, row, NOTICE))
    async with other.uplink() as (link, _):
        await link.send(frame("received", id=message), entry(0, health(0)))
        answer = await link.next()
        assert answer is not None
        assert answer.type == "accepted"
    async with box.uplink() as (link, _):
        assert (await link.until("message"))["id"] == message


async def test_checkpoints_are_kept_and_said_back_and_a_fork_is_told(box: Peer) -> None:
    roots = [hashlib.sha256(bytes([n])).digest() for n in range(3)]
    async with box.uplink() as (link, _):
        await link.send(box.checkpoint(5, roots[0]), box.checkpoint(5, roots[0]), box.checkpoint(9, roots[1]))
        await link.send(entry(0, health(0)))
        await link.until("accepted")
        assert await alarms(box) == []
    async with box.uplink() as (link, _):
        note = await link.until("message")
        assert box.enrolled is not None
        said = message_of(opened(note.body, [Verifier.of(box.enrolled["message_key"])]))
        assert (said["kind"], said["size"], base64.b64decode(said["root"])) == ("checkpoint", 9, roots[1])
        await link.send(box.checkpoint(9, roots[2]))  # another ledger of the same size
        await link.send(box.checkpoint(7, roots[2]))  # a shorter one, after that
        await link.send(frame("checkpoint", Peer(box.hub).checkpoint(11, roots[2]).body))  # signed by somebody else
        await link.send(entry(1, health(1)))
        await link.until("accepted")
    assert await alarms(box) == ["fork", "rollback", "checkpoint"]
    assert len(await box.hub.query("SELECT 1 FROM checkpoints WHERE size = 9")) == 2  # both, as they were signed
    async with box.uplink(size=1):  # and its ledger has become shorter than what is held
        pass
    assert (await alarms(box))[-1] == "rollback"


async def test_what_is_old_is_deleted_and_that_it_was_held_is_not(box: Peer) -> None:
    async with box.uplink() as (link, _):
        await link.send(entry(0, health(0)), entry(1, config(), "config"))
        await link.until("accepted")
        assert (await link.until("accepted"))["number"] == 1
        await box.hub.ask(lambda database: upkeep.forget(database, Keep()))
        assert [why for _, why, _ in await held(box)] == ["", ""]
        await box.hub.ask(lambda database: upkeep.forget(database, SHORT))
        assert await held(box) == [(0, "aged", None), (1, "", config())]
        await link.send(entry(0, health(0)))
        assert (await link.until("accepted", "rejected")).type == "accepted"


async def test_a_box_that_drops_what_it_is_told_sends_it_again_and_nothing_is_doubled(box: Peer) -> None:
    """The answer never arrives: the connection is cut while it is on its way."""
    number = 0
    while number < 20:
        async with box.uplink() as (link, welcome):
            number = welcome["next"]
            await link.send(*(entry(n, health(n)) for n in range(number, number + 3)))
    found = await held(box)
    assert found[:20] == [(n, "", health(n)) for n in range(20)]
