"""Calls on a real Asterisk whose clock does what clocks do; see `lab.wallclock`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.box import Box
from lab.wallclock import CLOCKED, Clocked, Office
from tests.conftest import reachable, say

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    box = Box(reachable(tmp_path_factory.mktemp("clock")), say, own_clock=True)
    try:
        box.start()
        office = Office(box)
        yield office
        office.desk.close()
    finally:
        box.stop()


@pytest.mark.parametrize("clocked", CLOCKED, ids=lambda clocked: clocked.name)
def test_becomes_one_right_record(office: Office, clocked: Clocked) -> None:
    assert clocked.faults(office.play(clocked)) == []
