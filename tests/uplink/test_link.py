"""The link against the real hub: each entry once and in order, whatever is killed or cut; off means off."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
from pathlib import Path

import asyncssh

from pbxd.hub.reading import catch_up
from pbxd.stats.layout import CALLS
from pbxd.uplink.bodies import Entry, body_of
from pbxd.uplink.book import State
from tests.hub.conftest import NewHub
from tests.hub.running import Hub
from tests.uplink.boxes import USER, BoxEnd, health


async def held(hub: Hub) -> list[tuple[int, bytes]]:
    """The entries that the hub has, in their order, once they are read."""
    await hub.ask(catch_up)
    found = await hub.query("SELECT number, body FROM entries ORDER BY number")
    return [(number, bytes(body) if body is not None else b"") for number, body in found]


def large(rows: int = 10_000) -> Entry:
    """An entry of more than a megabyte."""
    values = [*[1_000_000_000_000] * len(CALLS.sums), 0, 0, ""]
    tables = {
        "rollup_calls": [[3, str(1000 + number), *values] for number in range(rows)],
        "rollup_queues": [],
        "rollup_quality": [],
    }
    return Entry("stats", body_of("stats", {"slot": 7, "tables": tables, "levels": []}), 7)


def lines(end: BoxEnd) -> list[dict[str, object]]:
    return [json.loads(line) for line in (end.outbox / "ledger").read_bytes().splitlines()]


async def test_entries_arrive_as_they_were_entered_and_every_byte_is_accounted_for(hub: Hub, end: BoxEnd) -> None:
    """Entry, intent, sent; and the bytes on the wire, as the kernel counts them, are the ledger's and the SSH around them."""
    bodies = [health(number) for number in range(10)] + [large()] + [health(number) for number in range(10, 20)]
    await end.enrol(hub)
    for one in bodies[:12]:
        end.ledger.queue(one)
    process = end.start()
    end.becomes("connected")
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    assert f"pid={process.pid}," not in listening  # no listening port more
    for one in bodies[12:]:
        end.ledger.queue(one)
    end.sent()
    assert await held(hub) == [(number, one.body) for number, one in enumerate(bodies)]
    end.kill(signal.SIGTERM)
    end.ledger.fold(end.state)
    for number in range(len(bodies)):
        assert [line["what"] for line in lines(end) if line.get("number") == number] == ["entry", "intent", "sent"]
    (connection,) = [line for line in lines(end) if line["what"] == "connection"]
    payload = sum(len(one.body) for one in bodies)
    # Around a body: a frame's header (300 bytes), SSH's packets of 32 KiB; once the handshake, the sign-in and hello.
    around = len(bodies) * 400 + payload // 32_768 * 60 + 10_000
    sent = connection["sent"]
    assert isinstance(sent, int)
    assert payload < sent < payload + around, (payload, sent)


async def test_killed_and_cut_at_any_moment_each_arrives_once(hub: Hub, end: BoxEnd) -> None:
    """kill -9 of the link and of the hub in between; an entry whose intent has no result yet goes again, and is held once."""
    await end.enrol(hub)
    chance = random.Random(3)
    bodies = [health(number) for number in range(120)]
    for one in bodies:
        end.ledger.queue(one)
    end.tell(bandwidth=20_000)  # slow enough to be hit in the middle
    begun = 0
    for turn in range(3):
        end.start()
        wanted = min(len(bodies) - 1, begun + chance.randrange(5, 30))

        def far(wanted: int = wanted) -> bool:
            end.ledger.fold(end.state)
            return end.ledger.book.state(wanted) is not State.QUEUED

        end.wait(far, "some to be on their way")
        if turn == 1:
            hub.kill()
        end.kill()
        end.ledger.fold(end.state)
        begun = sum(end.ledger.book.count(state) for state in (State.SENT, State.BEGUN))
        if turn == 1:
            hub.start()
    assert end.ledger.book.count(State.BEGUN) > 0  # shown as intent without result
    end.tell(bandwidth=None)
    end.start()
    end.sent()
    assert await held(hub) == [(number, one.body) for number, one in enumerate(bodies)]
    assert end.ledger.book.count(State.SENT) == len(bodies)
    whats = [line["what"] for line in lines(end)]
    assert (whats.count("intent"), whats.count("sent")) == (len(bodies), len(bodies))


