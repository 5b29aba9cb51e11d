"""What is recorded, as scenarios: what happens to channels, and what Asterisk is asked for."""

from __future__ import annotations

import pytest

from pbxd.calls.site import Site, dial_pattern
from pbxd.recording.commands import Start
from pbxd.recording.policy import Consent, Mode, Rule
from pbxd.recording.recorder import RecorderRules
from tests.recording.deciding import ALWAYS, SECOND, SITE, Stage


def test_a_call() -> None:
    stage = Stage()
    stage.call()
    assert stage.asked == ["record PJSIP/101-00000001"]
    stage.hang_up(2, 1)
    told = stage.told()
    assert (told["id"], told["call"], told["caller"], told["dialled"]) == ("1.1", "1.1", "101", "102")
    (segment,) = told["segments"]
    assert (segment["left_party"], segment["right_parties"]) == ("PJSIP/101", ["PJSIP/102"])
    assert segment["end"] == segment["at"] + SECOND  # until one was gone
    assert told["gaps"] == []
    assert stage.recorder.recordings == {}


def test_nothing_without_a_conversation() -> None:
    stage = Stage()
    stage.new(1, "PJSIP/101", exten="800")
    stage.hang_up(1)
    stage.new(2, "PJSIP/102")
    stage.bridge("alone", 2)
    stage.hang_up(2)
    assert stage.asked == []
    assert stage.done == []


def test_attended_transfer_is_one_recording() -> None:
    """101 talks with 102, who asks 103 and then connects both."""
    stage = Stage()
    stage.call()
    stage.hold(2)
    stage.new(3, "PJSIP/102", exten="103")
    stage.new(4, "PJSIP/103", linked=3)
    stage.bridge("b", 3, 4)
    assert stage.asked == ["record PJSIP/101-00000001", "stop PJSIP/101-00000001", "record PJSIP/102-00000003"]
    stage.bridge("a", 4)
    stage.hang_up(2, 3)
    assert stage.asked[3:] == ["record PJSIP/101-00000001", "stop PJSIP/102-00000003"]
    stage.hang_up(4, 1)
    told = stage.told()
    assert [(s["left"], s["left_party"], s["right_parties"]) for s in told["segments"]] == [
        ("1.1-0.rx.wav", "PJSIP/101", ["PJSIP/102"]),
        ("1.3-0.rx.wav", "PJSIP/102", ["PJSIP/103"]),
        ("1.1-1.rx.wav", "PJSIP/101", ["PJSIP/102", "PJSIP/103"]),  # 102 is in there still, for a moment
    ]
    one, two, three = told["segments"]
    assert one["end"] <= two["at"]
    assert two["end"] <= three["at"] + SECOND
    assert {party["number"] for party in told["parties"]} == {"101", "102", "103"}


def test_the_caller_transfers_and_leaves() -> None:
    """The channel under the MixMonitor goes; the next one of the conversation is recorded."""
    stage = Stage()
    stage.call()
    stage.new(3, "PJSIP/103", linked=1)
    stage.bridge("a", 3)
    stage.hang_up(1)
    assert stage.asked == ["record PJSIP/101-00000001", "record PJSIP/102-00000002"]
    stage.hang_up(2, 3)
    assert [s["left_party"] for s in stage.told()["segments"]] == ["PJSIP/101", "PJSIP/102"]


def test_parked_and_fetched() -> None:
    stage = Stage()
    stage.call()
    stage.bridge("", 1)
    stage.hang_up(2)
    stage.new(3, "PJSIP/103")
    stage.bridge("c", 1, 3)
    stage.hang_up(3, 1)
    assert [segment["right_parties"] for segment in stage.told()["segments"]] == [["PJSIP/102"], ["PJSIP/103"]]


def test_local_channels_are_no_parties() -> None:
    stage = Stage()
    stage.new(1, "PJSIP/101", exten="61")
    stage.new(2, "Local/102@phones-00000001;1", linked=1)
    stage.new(3, "Local/102@phones-00000001;2", linked=1)
    stage.new(4, "PJSIP/102", linked=1)
    stage.bridge("a", 1, 2)
    assert stage.asked == []
    stage.bridge("b", 3, 4)
    assert stage.asked == ["record PJSIP/101-00000001"]
    stage.hang_up(4, 3, 2, 1)
    assert len(stage.told()["segments"]) == 1


