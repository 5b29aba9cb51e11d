"""The jump host, with real `ssh -J` to a box's own SSH server behind it."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from pbxd.cli import hub_staff
from pbxd.hub import staff
from pbxd.hub.keys import public_line
from tests.hub.conftest import NewHub, StartWithin
from tests.hub.peer import Peer, Refused, config, entry
from tests.hub.running import WIDE, Hub
from tests.hub.waiting import until

TICKET = "0123456789abcdef"
OLD_CLIENTS = WIDE + "classical_kex: true\n"  # OpenSSH 9.2 knows no mlkem768x25519-sha256


async def person(folder: Path, name: str = "anna") -> Path:
    """The private key's file of a new person."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    await asyncio.to_thread(
        subprocess.run, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True
    )
    return path


@asynccontextmanager
async def own_server(hub: Hub, ticket: str) -> AsyncIterator[int]:
    """A box's SSH server, as it is for one ticket: it says what it was asked, and who asked."""

    async def serve(process: asyncssh.SSHServerProcess[str]) -> None:
        data = await process.stdin.read()
        process.stdout.write(f"{process.command} {len(data)}\n" + data)
        process.exit(0)

    authority = public_line(hub.folder / "keys" / "support_ca.pub")
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")], process_factory=serve,
        authorized_client_keys=asyncssh.import_authorized_keys(f'cert-authority,principals="{ticket}" {authority}'), config=None,
    )  # fmt: skip
    try:
        yield server.get_port()
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def visitors(peer: Peer) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """The box's support connection, while its owner holds a ticket open."""
    async with own_server(peer.hub, TICKET) as port, peer.connection("support", **peer.signed()) as connection:
        await connection.forward_remote_port("support", 22, "127.0.0.1", port)
        yield connection


def ssh(
    hub: Hub, key: Path, box: str, *command: str, person: str = "anna", data: str = ""
) -> subprocess.CompletedProcess[str]:
    """`ssh -J hub box`, by OpenSSH, with nothing of this machine's own configuration."""
    folder = key.parent
    (folder / "known").write_text(f"[{hub.address}]:{hub.port} {hub.host_key}\n")
    (folder / "config").write_text(
        f"Host *\n  IdentityFile {key}\n  IdentitiesOnly yes\n  BatchMode yes\n"
        f"Host hub\n  HostName {hub.address}\n  Port {hub.port}\n  User {person}\n  UserKnownHostsFile {folder}/known\n"
        f"Host {box}\n  User support\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n"
    )
    words = ["ssh", "-F", str(folder / "config"), "-J", "hub", box, *command]
    return subprocess.run(words, capture_output=True, text=True, check=False, input=data)


async def test_staff_go_through_with_plain_ssh(new_hub: NewHub, within: StartWithin, tmp_path: Path) -> None:
    hub = new_hub(more=OLD_CLIENTS)
    node = await within(hub)
    peer = Peer(hub)
    await peer.enrol()
    key = await person(tmp_path / "anna")
    await hub.admit("anna", key.with_suffix(".pub").read_text())

    done = await asyncio.to_thread(ssh, hub, key, peer.id, "diagnose")
    assert "takes no visitors: its owner holds no ticket open" in done.stderr

    async with visitors(peer):
        done = await asyncio.to_thread(ssh, hub, key, peer.id, "diagnose")
        assert done.returncode, "the hub alone lets nobody into a box"
        assert "Permission denied" in done.stderr

        certificate = str(tmp_path / "anna" / "anna-cert.pub")
        made = await asyncio.to_thread(hub.ctl, "staff", "certify", "anna", TICKET, "--for", "10min", "-o", certificate)
        assert made.returncode == 0, made.stderr
        read = subprocess.run(
            ["ssh-keygen", "-L", "-f", certificate], capture_output=True, text=True, check=True
        ).stdout
        assert f'Key ID: "anna ticket {TICKET}"' in read
        assert f"{TICKET}\n" in read.partition("Principals:")[2]

        data = "x" * 3_000_000  # more than every window and buffer on the way
        done = await asyncio.to_thread(ssh, hub, key, peer.id, "diagnose", data=data)
        assert done.stdout == f"diagnose {len(data)}\n{data}", done.stderr[-500:]

        (tmp_path / "bob").mkdir()
        other = await person(tmp_path / "bob", "bob")
        assert (await asyncio.to_thread(ssh, hub, other, peer.id, "diagnose", person="bob")).returncode
        wrong = Peer(hub)
        await wrong.enrol()
        done = await asyncio.to_thread(ssh, hub, key, wrong.id, "diagnose")
        assert "takes no visitors" in done.stderr
    await until(lambda: not node.support.lines and not node.support.visits, "the way to be closed")
    while await hub.query("SELECT 1 FROM visits WHERE ended IS NULL"):  # noqa: ASYNC110 - nobody tells us
        await asyncio.sleep(0.01)
    shown = await asyncio.to_thread(hub.shown, "tickets", "--visits")
    assert {one["person"] for one in shown} == {"anna"}
    assert [one["box"] for one in shown] == [peer.id] * 2
    assert shown[0]["sent"] > 3_000_000 < shown[0]["received"]