async def test_an_upload_goes_on_where_it_was_cut(hub: Hub, end: BoxEnd) -> None:
    await end.enrol(hub)
    whole = large()
    end.ledger.queue(whole)
    end.tell(bandwidth=400_000)
    end.start()
    await pieces(hub, len(whole.body) // 2)
    end.kill()
    end.tell(bandwidth=None)
    end.start()
    end.sent()
    end.kill(signal.SIGTERM)
    end.ledger.fold(end.state)
    last = [line for line in lines(end) if line["what"] == "connection"][-1]
    assert isinstance(last["sent"], int)
    assert last["sent"] < 0.8 * len(whole.body)
    assert await held(hub) == [(0, whole.body)]


async def test_what_the_hub_rejects_later_stands_in_the_ledger_once(hub: Hub, end: BoxEnd) -> None:
    """A body that is none, as a box of another version might send it: held first, rejected when it is read, here or after a cut."""
    await end.enrol(hub)
    for one in (health(0), Entry("stats", b"{}"), health(1)):
        end.ledger.queue(one)
    end.start()
    end.sent()
    end.kill()  # whether it has heard of it yet is open
    await hub.ask(catch_up)

    def rejected() -> bool:
        end.ledger.fold(end.state)
        return end.ledger.book.state(1) is State.REJECTED

    end.start()
    end.wait(rejected, "the rejection to be noted")
    async with asyncio.timeout(60):
        while await hub.query("SELECT 1 FROM refusals"):  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.05)
    end.kill(signal.SIGTERM)
    end.ledger.fold(end.state)
    whats = [[line["what"] for line in lines(end) if line.get("number") == number] for number in range(3)]
    assert whats == [["entry", "intent", "sent"], ["entry", "intent", "sent", "rejected"], ["entry", "intent", "sent"]]
    assert await held(hub) == [(0, health(0).body), (1, b""), (2, health(1).body)]


async def pieces(hub: Hub, wanted: int) -> None:
    """Wait until the hub holds so many bytes of an entry that is not whole yet."""
    async with asyncio.timeout(60):
        while (await hub.query("SELECT coalesce(sum(length(body)), 0) FROM parts"))[0][0] < wanted:  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.05)


async def test_P8_off_closes_it_and_looks_nothing_up(hub: Hub, end: BoxEnd) -> None:
    """Under strace: switched off while it is up, it makes no call to any address from then on; started while off, none at all."""
    await end.enrol(hub)
    end.tell(hub=f"localhost:{hub.port}")  # a name, which has to be looked up
    trace = end.folder / "trace"
    command = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace)]
    end.off()
    assert end.start(*command).wait(timeout=60) == 0
    assert "connect(" not in network(trace.read_text())
    end.on()
    end.tell(hub=f"{hub.address}:{hub.port}")
    process = end.start(*command)
    end.becomes("connected")
    assert f'sin_addr=inet_addr("{hub.address}")' in trace.read_text()
    before = len(trace.read_text())
    end.off()
    assert process.wait(timeout=60) == 0
    assert end.status()["state"] == "off"
    assert network(trace.read_text()[before:]) == ""


def network(trace: str) -> str:
    """The lines of a trace with an address of a network; those of the machine itself (AF_UNIX) are none."""
    return "\n".join(line for line in trace.splitlines() if "AF_INET" in line)


async def test_P7_nobody_but_the_pinned_hub_is_talked_to(hub: Hub, end: BoxEnd) -> None:
    await end.enrol(hub)
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    end.tell(host_keys=(other,))
    end.ledger.queue(health(1))
    end.start()
    end.becomes("refused")
    assert end.status()["why"] == "untrusted"
    end.ledger.fold(end.state)
    assert end.ledger.book.count(State.QUEUED) == 1
    assert await held(hub) == []


