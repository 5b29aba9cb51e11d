"""Canaries in every store of a running box, under every combination of flags; whatever reaches a real hub is searched."""

from __future__ import annotations

import asyncio
import grp
import json
import logging
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from lab.asterisk import wait_until
from lab.tree import environment
from pbxd.cli.client import Client
from pbxd.config.load import load
from pbxd.daemon import Daemon
from pbxd.errors import ControlError
from pbxd.uplink.audit import verify
from pbxd.uplink.enrol import Applicant, enrol
from pbxd.uplink.keyring import read_signer
from pbxd.uplink.service import UplinkService
from tests.hub.running import Hub
from tests.recording.spools import recording
from tests.reports.postbox import Postbox
from tests.running import CONFIG
from tests.uplink.boxes import GROUP, BoxEnd
from tests.uplink.canaries import CANARIES, files, searched
from tests.voicemail.messages import put, text

NUMBER, LOCAL, NAME, LOGIN = CANARIES
Way = tuple[bool, tuple[str, str]] | str
STEP = 3 * 3600  # s that go by with each combination
CALLS_EACH = 3600  # s between two calls
YES_NO = (True, False)
STORES = tuple(product(YES_NO, repeat=3))  # recording, voicemail, chat: read when pbxd starts
GOING = tuple(product(YES_NO, (("none", "30d"), ("none", "null"), ("syslog", "30d"), ("mail", "30d"))))
WAYS: tuple[Way, ...] = (
    *GOING,
    "disabled",
    "off",
)  # statistics shared, where checkpoints go and how long bodies stay; or nothing goes
RULES = tuple(product(YES_NO, YES_NO, YES_NO, ("ask", "refuse"), ("show", "hide"), ("ask", "refuse")))
KEYS = {  # what of the flags goes up, each as itself
    "recording.enabled": "recording", "voicemail.enabled": "voicemail", "chat.enabled": "chat", "uplink.share_statistics": "share",
    "uplink.checkpoints": "checkpoints", "voicemail.archive_new": "archive", "chat.phones": "phones", "uplink.allow_shell": "shell",
    "uplink.proposals": "proposals", "uplink.notices": "notices", "uplink.offers": "offers",
}  # fmt: skip
BOX = """
log: {{level: error}}
ami: {{port: {ami}, secret: x}}
recording: {{enabled: {recording}, codec: flac, spool: {folder}/spool, spool_group: '{gid}'}}
voicemail: {{enabled: {voicemail}, spool: {folder}/voicemail, archive_new: {archive}, archive_after: {after}}}
chat: {{enabled: {chat}, phones: {phones}, rooms: {{room-{login}: {{members: [{login}]}}}}}}
comms: {{folder: {folder}/comms, key_file: {folder}/keys/comms.key}}
people: [{{name: {login}, login: nobody, extensions: ['101'], mailboxes: ['101']}}]
reports: {{mail: {{host: 127.0.0.1, port: {mail}, security: none, sender: pbx@example.org}}}}
uplink:
  hub: {hub}
  host_keys: ["{key}"]
  outbox: {folder}/outbox
  state: {folder}/state
  key_file: {folder}/ledger.key
  group: {group}
  support: {folder}/support
  accepted: {folder}/accepted.yaml
  reconnect_first: 50ms
  health_every: 1ms
  enabled: {enabled}
  share_statistics: {share}
  allow_shell: {shell}
  proposals: {proposals}
  notices: {notices}
  offers: {offers}
  checkpoints: {checkpoints}
  keep_bodies: {keep}
  checkpoints_to: admin@example.org
  checkpoints_log: {folder}/log.sock
"""


@dataclass(frozen=True, slots=True)
class Flags:
    """One combination."""

    stores: tuple[bool, ...]
    way: Way
    rules: tuple[Any, ...]

    @property
    def on(self) -> bool:
        return not isinstance(self.way, str)

    @property
    def expected(self) -> set[str]:
        """The classes of which something goes up."""
        if isinstance(self.way, str):
            return set()
        return {"config", "health", "stats"} if self.way[0] else {"config", "health"}

    def words(self) -> dict[str, str]:
        """As they stand in the configuration."""
        share, (checkpoints, keep) = (True, ("none", "30d")) if isinstance(self.way, str) else self.way
        archive, *rules = self.rules
        names = ("recording", "voicemail", "chat", "share", "checkpoints", "keep", "enabled", "archive", "phones", "shell",
                 "proposals", "notices", "offers")  # fmt: skip
        archive = archive and self.stores[1]  # the configuration takes it only where voicemail is looked after
        values = (*self.stores, share, checkpoints, keep, self.way != "disabled", archive, *rules)
        return {name: str(value).lower() for name, value in zip(names, values, strict=True)}


