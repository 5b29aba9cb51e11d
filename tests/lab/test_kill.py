"""1,000 calls while everything is killed, cut and rotated: 1,000 records, none twice, none wrong."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from lab import load
from lab.asterisk import wait_until
from lab.box import Box
from lab.forwarder import Forwarder

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
CALLS = 1000
RATE = 100
KILLS = 10
CUTS = 5


def settle(box: Box) -> None:
    """All calls are over and in the store."""
    box.wait_for_calls(CALLS, 120)
    wait_until(lambda: box.pbxd.status()["journal"]["open_calls"] == 0, "every call to end")
    assert load.wrong(box.pbxd.records(), CALLS) == []


def during(box: Box, deeds: list[Callable[[], None]]) -> None:
    """Place the calls, and do each of `deeds` at a random moment while they run."""
    chance = random.Random(22)
    running = load.place(box.phones, CALLS, RATE, talk=800)
    span = CALLS / RATE
    moments = sorted(chance.uniform(0.5, span - 0.5) for _ in deeds)
    begun = time.monotonic()
    for moment, deed in zip(moments, deeds, strict=True):
        while time.monotonic() - begun < moment:
            time.sleep(0.01)
        deed()
    running.finish()


def kill_and_start(box: Box) -> None:
    box.pbxd.kill()
    box.pbxd.start(ready=False)


def test_pbxd_killed_ten_times_and_ami_cut_five_times(new_box: Box) -> None:
    box = new_box
    box.asterisk.start()
    forwarder = Forwarder(box.asterisk.address, (box.asterisk.address, 5038))
    box.pbxd.configure(port=forwarder.port)
    box.pbxd.start()
    deeds: list[Callable[[], None]] = [lambda: kill_and_start(box)] * KILLS + [forwarder.cut] * CUTS
    random.Random(7).shuffle(deeds)
    try:
        during(box, deeds)
        box.pbxd.ready()
        settle(box)
    finally:
        forwarder.close()


def test_the_journal_rotated_between_kills(box: Box) -> None:
    count = iter(range(100))

    def rotate() -> None:
        journal = box.asterisk.journal
        if journal.exists():
            journal.rename(journal.with_name(f"pbxd.csv.{next(count)}"))

    during(box, [rotate, lambda: kill_and_start(box)] * 5)
    box.pbxd.ready()
    settle(box)
    assert len(list(box.asterisk.journal.parent.glob("pbxd.csv*"))) >= 5


def test_pbxd_down_for_all_of_it(box: Box) -> None:
    box.pbxd.kill()
    during(box, [])
    box.pbxd.start()
    settle(box)


def test_reading_it_all_again_from_the_beginning_changes_nothing(box: Box) -> None:
    during(box, [])
    settle(box)
    before = box.pbxd.records()
    done = box.pbxd.ctl("calls", "import", str(box.asterisk.journal))
    assert f"{CALLS} calls" in done.stdout
    assert box.pbxd.records() == before
