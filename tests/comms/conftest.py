"""A store of communications of its own for each test, with four people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from pbxd.comms.people import Directory
from pbxd.comms.schema import Part
from pbxd.comms.store import CommsSettings, Communications
from pbxd.config.people import PersonEntry

PEOPLE = Directory(
    [
        PersonEntry(name="anna", login="anna", extensions=("101",), mailboxes=("101",), teams=("sales",)),
        PersonEntry(name="bert", login="bert", extensions=("102",), mailboxes=("102", "300"), teams=("sales",)),
        PersonEntry(name="carl", extensions=("103",), mailboxes=("103", "300"), teams=("support",)),
        PersonEntry(name="sue", role="supervisor", extensions=("110",), teams=("sales",), supervises=("sales",)),
        PersonEntry(name="ada", role="admin", extensions=("120",)),
        PersonEntry(name="otto", role="auditor", extensions=("130",)),
    ]
)


def settings(folder: Path) -> CommsSettings:
    return CommsSettings(folder / "comms", folder / "keys" / "comms.key")


async def open_store(folder: Path, parts: Sequence[Part] = ()) -> Communications:
    return await Communications.open(settings(folder), lambda: PEOPLE, parts)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Communications]:
    made = await open_store(tmp_path)
    yield made
    await made.close()
