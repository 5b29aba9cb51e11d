"""A chat service over a store of its own, with the people of tests.comms, and an AMI that is a real socket's other end or none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from pbxd.chat.rooms import Group, Plan
from pbxd.chat.schema import CHAT
from pbxd.chat.service import ChatService
from pbxd.chat.settings import ChatSettings
from pbxd.comms.host import CommsHost
from pbxd.comms.people import ROOT, Directory, Person
from pbxd.comms.store import Communications
from tests.comms.conftest import PEOPLE, settings

GROUPS = (
    Group("sales", "Sales", "701", frozenset({"carl"}), frozenset({"sales"})),  # anna, bert, sue; carl by name
    Group("board", "", "", frozenset({"ada", "otto", "anna"})),
)
PLAN = Plan(GROUPS, {"reception": "102"}, frozenset({"103"}))


class NoAmi:
    """There is no Asterisk."""

    connected = False

    async def action(self, name: str, **headers: str) -> object:
        raise AssertionError((name, headers))


class Office:
    """What a test uses."""

    def __init__(self, host: CommsHost, chosen: ChatSettings) -> None:
        self.settings = chosen
        self.host = host
        self.chat = ChatService(host, lambda: self.settings, NoAmi())

    @property
    def store(self) -> Communications:
        return self.host.store

    async def texts(self, who: Person, room: str, **wanted: int | bool) -> list[str]:
        return [one.text async for one in await self.chat.history(who, room, newest_first=False, **wanted)]

    async def audit(self) -> list[tuple[str, str, str, bool]]:
        return [(row.who, row.action, row.subject, row.allowed) async for row, _ in self.store.audit.entries()]

    def reconfigure(self, people: Directory | None = None, plan: Plan | None = None) -> None:
        self.settings = ChatSettings(people or self.settings.people, plan or self.settings.plan)


@contextlib.asynccontextmanager
async def opened(folder: Path, people: Directory = PEOPLE, **chosen: object) -> AsyncIterator[Office]:
    """The service, running."""
    host = CommsHost(settings(folder), lambda: office.settings.people, lambda: None, [CHAT])
    office = Office(host, ChatSettings(people, PLAN, **chosen))  # type: ignore[arg-type]
    await host.open()
    task = asyncio.create_task(office.chat.run())
    try:
        while office.chat._store is None:  # noqa: ASYNC110 - it is opened in this same loop
            await asyncio.sleep(0)
        await office.chat.configured()
        yield office
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await host.close()


def person(name: str) -> Person:
    found = ROOT if name == "root" else PEOPLE.by_name(name)
    assert found is not None
    return found
