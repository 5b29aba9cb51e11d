"""What is recorded, as scenarios: what happens to channels, and what Asterisk is asked for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from pbxd.calls.live import LiveChannel
from pbxd.calls.site import Site, dial_pattern
from pbxd.recording.commands import Command, Finish, Listen, Start, Stop
from pbxd.recording.policy import Consent, Mode, Rule
from pbxd.recording.recorder import Recorder, RecorderRules
from pbxd.recording.segments import Recording, finished, recording_of, state_of
from pbxd.recording.takeover import Told

SECOND = 1_000_000
SITE = Site(["PJSIP/trunk-*"], ["1XX"])
ALWAYS = Rule(Mode.ALWAYS, consent=Consent.NONE)


class Stage:
    """A recorder, and channels by their number; a second passes with each thing that happens."""

    def __init__(self, *rules: Rule, **more: Any) -> None:
        self.recorder = Recorder(
            SITE, RecorderRules(rules or (ALWAYS,), **more), lambda at: datetime.fromtimestamp(at / SECOND, UTC)
        )
        self.now = 1_000 * SECOND
        self.live: dict[int, LiveChannel] = {}
        self.done: list[Recording] = []
        self.asked: list[str] = []

    def do(self, commands: list[Command]) -> None:
        """Carry out what was decided, as Asterisk would."""
        for command in commands:
            if isinstance(command, Start):
                self.asked.append(f"record {command.segment.channel}")
                self.do(self.recorder.started(command.segment, self.now, "0x1"))
            elif isinstance(command, Stop):
                self.asked.append(f"stop {command.segment.channel}")
            elif isinstance(command, Finish):
                self.done.append(command.recording)
            elif isinstance(command, Listen):
                self.asked.append(f"listen {command.segment.channel}")
            else:
                assert recording_of(state_of(command.recording)) == command.recording

    def tell(self, n: int) -> None:
        self.now += SECOND
        self.do(self.recorder.changed(f"1.{n}", self.live.get(n), self.now))

    def new(self, n: int, endpoint: str, linked: int | None = None, exten: str = "", queue: str = "") -> None:
        name = endpoint if endpoint.startswith("Local/") else f"{endpoint}-{n:08x}"
        number = endpoint.rpartition("/")[2]
        linkedid = f"1.{n if linked is None else linked}"
        self.live[n] = LiveChannel(f"1.{n}", linkedid, name, number, "", exten, "up", self.now / SECOND, queue=queue)
        self.tell(n)

    def bridge(self, bridge: str, *numbers: int) -> None:
        """These enter a bridge; the oldest linkedid of those in it is everybody's."""
        for n in numbers:
            self.live[n].bridge = bridge
            inside = [one for one in self.live.values() if bridge and one.bridge == bridge]
            for one in inside:
                one.linkedid = min((other.linkedid for other in inside), key=lambda text: int(text[2:]))
            self.live[n].queue = ""
            self.tell(n)

    def hold(self, n: int, *, held: bool = True) -> None:
        self.live[n].held = held
        self.tell(n)

    def hang_up(self, *numbers: int) -> None:
        for n in numbers:
            del self.live[n]
            self.tell(n)

    def call(self, caller: int = 1, called: int = 2, bridge: str = "a") -> None:
        self.new(caller, f"PJSIP/10{caller}", exten=f"10{called}")
        self.new(called, f"PJSIP/10{called}", linked=caller)
        self.bridge(bridge, caller, called)

    def files(self, recording: Recording) -> dict[tuple[str, int], tuple[str, str]]:
        return {
            (s.folder, s.number): (f"{s.folder}-{s.number}.rx.wav", f"{s.folder}-{s.number}.tx.wav")
            for s in recording.segments
        }

    def live_now(self) -> dict[str, LiveChannel]:
        """All channels, by their uniqueids."""
        return {channel.uniqueid: channel for channel in self.live.values()}

    def told(self) -> dict[str, Any]:
        (recording,) = self.done
        made: dict[str, Any] = json.loads(json.dumps(finished(recording, self.files(recording))))
        return made


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


def test_pause_and_resume() -> None:
    stage = Stage()
    stage.call()
    stage.now += SECOND
    found, commands = stage.recorder.ask("1.2", "pause", stage.now)
    paused = stage.now
    assert found
    stage.do(commands)
    stage.now += SECOND
    stage.do(stage.recorder.ask("1.1", "resume", stage.now)[1])
    assert stage.asked[1:] == ["stop PJSIP/101-00000001", "record PJSIP/101-00000001"]
    stage.hang_up(1, 2)
    assert stage.told()["gaps"] == [[paused, paused + SECOND]]


