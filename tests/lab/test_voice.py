"""Voice quality of a real call, from the phones' own RTCP reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.asterisk import wait_until
from lab.box import Box
from lab.desk import Desk
from lab.phones import Phones
from lab.sip import Called, Caller
from lab.transfers import connect
from tests.conftest import reachable, say

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


def test_each_direction_of_each_leg(tmp_path: Path) -> None:
    """Two soft phones report; a SIPp phone reports nothing, and nothing is known of what it heard."""
    box = Box(reachable(tmp_path), say)
    try:
        box.start()
        desk = Desk(box.asterisk)
        a, _ = connect(desk, "121", "122")
        desk.pause(11)  # a phone reports each five seconds
        a.hang_up()
        desk.quiet(["121", "122"])
        desk.close()
        box.wait_for_calls(1)
        wait_until(lambda: all(leg["sent"] and leg["received"] for leg in box.pbxd.records()[0]["legs"]), "its quality")
        for leg in box.pbxd.records()[0]["legs"]:
            for way in ("sent", "received"):
                assert 0 <= leg[way]["loss"] < 0.05
                assert 0 <= leg[way]["jitter"] < 50
                assert 3.5 < leg[way]["mos"] <= 4.5
            assert 0 <= leg["rtt"] < 200
        silent(box)
    finally:
        box.stop()


def silent(box: Box) -> None:
    phones: Phones = box.phones
    tone = str(phones.audio)
    callee = phones.start(Called("112").ring().answer().speak(tone).expect_bye())
    caller = phones.start(Caller("111").answered().speak(tone).wait(1500).bye(), "112")
    callee.finish()
    caller.finish()
    box.wait_for_calls(2)
    record = box.pbxd.records()[-1]
    assert [leg["sent"] for leg in record["legs"]] == [None, None]
