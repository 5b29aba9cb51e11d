"""One node of the hub: its listener, the connections that it holds, and what it asks the store for them.

Nothing that another node needs is in its memory but the live connections: any node may take any box.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import asyncssh
import structlog

from pbxd.errors import FrameError, HubError, PbxdError, StoreError
from pbxd.hub import boxes, reading, staff, upkeep, uplink
from pbxd.hub.boxes import SECOND
from pbxd.hub.channel import FrameChannel
from pbxd.hub.config import HubConfig
from pbxd.hub.database import Database, now
from pbxd.hub.keys import Keys
from pbxd.hub.limits import Door
from pbxd.hub.listener import listen
from pbxd.hub.reader_process import ReaderProcess
from pbxd.hub.sign_in import SignIn
from pbxd.hub.support import Support
from pbxd.hub.web import Web
from pbxd.notify import notify
from pbxd.supervise import supervise
from pbxd.uplink.frames import frame
from pbxd.uplink.vocabulary import BOX_USER, ENROL_USER, SUPPORT_USER

POLL = 1.0  # s between two looks for what others changed: so long a revoked box may still talk
BEAT = 5  # polls between two signs of life in the store
ALIVE = 4 * BEAT * POLL  # s after its last sign of life at which a node counts as gone
HOURLY = 3600.0  # s between two looks at all connections, for certificates that end soon, and at what is old
GRACE = 0.5  # s that a box gets to end a connection of which we said goodbye
DRAIN = 3.0  # s for all of them at a stop

log = structlog.get_logger("pbxd.hub")


class Node:
    """A running hub."""

    def __init__(self, config: HubConfig, keys: Keys, database: Database) -> None:
        self.config = config
        self.keys = keys
        self.database = database
        self.box_ca = keys.box_ca.public_data
        self.made = 0  # when the hub began; a clock before it is wrong
        limits = config.limits
        self.door = Door(limits.connections, limits.signing_in, limits.rate, limits.burst)
        self.live: dict[int, uplink.Uplink] = {}  # by the box's number
        self.people: set[SignIn] = set()
        self.support = Support(self)
        self.reader = ReaderProcess(config)
        self.counts: Counter[str] = Counter()
        self.ready = asyncio.Event()  # it listens
        self._tasks: set[asyncio.Task[None]] = set()
        self._everyone: set[SignIn] = set()
        self._seen = 0  # the newest change that was looked at

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`. HubError or StoreError if it cannot begin."""
        await self._begin()
        web = Web(self)
        try:
            server = await listen(self)
        except OSError as error:
            raise HubError(f"listen: {self.config.listen} cannot be had: {error.strerror}") from error
        async with asyncio.TaskGroup() as group:
            await web.start()
            parts = [
                group.create_task(supervise(name, part))
                for name, part in (("changes", self._watch), ("upkeep", self._hourly), ("reader", self.reader.run))
            ]
            log.info("the hub is ready", node=self.config.node, listen=self.config.listen)
            notify("READY=1")
            self.ready.set()
            await stop.wait()
            notify("STOPPING=1")
            server.close()
            await self._drain()
            for part in parts:
                part.cancel()
            await web.stop()

    async def _begin(self) -> None:
        ((self.made, self._seen),) = await self.database.read("reading the hub", "SELECT made, changes FROM hub")
        if now() < self.made:
            log.error("the clock stands before this hub's beginning: boxes are refused until it is right")
        await boxes.let_all_go(self.database, self.config.node)
        await self._beat(started=now())
        if await reading.waiting(self.database):
            self.reader.wake()

    async def _beat(self, started: int | None = None) -> None:
        sql = (
            "INSERT INTO nodes (name, address, started, seen, boxes) VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE"
            " SET address = excluded.address, seen = excluded.seen, boxes = excluded.boxes, started = CASE"
            " WHEN excluded.started > 0 THEN excluded.started ELSE nodes.started END"
        )
        values = (self.config.node, self.config.reached_at, started or 0, now(), len(self.live))
        await self.database.write("a sign of life", sql, *values)

    async def _watch(self) -> None:
        """Look for what operators and other nodes changed, and be seen to live."""
        turn = 0
        while True:
            await asyncio.sleep(POLL)
            turn += 1
            try:
                if turn % BEAT == 0:
                    await self._beat()
                sql = "SELECT number, box FROM changes WHERE number > ? ORDER BY number"
                for number, box in await self.database.read("looking for changes", sql, self._seen):
                    await self._changed(int(box))
                    self._seen = int(number)
            except StoreError as error:
                log.error("the store does not answer", error=str(error))

    async def _changed(self, box: int) -> None:
        if box == staff.EVERYBODY:
            for person in list(self.people):
                if await staff.key_of(self.database, person.user) is None and person.connection is not None:
                    person.connection.close()
            return
        if box in self.live:
            self.live[box].channel.wake()
        await self.support.look(box)

    async def _hourly(self) -> None:
        while True:
            try:
                await upkeep.forget(self.database, self.config.keep)
            except StoreError as error:
                log.error("what is old could not be deleted", error=str(error))
            await asyncio.sleep(HOURLY)
            for one in list(self.live.values()):
                one.channel.wake()

    async def _drain(self) -> None:
        """Say goodbye to all, and end."""
        for one in list(self.live.values()):
            one.end("restart")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAIN)
        for owner in list(self._everyone):
            if owner.connection is not None:
                owner.connection.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAIN)
        for task in self._tasks:
            task.cancel()
        await boxes.let_all_go(self.database, self.config.node)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside; a failure is logged."""
        task = asyncio.get_running_loop().create_task(self._logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _logged(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except PbxdError as error:
            log.error("something failed", error=str(error))
        except Exception:
            self.counts["faults"] += 1
            log.exception("a mistake of ours")

    def came(self, owner: SignIn) -> None:
        """A connection has signed in."""
        self._everyone.add(owner)
        self.counts["sign_ins"] += 1
        if owner.user not in (BOX_USER, ENROL_USER, SUPPORT_USER):
            self.people.add(owner)

    def left(self, owner: SignIn) -> None:
        """A connection is gone."""
        self._everyone.discard(owner)
        self.people.discard(owner)

    def talk(self, owner: SignIn, channel: FrameChannel) -> None:
        """A channel of frames was opened."""
        self.spawn(self._conversation(owner, channel))

    async def _conversation(self, owner: SignIn, channel: FrameChannel) -> None:
        """Talk, and end the connection. What the box does wrong ends its own connection and nothing else."""
        who = {"box": owner.box.id if owner.box else "", "address": owner.address}
        try:
            if owner.box is None:
                await uplink.enrolment(self, owner, channel)
            else:
                await uplink.Uplink(self, owner, owner.box, channel).run()
        except FrameError as error:
            self.counts["broken"] += 1
            log.warning("a connection was ended: it broke the protocol", error=str(error), **who)
        except TimeoutError:
            self.counts["broken"] += 1
            log.info("a connection was ended: it said nothing", **who)
        except StoreError as error:
            log.error("a connection was ended: the store failed", error=str(error), **who)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await channel.send(frame("bye", why="busy"))
        finally:
            channel.close()
            await self._goodbye(owner)

    async def _goodbye(self, owner: SignIn) -> None:
        """Let the box end the connection; end it if it does not."""
        connection = owner.connection
        if connection is not None:
            with contextlib.suppress(TimeoutError, asyncssh.Error, OSError):
                async with asyncio.timeout(GRACE):
                    await connection.wait_closed()
            connection.close()

    def holds(self, one: uplink.Uplink) -> None:
        """A box's uplink is up; an older one of it is ended."""
        before = self.live.get(one.box.number)
        self.live[one.box.number] = one
        if before is not None:
            before.end("replaced")

    def dropped(self, one: uplink.Uplink) -> None:
        """A box's uplink is over."""
        if self.live.get(one.box.number) is one:
            del self.live[one.box.number]


def is_alive(seen: int) -> bool:
    """Whether a node that was seen then still counts."""
    return now() - seen < ALIVE * SECOND