def test_digits_pause_by_themselves() -> None:
    stage = Stage()
    stage.call()
    pressed = stage.now
    stage.do(stage.recorder.key("1.1", pressed, down=True))
    assert stage.recorder.deadline is None
    stage.do(stage.recorder.key("1.1", pressed + SECOND, down=False))
    stage.do(stage.recorder.key("1.1", pressed + 2 * SECOND, down=True))
    stage.do(stage.recorder.key("1.1", pressed + 3 * SECOND, down=False))
    deadline = stage.recorder.deadline
    assert deadline == pressed + 6 * SECOND
    stage.do(stage.recorder.tick(deadline - 1))
    assert stage.asked[1:] == ["listen PJSIP/101-00000001", "stop PJSIP/101-00000001"]
    stage.do(stage.recorder.tick(deadline))
    assert stage.asked[3:] == ["record PJSIP/101-00000001"]
    stage.now = deadline
    stage.hang_up(1, 2)
    assert stage.told()["gaps"] == [[pressed - 300_000, deadline]]


def test_asterisk_is_told_once_to_listen_for_the_keys_of_a_channel() -> None:
    stage = Stage()
    stage.call()
    for _ in range(3):
        stage.now += 10 * SECOND
        stage.do(stage.recorder.key("1.1", stage.now, down=True))
        stage.do(stage.recorder.key("1.1", stage.now, down=False))
        stage.do(stage.recorder.tick(stage.now + 5 * SECOND))
    assert [what.split()[0] for what in stage.asked] == ["record", "listen", *["stop", "record"] * 3]


def test_digits_do_not_pause_where_the_customer_does_not_want_it() -> None:
    stage = Stage(pause_on_digits=False)
    stage.call()
    assert stage.recorder.key("1.1", stage.now, down=True) == []


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


class After(Stage):
    """pbxd was killed, and started again while the channels of an earlier stage go on."""

    def __init__(self, before: Stage, told: Told | None = None, *rules: Rule) -> None:
        super().__init__(*rules)
        self.now = before.now + SECOND
        self.live = before.live
        for recording in before.recorder.recordings.values():
            self.recorder.adopt(recording_of(state_of(recording)))
        self.do(self.recorder.replaced({one.uniqueid: one for one in self.live.values()}, self.now, told))


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


def test_a_pause_for_keys_ends_though_nobody_saw_them_let_go() -> None:
    before = Stage()
    before.call()
    before.do(before.recorder.key("1.1", before.now, down=True))
    after = After(before)
    assert after.recorder.deadline == after.now + 3 * SECOND
    after.do(after.recorder.tick(after.now + 3 * SECOND))
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


def test_nothing_is_recorded_while_somebody_pays() -> None:
    stage = Stage()
    stage.call()
    stage.do(stage.recorder.payment("1.1", stage.now, begins=True))
    assert stage.asked == ["record PJSIP/101-00000001", "stop PJSIP/101-00000001"]
    stage.do(stage.recorder.ask("1.1", "resume", stage.now)[1])
    stage.bridge("", 1, 2)
    stage.hang_up(2)  # transferred to another, who goes on with the payment
    stage.new(3, "PJSIP/103", linked=1)
    stage.bridge("b", 1, 3)
    assert len(stage.asked) == 2
    stage.do(stage.recorder.payment("1.3", stage.now, begins=False))
    assert stage.asked[2:] == ["record PJSIP/101-00000001"]
    stage.hang_up(1, 3)
    ((start, end),) = stage.told()["gaps"]
    assert end > start


def test_a_payment_that_begins_before_anybody_talks() -> None:
    stage = Stage()
    stage.do(stage.recorder.payment("1.1", stage.now, begins=True))  # AGI may be quicker than AMI
    stage.call()
    assert stage.asked == []
    stage.do(stage.recorder.payment("1.1", stage.now, begins=False))
    assert stage.asked == ["record PJSIP/101-00000001"]


def test_a_payment_outlives_pbxd() -> None:
    before = Stage()
    before.call()
    before.do(before.recorder.payment("1.1", before.now, begins=True))
    for segment in before.recorder.recordings["1.1"].segments:
        segment.stopped = True
    after = After(before)
    assert after.asked == []
    after.do(after.recorder.payment("1.2", before.now, begins=False))
    assert after.asked == ["record PJSIP/101-00000001"]


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