def test_a_conference_has_one_monitor() -> None:
    stage = Stage()
    for n in (1, 2, 3):
        stage.new(n, f"PJSIP/10{n}")
        stage.bridge("conf", n)
    assert stage.asked == ["record PJSIP/101-00000001"]
    stage.hang_up(1, 2, 3)
    assert len(stage.done) == 1


def test_two_recorded_calls_become_one() -> None:
    stage = Stage()
    stage.call(1, 2, "a")
    stage.call(3, 4, "b")
    stage.hang_up(2, 4)
    stage.bridge("a", 3)
    assert list(stage.recorder.recordings) == ["1.1"]
    stage.hang_up(1, 3)
    (recording,) = stage.done
    assert recording.merged == ["1.3"]


@pytest.mark.parametrize("who", [1, 2])
def test_hold_is_silence(who: int) -> None:
    stage = Stage()
    stage.call()
    stage.hold(who)
    stage.hold(who, held=False)
    assert stage.asked == ["record PJSIP/101-00000001", "stop PJSIP/101-00000001", "record PJSIP/101-00000001"]
    stage.hang_up(1, 2)
    assert len(stage.told()["segments"]) == 2


def test_someone_of_whom_nothing_is_kept_joins_and_leaves() -> None:
    stage = Stage(Rule(Mode.NEVER, extensions=(dial_pattern("103"),)), ALWAYS)
    stage.call()
    stage.new(3, "PJSIP/103", linked=1)
    stage.bridge("a", 3)
    assert stage.asked[-1] == "stop PJSIP/101-00000001"
    stage.hang_up(3)
    assert stage.asked[-1] == "record PJSIP/101-00000001"
    stage.hang_up(1, 2)
    assert len(stage.told()["segments"]) == 2


def test_on_demand() -> None:
    stage = Stage(Rule(Mode.ON_DEMAND, consent=Consent.NONE))
    stage.call()
    assert stage.asked == []
    stage.do(stage.recorder.ask("1.2", "start", stage.now)[1])
    assert stage.asked == ["record PJSIP/101-00000001"]
    stage.do(stage.recorder.ask("1.2", "stop", stage.now + SECOND)[1])
    assert stage.asked[1:] == ["stop PJSIP/101-00000001"]
    stage.do(stage.recorder.ask("1.2", "start", stage.now + 2 * SECOND)[1])
    assert stage.asked[2:] == ["record PJSIP/101-00000001"]
    assert stage.recorder.ask("1.9", "start", stage.now)[0] is False


def test_nothing_before_the_announcement() -> None:
    stage = Stage(Rule(Mode.ALWAYS))
    stage.call()
    assert stage.asked == []
    assert stage.recorder.counters.without_consent == 1
    stage.do(stage.recorder.consented("1.1", stage.now))
    assert stage.asked == ["record PJSIP/101-00000001"]
    stage.hang_up(1, 2)
    assert stage.told()["consent"] == "announcement"


def test_refused_by_asterisk() -> None:
    stage = Stage()
    stage.new(1, "PJSIP/101", exten="102")
    stage.new(2, "PJSIP/102", linked=1)
    stage.live[1].bridge = stage.live[2].bridge = "a"
    stage.do(stage.recorder.changed("1.1", stage.live[1], stage.now))
    commands = stage.recorder.changed("1.2", stage.live[2], stage.now)
    (start,) = [command for command in commands if isinstance(command, Start)]
    stage.recorder.refused(start.segment, "no such folder", stage.now)
    stage.hang_up(1, 2)
    told = stage.told()
    assert told["segments"] == []
    assert "no such folder" in told["faults"][0]


def test_other_rules_and_numbers_hold_for_calls_in_progress() -> None:
    stage = Stage()
    stage.call()

    def take(site: Site, *rules: Rule) -> list[str]:
        stage.now += SECOND
        recorder = stage.recorder
        stage.do(recorder.configure(site, RecorderRules(rules), recorder.local_time, stage.now))
        return stage.asked[-1:]

    never = Rule(Mode.NEVER, extensions=(dial_pattern("777"),))
    assert take(SITE, never, ALWAYS) == ["record PJSIP/101-00000001"]
    assert take(Site(phones={"102": "777"}), never, ALWAYS) == ["stop PJSIP/101-00000001"]
    assert take(SITE, never, ALWAYS) == ["record PJSIP/101-00000001"]
    assert take(SITE) == ["stop PJSIP/101-00000001"]
    stage.hang_up(1, 2)
    assert len(stage.told()["segments"]) == 2
