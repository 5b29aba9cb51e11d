"""Calls that people handle, on soft phones, with a real Asterisk: each becomes one right record."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.asterisk import wait_until
from lab.box import Box
from lab.capture import played_on
from lab.stagehand import Played, records_of, spread
from lab.stages import ALL
from tests.conftest import reachable, say

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def staged_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Box, dict[str, Played]]]:
    """A box on which every scenario was played once."""
    box = Box(reachable(tmp_path_factory.mktemp("staged")), say)
    try:
        box.start()
        played = {one.scenario.name: one for one in played_on(box, spread(ALL))}
        wait_until(lambda: box.pbxd.status()["journal"]["open_calls"] == 0, "the journal to have the end of every call")
        wait_until(lambda: box.pbxd.status()["live"]["channels"] == 0, "AMI to tell of every hang-up")
        yield box, played
    finally:
        box.stop()


@pytest.mark.parametrize("name", [scenario.name for scenario in ALL])
def test_becomes_one_right_record(name: str, staged_box: tuple[Box, dict[str, Played]]) -> None:
    box, played = staged_box
    assert played[name].fault == ""
    (record,) = records_of(played[name], box.pbxd.records())
    assert played[name].scenario.faults(record) == []


def test_no_call_has_two_records(staged_box: tuple[Box, dict[str, Played]]) -> None:
    box, played = staged_box
    records = box.pbxd.records()
    known = {record["id"] for one in played.values() for record in records_of(one, records)}
    assert [record for record in records if record["id"] not in known] == []
    assert box.pbxd.status()["store"]["calls"] == len(records) == len(played)
