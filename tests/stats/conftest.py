"""What the tests of the store share: an empty store of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pbxd.calls.interpreter import records
from pbxd.calls.record import CallRecord
from pbxd.calls.site import Site
from pbxd.stats.queries import Queries
from pbxd.stats.writer import Writer
from tests.stats.postgres import Server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/stats/stats.db"
    server: Server = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
async def writer(url: str) -> AsyncIterator[Writer]:
    """The store's writer; that it knows how many calls there are is asked at the end of each test."""
    made = await Writer.open(url)
    yield made
    reader = Queries(url)
    assert made.calls == (await reader.counts())["calls"]
    await reader.close()
    await made.close()


@pytest.fixture
async def queries(url: str, writer: Writer) -> AsyncIterator[Queries]:
    assert writer  # it makes the tables
    made = Queries(url)
    yield made
    await made.close()


@pytest.fixture
def calls(journals: Path) -> list[CallRecord]:
    site = Site(["PJSIP/trunk-*"], ["1XX"])
    return [
        record for path in sorted(journals.glob("*.csv")) for record in records(path.read_bytes().splitlines(), site)
    ]
