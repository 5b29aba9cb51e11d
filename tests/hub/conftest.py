"""What tests of the hub share, also with those of other folders: `new_hub`, `hub`, `peer`; and hubs in the test's own process."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from pbxd.hub.database import Database
from pbxd.hub.keys import Keys
from pbxd.hub.node import Node
from tests.hub.peer import Peer
from tests.hub.running import Hub, Template
from tests.stats.postgres import Server

NewHub = Callable[..., Hub]
StartWithin = Callable[[Hub], Awaitable[Node]]


@pytest.fixture(scope="session")
def hub_template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Keys and an empty store."""
    return Template(tmp_path_factory.mktemp("hub-template"))


@pytest.fixture
def new_hub(tmp_path_factory: pytest.TempPathFactory, hub_template: Template) -> Iterator[NewHub]:
    """Makes hubs that are configured and not started: `new_hub(database=…, node=…, more=…)`."""
    made: list[Hub] = []

    def make(**options: str) -> Hub:
        made.append(Hub(tmp_path_factory.mktemp("hub"), hub_template, **options))
        return made[-1]

    yield make
    for hub in made:
        hub.kill()


class Shared:
    """A hub that the tests of a module have one after the other; one that ended it meanwhile, or began it anew, has it alone."""

    def __init__(self, make: Callable[[], Hub]) -> None:
        self._make = make
        self._hub: Hub | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def empty(self) -> Hub:
        """It runs, and nobody is enrolled."""
        if (
            self._hub is None
            or self._process is None
            or self._hub.process is not self._process
            or self._process.poll() is not None
        ):
            self.end()
            self._hub = self._make()
            self._hub.start()
            self._process = self._hub.process
        else:
            self._hub.clear()
        return self._hub

    def end(self) -> None:
        if self._hub is not None:
            self._hub.kill()


@pytest.fixture(scope="module")
def shared_hub(tmp_path_factory: pytest.TempPathFactory, hub_template: Template) -> Iterator[Shared]:
    made = Shared(lambda: Hub(tmp_path_factory.mktemp("hub"), hub_template))
    yield made
    made.end()


@pytest.fixture
def hub(shared_hub: Shared) -> Hub:
    """A hub that runs as a process of its own, and at which nobody is enrolled. To start one costs seconds: see `Shared`."""
    return shared_hub.empty()


@pytest.fixture
async def peer(hub: Hub) -> Peer:
    """A box that is enrolled at `hub`."""
    made = Peer(hub)
    await made.enrol()
    return made


class Within:
    """A hub in the test's own process."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.stop = asyncio.Event()
        self.node: Node | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> Node:
        database = await Database.open(self.hub.database)
        self.node = Node(self.hub.config, Keys.read(self.hub.config.keys), database)
        self._task = asyncio.create_task(self.node.run(self.stop))
        ready = asyncio.create_task(self.node.ready.wait())
        await asyncio.wait([self._task, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            self._task.result()
        return self.node

    async def end(self) -> None:
        self.stop.set()
        if self._task is not None and self.node is not None:
            await self._task
            await self.node.database.close()


@pytest.fixture
async def within() -> AsyncIterator[StartWithin]:
    """Starts hubs in this process: `await within(hub)` gives the node."""
    made: list[Within] = []

    async def start(hub: Hub) -> Node:
        made.append(Within(hub))
        return await made[-1].start()

    yield start
    for one in made:
        await one.end()


@pytest.fixture(params=["sqlite", "postgresql"])
async def box(request: pytest.FixtureRequest, new_hub: NewHub, within: StartWithin) -> Peer:
    """A box that is enrolled at a hub in this process, on each kind of store."""
    server: Server | None = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    hub = new_hub(database="" if server is None else server.database())
    await within(hub)
    made = Peer(hub)
    await made.enrol()
    return made