async def test_a_way_through_opens_nothing_but_its_box(new_hub: NewHub, within: StartWithin, tmp_path: Path) -> None:
    hub = new_hub()
    await within(hub)
    peer = Peer(hub)
    await peer.enrol()
    path = await person(tmp_path / "anna")
    await hub.admit("anna", path.with_suffix(".pub").read_text())
    key = asyncssh.read_private_key(path)
    async with visitors(peer) as line, peer.connection("anna", client_keys=[key]) as jump:
        reader, _ = await jump.open_connection(peer.id, 22)
        assert (await reader.readline()).startswith(b"SSH-2.0-")
        for host, port in ((peer.id, 23), ("127.0.0.1", 22), ("", 22), ("x" * 200, 22), (hub.address, hub.port)):
            with pytest.raises(asyncssh.ChannelOpenError):
                await jump.open_connection(host, port)
        with pytest.raises(asyncssh.ChannelOpenError):
            await jump.run("id")
        with pytest.raises(asyncssh.ChannelListenError):
            await jump.forward_remote_port("support", 22, "127.0.0.1", 1)
        line.close()  # the owner ends it
        assert await reader.read() == b"" or reader.at_eof()


async def test_who_left_the_staff_is_out_at_once(new_hub: NewHub, within: StartWithin, tmp_path: Path) -> None:
    hub = new_hub()
    await within(hub)
    peer = Peer(hub)
    await peer.enrol()
    path = await person(tmp_path / "anna")
    await hub.admit("anna", path.with_suffix(".pub").read_text())
    key = asyncssh.read_private_key(path)
    async with visitors(peer), peer.connection("anna", client_keys=[key]) as jump:
        reader, _ = await jump.open_connection(peer.id, 22)
        await reader.readline()
        await hub.ask(lambda database: staff.remove(database, "anna"))
        async with asyncio.timeout(60):
            await jump.wait_closed()
    with pytest.raises(Refused, match="unknown"):
        async with peer.connection("anna", client_keys=[key]):
            pass


async def test_a_revoked_box_takes_no_visitors_and_another_node_says_where_it_is(
    new_hub: NewHub, within: StartWithin, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    database = request.getfixturevalue("postgres").database()
    one, other = new_hub(database=database), new_hub(database=database)
    await within(one)
    await within(other)
    peer = Peer(one)
    await peer.enrol()
    path = await person(tmp_path / "anna")
    await one.admit("anna", path.with_suffix(".pub").read_text())
    key = asyncssh.read_private_key(path)
    async with visitors(peer) as line:
        there = Peer(other)
        async with there.connection("anna", client_keys=[key]) as jump:
            with pytest.raises(asyncssh.ChannelOpenError, match=f"ssh -J {one.config.reached_at}"):
                await jump.open_connection(peer.id, 22)
        await one.revoke(peer.id)
        async with asyncio.timeout(60):
            await line.wait_closed()


async def test_tickets_are_what_the_boxes_tell(box: Peer) -> None:
    ticket = {
        "id": TICKET, "opened": "2026-11-28T07:00:00Z", "until": "2026-11-28T09:00:00Z", "scope": "diagnose", "reason": "law",
    }  # fmt: skip
    async with box.uplink() as (link, _):
        await link.send(entry(0, config(tickets=[ticket]), "config"))
        await link.until("accepted")
        found = await asyncio.to_thread(box.hub.shown, "tickets")
        expected = {
            "box": box.id,
            "ticket": TICKET,
            "scope": "diagnose",
            "reason": "law",
            "ended": None,
            "reachable": False,
        }
        assert [{name: one[name] for name in expected} for one in found] == [expected]
        await link.send(entry(1, config(), "config"))
        await link.until("accepted")
    assert [bool(one["ended"]) for one in await box.hub.ask(hub_staff.listed)] == [True]