async def test_a_revoked_box_is_told_so_and_does_not_try_in_haste(hub: Hub, end: BoxEnd) -> None:
    await end.enrol(hub)
    await hub.revoke(end.box)
    end.tell(reconnect_longest=600.0)
    end.start()
    end.becomes("refused")
    assert end.status()["why"] == "revoked"
    end.wait(lambda: end.status().get("wait", 0) >= 300, "a long wait")


async def test_destroyed_entries_never_leave(hub: Hub, end: BoxEnd) -> None:
    await end.enrol(hub)
    for number in range(6):
        end.ledger.queue(health(number))
    gone = end.ledger.destroy([item for item in end.ledger.outbox.waiting() if item.number % 2], "test", end.state)
    assert gone == [1, 3, 5]
    end.start()
    end.sent()
    assert [number for number, body in await held(hub) if body] == [0, 2, 4]


async def test_a_silent_hub_is_noticed_and_the_link_comes_back(hub: Hub, end: BoxEnd) -> None:
    """The hub's process stands still: TCP goes on to acknowledge, and nobody answers. Then it is back."""
    await end.enrol(hub)
    end.tell(keepalive=0.5, keepalive_count=2)
    end.start()
    end.becomes("connected")
    assert hub.process is not None
    hub.process.send_signal(signal.SIGSTOP)
    end.wait(lambda: end.status()["state"] in ("waiting", "connecting"), "the link to notice")
    hub.process.send_signal(signal.SIGCONT)
    end.becomes("connected")


async def test_accept_then_drop_makes_no_storm(new_hub: NewHub, end: BoxEnd) -> None:
    """Waits grow while connections are dropped at once: only one that stayed up starts them anew."""
    hub = new_hub()
    hub.start()
    await end.enrol(hub)
    hub.stop()
    dropped: list[str] = []

    def drop(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dropped.append("")
        writer.close()

    server = await asyncio.start_server(drop, hub.address, hub.port)
    end.tell(reconnect_first=0.01, reconnect_longest=600.0)
    end.start()
    await asyncio.to_thread(end.wait, lambda: end.status().get("wait", 0) > 2, "the waits to grow")
    assert 5 < len(dropped) < 40
    server.close()
    await server.wait_closed()


STORES = (
    "stats/stats.db", "comms/vault/object", "comms/chat.db", "voicemail/INBOX/msg0000.wav", "spool/a.wav", "control.sock",
    "keys/ledger.key",
)  # fmt: skip


def test_P3_the_link_s_user_is_refused_by_the_operating_system(end: BoxEnd) -> None:
    """Each store as the daemon makes it (0700 or 0750, its own user's): the link's user gets EACCES, reading and writing."""
    for name in STORES:
        path = end.folder / "box" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"canary")
        path.chmod(0o640)
    for folder, _, _ in os.walk(end.folder / "box"):
        Path(folder).chmod(0o750)
    tries = [
        f"cat {end.folder}/box/{name}; echo x >> {end.folder}/box/{name}; ls {end.folder}/box/{Path(name).parent}"
        for name in STORES
    ]
    command = ["setpriv", "--reuid", USER, "--regid", "nogroup", "--clear-groups", "sh", "-c", "; ".join(tries)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
    )
    assert done.stdout == ""
    assert done.stderr.count("Permission denied") == 3 * len(STORES), done.stderr


def test_P3_the_link_cannot_write_the_outbox(end: BoxEnd) -> None:
    end.ledger.queue(health(1))
    for name in ("ledger", "checkpoint", "bodies/0", "lock"):
        command = [
            "setpriv",
            "--reuid",
            USER,
            "--regid",
            "nogroup",
            "--clear-groups",
            "sh",
            "-c",
            f": >> {end.outbox / name}",
        ]
        assert subprocess.run(command, capture_output=True, check=False).returncode != 0