class Clocked(Daemon):
    """A pbxd whose uplink has the test's clock."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        super().__init__(path, load(path), None)
        self.uplink = UplinkService(self, clock)


class Box:
    """A box that has whatever a box can have, with canaries in it, in this process; and its link as a process of its own."""

    def __init__(self, end: BoxEnd, hub: Hub, ami: int, mail: int) -> None:
        self.end, self.hub, self.folder = end, hub, end.folder
        self.about = {
            "folder": end.folder, "gid": os.getgid(), "group": grp.getgrgid(GROUP).gr_name, "ami": ami, "mail": mail,
            "login": LOGIN, "hub": f"{hub.address}:{hub.port}", "key": hub.host_key,
        }  # fmt: skip
        self.now = time.time()
        self.seen = 0  # entries of combinations before
        self.log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.log.bind(str(self.folder / "log.sock"))
        self.log.setblocking(False)
        self.logged: list[bytes] = []

    def fill(self) -> None:
        """Canaries as each store has them; calls in each hour that the clock will go over."""
        recording(self.folder / "spool", "a1", 1.0, dialled=NUMBER, caller=LOCAL, parties=[
            {"endpoint": "PJSIP/101", "number": NUMBER, "name": NAME, "trunk": False},
            {"endpoint": "PJSIP/trunk-a", "number": LOCAL, "name": NAME, "trunk": True},
        ])  # fmt: skip
        place = put(self.folder / "voicemail", "id-1", when=int(self.now) - 86_400, sound=LOGIN.encode())
        said = text("id-1", int(self.now) - 86_400).replace(b'"Phone 121" <121>', f'"{NAME}" <{NUMBER}>'.encode())
        (place / "msg0000.txt").write_bytes(said)
        journals, begin = Path(__file__).parents[1] / "calls" / "journals", int(self.now)
        (self.folder / "log").mkdir()
        with (self.folder / "log" / "pbxd.csv").open("w") as journal:
            for name in ("queue.csv", "outbound.csv"):
                lines = (journals / name).read_text().replace("Phone 103", NAME).replace('"103"', f'"{NUMBER}"')
                for at in range(begin, begin + STEP * (len(STORES) * len(WAYS) + 1), CALLS_EACH):
                    journal.write(_later(lines, at))

    def configure(self, flags: Flags) -> None:
        """Write the configuration of a combination."""
        plain = CONFIG.format(folder=self.folder).replace("/state/stats.db", "/stats/stats.db")  # `state` is the link's
        after = "1h" if flags.stores[1] else "null"
        (self.folder / "pbxd.yaml").write_text(plain + BOX.format(**self.about, **flags.words(), after=after))

    @asynccontextmanager
    async def running(self, flags: Flags) -> AsyncIterator[Daemon]:
        """A pbxd with a combination."""
        self.configure(flags)
        daemon = Clocked(self.folder / "pbxd.yaml", lambda: self.now)
        task = asyncio.create_task(daemon.run())
        await until(lambda: task.done() or daemon.state == "running", "pbxd to run")
        try:
            yield daemon
        finally:
            daemon._stop.set()
            await task

    def in_every_store(self) -> None:
        """Say something in a chat, and wait until canaries are in each store, and found there."""
        client = Client(self.folder / "control.sock")

        def kept() -> bool:
            try:
                stored = [client.get(route) for route in routes]
            except ControlError:  # a store that is being opened
                return False
            return all(searched(json.dumps(one).encode()) for one in stored)

        routes = ["/v1/recordings/a1", "/v1/voicemail/messages?archived=1"]
        wait_until(kept, "a recording and a voice message to be stored")
        client.post("/v1/chat/messages", f"{NAME} {NUMBER}".encode(), to=f"room-{LOGIN}", token="1" * 16)
        assert searched(json.dumps(client.get(f"/v1/chat/rooms/room-{LOGIN}/messages")).encode())
        wait_until(lambda: client.get("/v1/status")["store"]["calls"] > len(RULES), "the calls")
        assert searched(b"".join(path.read_bytes() for path in files(self.folder / "stats")))

    async def enrol(self, uplink: UplinkService) -> None:
        """As `pbxctl uplink enrol` does."""
        what = await uplink.apply_for()
        who = Applicant(what["key"], what["ledger"], what["name"])
        await uplink.take_in(await enrol(what["hub"], tuple(what["host_keys"]), await self.hub.token(), who))

    async def go(self, daemon: Daemon, flags: Flags) -> None:
        """Take a combination up by a reload; some hours go by; everything that goes up by then is queued."""
        self.configure(flags)
        await daemon.reload()
        await daemon.uplink.switch(on=flags.way != "off")
        assert daemon.uplink.on is flags.on
        if flags.on and (self.end.process is None or self.end.process.poll() is not None):
            self.end.start()
        switched = len(self.queued())
        self.now += STEP
        await daemon.uplink.reload()  # it looks at once
        if flags.on:
            await until(lambda: set(self.queued()[self.seen :]) >= flags.expected, f"{flags.expected} of {flags}")
        found = self.queued()
        assert set(found[switched:]) <= flags.expected, flags
        self.seen = len(found)

    def queued(self) -> list[str]:
        """The class of each entry, in their order."""
        lines = (self.folder / "outbox" / "ledger").read_text().splitlines()
        return [json.loads(line)["class"] for line in lines if '"what":"entry"' in line]

    async def held(self) -> None:
        """Wait until the hub has every entry."""
        wanted, found = len(self.queued()), -1
        while found < wanted:
            ((found,),) = await self.hub.query("SELECT count(*) FROM entries")
            await asyncio.sleep(0.02)


def _later(lines: str, at: int) -> str:
    """A call's lines as if it had begun at another time, in bridges of its own."""
    first = int(re.findall(r"\b\d{10}\b", lines)[0])
    lines = re.sub(r"\b\d{10}\b", lambda found: str(int(found[0]) - first + at), lines)
    return re.sub(r"\b[0-9a-f]{8}-(?=[0-9a-f]{4}-)", f"{at:08x}-", lines)


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something, in this process or another one."""
    try:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - also of other processes
                await asyncio.sleep(0.03)
    except TimeoutError as error:
        raise AssertionError(f"waited in vain for {what}") from error


pytestmark = pytest.mark.timeout(280)


@pytest.fixture
def box(end: BoxEnd, hub: Hub, port: int) -> Iterator[Box]:
    command = [sys.executable, "-m", "tests.voicemail.exchange", str(end.folder / "voicemail")]
    end.ledger.close()  # it is the daemon's
    for path in files(end.outbox):
        path.unlink()
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as exchange:
        assert exchange.stdout is not None
        made = Box(end, hub, int(exchange.stdout.readline()), port)
        made.fill()
        yield made
        made.log.close()
        exchange.kill()
    logger.handlers[:], logger.level = handlers, level


def turns() -> Iterator[list[Flags]]:
    """Every combination, those with the same stores together; where nothing goes stands beside where nothing goes."""
    rules = iter(RULES)
    for number, stores in enumerate(STORES):
        turn = [Flags(stores, way, next(rules) if way in GOING else RULES[0]) for way in WAYS]
        yield turn[::-1] if number % 2 else turn


async def test_P3_canaries_stay_on_the_box_under_every_combination_of_flags(box: Box, postbox: Postbox) -> None:
    """Every combination is: recordings, voicemail and chats each kept or not, times statistics shared or not, times where the
    ledger's checkpoints go, beside `enabled: false` and `pbxctl uplink off`: these decide what there is, and what goes.

    The six other flags (RULES) say what people and the vendor may do; nothing that goes up is made by them, each goes up as itself
    in `config`. Each of their 64 combinations goes up once (archive_new can be true only where voicemail is looked after).
    """
    wanted = []
    for turn in turns():
        async with box.running(turn[0]) as daemon:
            if box.end.process is None:
                asyncio.get_running_loop().add_reader(box.log, lambda: box.logged.append(box.log.recv(65536)))
                await asyncio.to_thread(box.in_every_store)
                await box.enrol(daemon.uplink)
            for flags in turn:
                await box.go(daemon, flags)
                wanted += [flags.words()] if flags.on else []
    await box.held()
    box.end.kill()
    assert verify(box.end.outbox, read_signer(box.folder / "ledger.key").verifier).faults == []
    rows = await box.hub.query("SELECT \"class\", body FROM entries UNION ALL SELECT 'part', body FROM parts")
    bodies = [(class_, json.loads(body)) for class_, body in rows if body is not None and class_ != "part"]
    told = {tuple(str(one["config"][key]).lower() for key in KEYS) for class_, one in bodies if class_ == "config"}
    assert told >= {tuple(words[name] for name in KEYS.values()) for words in wanted}
    assert sum(class_ == "stats" for class_, _ in bodies) > len(wanted) / 2
    kept = [path.read_bytes() for folder in (box.end.outbox, box.end.state, box.hub.folder) for path in files(folder)]
    assert (
        searched(
            b"\n".join([*kept, *(body or b"" for _, body in rows), *box.logged, *(mail for _, mail in postbox.taken)])
        )
        == []
    )
    assert box.logged
    assert postbox.taken
