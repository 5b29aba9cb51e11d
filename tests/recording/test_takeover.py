"""What goes on in Asterisk when pbxd comes back, as scenarios: pbxd was killed in the middle of a call."""

from __future__ import annotations

import pytest

from pbxd.calls.live import LiveChannel
from pbxd.recording.policy import Mode, Rule
from pbxd.recording.takeover import Told
from tests.recording.deciding import After, Stage


def test_an_adopted_recording_goes_on() -> None:
    """pbxd was killed and started again in the middle of the call."""
    before = Stage()
    before.call()
    after = After(before)
    assert after.asked == []  # Asterisk writes still
    after.hang_up(1, 2)
    assert len(after.told()["segments"]) == 1


def test_an_adopted_recording_whose_call_is_over() -> None:
    before = Stage()
    before.call()
    before.live.clear()
    assert After(before).told()["id"] == "1.1"


@pytest.mark.parametrize(("monitor", "asked"), [("", ["record PJSIP/101-00000001"]), ("0x2", [])])
def test_killed_before_asterisk_had_answered(monitor: str, asked: list[str]) -> None:
    """Asterisk knows whether it was asked at all."""
    before = Stage()
    before.call()
    (segment,) = before.recorder.recordings["1.1"].segments
    segment.at, segment.monitor = None, ""
    after = After(before, Told(monitors={("1.1", 0): monitor}))
    assert after.asked == asked
    assert [one.monitor for one in after.recorder.recordings["1.1"].segments if one.going_on] == [monitor or "0x1"]


def test_killed_before_asterisk_was_told_to_stop() -> None:
    before = Stage()
    before.call()
    (segment,) = before.recorder.recordings["1.1"].segments
    before.hold(2)
    assert not segment.stopped
    assert After(before).asked == ["stop PJSIP/101-00000001"]
    segment.stopped = True
    assert After(before).asked == []


@pytest.mark.parametrize(("told", "held"), [({}, True), ({"1.2": True}, True), ({"1.2": False}, False)])
def test_a_hold_is_remembered_where_asterisk_cannot_tell(told: dict[str, bool], held: bool) -> None:
    before = Stage()
    before.call()
    before.hold(2)
    before.live[2].held = False  # what the list of channels says
    after = After(before, Told(held=told))
    assert after.live[2].held is held
    assert ("record PJSIP/101-00000001" in after.asked) is not held


def test_a_recording_that_was_stopped_stays_so() -> None:
    before = Stage()
    before.call()
    before.do(before.recorder.ask("1.1", "stop", before.now)[1])
    after = After(before)
    assert not any(asked.startswith("record") for asked in after.asked)
    after.do(after.recorder.ask("1.1", "start", after.now)[1])
    assert after.asked[-1] == "record PJSIP/101-00000001"


def test_an_announcement_is_remembered_by_asterisk() -> None:
    before = Stage(Rule(Mode.ALWAYS))
    before.new(1, "PJSIP/101", exten="102")
    after = After(before, Told(announced={"1.1"}), Rule(Mode.ALWAYS))
    after.new(2, "PJSIP/102", linked=1)
    after.bridge("a", 1, 2)
    assert after.asked == ["record PJSIP/101-00000001"]


def test_a_call_all_of_whose_channels_changed_is_one_recording() -> None:
    before = Stage()
    before.call()
    before.live = {}
    for n in (3, 4):
        before.live[n] = LiveChannel(f"1.{n}", "1.1", f"PJSIP/10{n}-{n}", f"10{n}", "", "", "up", 1.0, bridge="c")
    after = After(before)
    assert list(after.recorder.recordings) == ["1.1"]
    after.hang_up(3, 4)
    assert len(after.told()["segments"]) == 2
