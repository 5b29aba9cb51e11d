"""Who gets in: tokens, certificates, revocation."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncssh
import pytest

from pbxd.hub import certificates, keys
from pbxd.hub.certificates import shown
from pbxd.uplink.frames import frame
from pbxd.uplink.notes import Verifier
from tests.hub.conftest import NewHub, StartWithin
from tests.hub.peer import Peer, Refused, entry, health
from tests.hub.running import WIDE, Hub

DAY = 86400


def seconds() -> int:
    return int(time.time())


async def refusal(peer: Peer) -> str:
    """Why the hub does not let this box in."""
    with pytest.raises(Refused) as refused:
        async with peer.channel():
            pass
    return refused.value.why


def forged(
    peer: Peer, hub: Hub, times: tuple[int, int], *, box: str = "", authority: asyncssh.SSHKey | None = None
) -> str:
    """A certificate as the box CA, or another, might have made it."""
    ca = authority or keys.private_key(hub.folder / "keys" / "box_ca")
    return certificates.for_box(ca, peer.public, box or peer.id, 9, times)


async def test_an_enrolment_gives_all_that_a_box_needs(box: Peer) -> None:
    answer = box.enrolled
    assert answer is not None
    certificate = asyncssh.import_certificate(box.certificate)
    found = shown(certificate.public_data)
    assert found is not None
    assert found.principals == (box.id,)
    assert found.after < time.time() < found.before <= time.time() + 90 * DAY
    assert answer["support_ca"] == keys.public_line(box.hub.folder / "keys" / "support_ca.pub")
    assert Verifier.of(answer["message_key"]).text == answer["message_key"]
    row = await box.hub.box(box.id)
    assert (row.name, row.key) == ("Praxis", " ".join(box.public.split()[:2]))


async def test_a_token_is_good_once_and_a_lost_answer_costs_none(box: Peer) -> None:
    token = await box.hub.token()
    first = await box.ask(token)
    again = await box.ask(token)  # the answer was lost
    assert again["box"] == first["box"]
    other = Peer(box.hub)
    answer = await other.ask(token)
    assert (answer.type, answer["why"]) == ("refused", "token")
    other.key = box.key  # who overheard the token and the public key still has another ledger
    assert (await other.ask(token)).type == "refused"
    assert len(await box.hub.query("SELECT 1 FROM boxes")) == 2
    assert await box.hub.query("SELECT 1 FROM tokens WHERE sha256 = ?", token) == []


async def test_tokens_that_are_none(box: Peer) -> None:
    with pytest.raises(Refused, match="unknown"):
        await box.ask("x" * 43)
    with pytest.raises(Refused, match="expired"):
        await box.ask(await box.hub.token(-1.0))
    answer = await box.ask(await box.hub.token(), protocol=2)
    assert (answer.type, answer["why"]) == ("refused", "protocol")
    for faulty in ({"key": "ssh-rsa AAAA"}, {"ledger": "name+00000000+AAAA"}):
        with pytest.raises(AssertionError):  # no answer: the connection ends
            await box.ask(await box.hub.token(), **faulty)


async def test_a_password_or_a_bare_key_opens_nothing_else(box: Peer) -> None:
    token = await box.hub.token()
    attempts: list[tuple[str, dict[str, Any]]] = [
        ("box", {"password": token}),
        ("support", {"password": token}),
        ("root", {"password": token}),
        ("box", {"client_keys": [box.key]}),
        ("anna", box.signed()),
        ("enrol", box.signed()),
    ]
    for user, credentials in attempts:
        with pytest.raises(Refused):
            async with box.connection(user, **credentials):
                pass


async def test_certificates_that_are_not_good(box: Peer) -> None:
    now = seconds()
    good = box.certificate
    cases = [
        (forged(box, box.hub, (now - 2 * DAY, now - DAY)), "expired"),
        (forged(box, box.hub, (now + DAY, now + 2 * DAY)), "not-yet-valid"),
        (forged(box, box.hub, (now - DAY, now + DAY), box="0123456789abcdef"), "unknown"),
        (forged(box, box.hub, (now, now + DAY), authority=asyncssh.generate_private_key("ssh-ed25519")), "unknown"),
    ]
    for certificate, why in cases:
        box.certificate = certificate
        assert await refusal(box) == why
    box.certificate = good
    stolen = Peer(box.hub)  # the certificate without the private key
    stolen.id, stolen.certificate = box.id, good
    with pytest.raises((Refused, ValueError)):
        async with stolen.channel():
            pass


async def test_a_hub_whose_clock_went_back_says_that_it_is_its_clock(new_hub: NewHub, within: StartWithin) -> None:
    hub = new_hub()
    node = await within(hub)
    peer = Peer(hub)
    await peer.enrol()
    node.made += 10**13  # what it reads at its start is when it was set up
    assert await refusal(peer) == "clock"


async def test_a_revoked_box_is_out_at_once_and_stays_out(box: Peer) -> None:
    async with box.uplink() as (link, _):
        await box.hub.revoke(box.id)
        assert [one["why"] for one in await link.ended() if one.type == "bye"] == ["revoked"]
    assert await refusal(box) == "revoked"


async def test_it_is_revoked_on_whichever_node_it_is(
    new_hub: NewHub, within: StartWithin, request: pytest.FixtureRequest
) -> None:
    database = request.getfixturevalue("postgres").database()
    one, other = new_hub(database=database), new_hub(database=database)
    await within(one)
    await within(other)
    peer = Peer(one)
    await peer.enrol()
    peer.hub = other  # any node takes any box
    async with peer.uplink() as (link, _):
        await link.send(entry(0, health(0)))
        assert (await link.until("accepted"))["number"] == 0
        await one.revoke(peer.id)
        assert (await link.until("bye"))["why"] == "revoked"
    peer.hub = one
    assert await refusal(peer) == "revoked"


async def test_the_newest_connection_writes_on_whichever_node_it_is(
    new_hub: NewHub, within: StartWithin, request: pytest.FixtureRequest
) -> None:
    database = request.getfixturevalue("postgres").database()
    one, other = new_hub(database=database), new_hub(database=database)
    await within(one)
    await within(other)
    peer, again = Peer(one), Peer(other)
    await peer.enrol()
    again.id, again.certificate, again.key, again.ledger = peer.id, peer.certificate, peer.key, peer.ledger
    async with peer.uplink() as (old, _), again.uplink() as (new, _):
        await old.send(entry(0, health(0)))
        assert (await old.until("bye", "accepted")).fields == {"why": "replaced"}
        await new.send(entry(0, health(1)))
        assert (await new.until("accepted"))["number"] == 0
    assert [bytes(body) for (body,) in await one.query("SELECT body FROM entries")] == [health(1)]


async def test_a_certificate_is_renewed_before_its_end(new_hub: NewHub, within: StartWithin) -> None:
    hub = new_hub(more=WIDE + "certificates: {box: 2d, renew: 1d}\n")
    await within(hub)
    peer = Peer(hub)
    await peer.enrol()
    now = seconds()
    peer.certificate = forged(peer, hub, (now - DAY, now + DAY // 2))
    async with peer.uplink() as (link, _):
        renewed = await link.until("renewed")
    peer.certificate = renewed["certificate"]
    found = shown(asyncssh.import_certificate(peer.certificate).public_data)
    assert found is not None
    assert found.before > now + DAY
    async with peer.uplink() as (link, _):
        await link.send(entry(0, health(0)))
        assert (await link.next() or frame("skip")).type == "accepted"  # no other one is sent


async def test_a_box_with_a_new_ledger_enrols_anew_under_its_id(box: Peer) -> None:
    async with box.uplink() as (link, _):
        await link.send(entry(0, health(0)))
        await link.until("accepted")
    before = box.id
    new = Peer(box.hub)
    new.id, new.certificate, new.key = box.id, box.certificate, box.key
    async with new.channel() as link:
        await link.send(new.hello())
        assert (await link.until("bye", "welcome"))["why"] == "ledger"
    await new.enrol(await box.hub.token(box=before))
    assert new.id == before
    async with new.uplink() as (link, welcome):
        assert welcome["next"] == 0
        await link.send(entry(0, health(7)))
        await link.until("accepted")
    assert [kind for (kind,) in await box.hub.query("SELECT kind FROM alarms")] == ["ledger"]
    assert len(await box.hub.query("SELECT 1 FROM entries WHERE number = 0")) == 2


async def test_only_the_newest_connection_of_a_box_may_write(box: Peer) -> None:
    async with box.uplink() as (old, _), box.uplink() as (new, _):
        assert (await old.until("bye"))["why"] == "replaced"
        await new.send(entry(0, health(0)))
        assert (await new.until("accepted"))["number"] == 0


async def test_nobody_gets_in_twice_by_one_connection(box: Peer) -> None:
    async with box.connection("box", **box.signed()) as connection:
        await connection.create_process(subsystem="pbxd-uplink", encoding=None)
        for more in ("pbxd-uplink", "pbxd-enrol"):
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.create_process(subsystem=more, encoding=None)
    async with box.connection("box", **box.signed()) as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            async with asyncio.timeout(60):
                await connection.run("id")
    async with box.connection("box", **box.signed()) as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_connection("127.0.0.1", 22)
        with pytest.raises(asyncssh.ChannelListenError):
            await connection.forward_remote_port("127.0.0.1", 2222, "127.0.0.1", 22)
