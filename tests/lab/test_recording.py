"""Calls that are recorded, with a real Asterisk and phones that each speak a tone of their own."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.asterisk import owner, wait_until
from lab.box import Box
from lab.desk import Desk, Line
from lab.hearing import SILENCE, Sound, has_keys, heard, loudness, pitch
from lab.transfers import connect
from tests.conftest import reachable, say

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
TONES = {"121": 500, "122": 700, "123": 900, "131": 1100, "132": 1300}
RULES = (
    "{record: never, extension: [124]}, {record: always, extension: [131]}, "
    "{record: on_demand, extension: [132], consent: none}, {record: always, consent: none}"
)
DIALPLAN = """
[phones](+)
; told first, then connected; the second sound is not there
exten => 860,1,Answer()
 same => n,AGI(agi://{address}/announce?sound=vm-goodbye)
 same => n,Dial(PJSIP/131,30)
exten => 861,1,Answer()
 same => n,AGI(agi://{address}/announce?sound=no-such-sound)
 same => n,Dial(PJSIP/131,30)
; by feature codes
exten => 862,1,Set(__DYNAMIC_FEATURES=rec_start#rec_stop)
 same => n,Dial(PJSIP/132,30)
"""
FEATURES = """
[applicationmap]
rec_start => *5,self,AGI(agi://{address}/record?do=start)
rec_stop => *6,self,AGI(agi://{address}/record?do=stop)
"""


@dataclass(frozen=True, slots=True)
class Office:
    """A box that records, and its phones."""

    box: Box
    desk: Desk
    spool: Path

    def recordings(self) -> list[dict[str, Any]]:
        """Those in the store, newest first."""
        found: list[dict[str, Any]] = json.loads(self.box.pbxd.ctl("recordings", "list", "--json").stdout)
        return found

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.box.pbxd.status()["recording"]
        return found

    def sounds(self) -> list[Written]:
        """What Asterisk wrote of the recorded party of the calls that go on, in the order in which it began."""
        return [Written(path) for path in sorted(self.spool.glob("*/*.rx.wav"))]

    def next_one(self, known: list[dict[str, Any]]) -> Heard:
        """The recording that is stored and was not before, decrypted."""
        wait_until(lambda: len(self.recordings()) > len(known), "a recording to be stored")
        names = {one["id"] for one in known}
        (one,) = [one for one in self.recordings() if one["id"] not in names]
        file = self.box.folder / "played.ogg"
        self.box.pbxd.ctl("recordings", "play", one["id"], "-o", str(file))
        sound, rate = heard(file)
        file.unlink()
        facts = json.loads(self.box.pbxd.ctl("recordings", "show", one["id"]).stdout)
        return Heard(facts, sound, rate)


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording: its facts, and its sound."""

    facts: dict[str, Any]
    sound: Sound
    rate: int

    @property
    def length(self) -> float:
        return len(self.sound) / self.rate

    def talks(self) -> list[tuple[int, int]]:
        """The tones on both sides, one pair after the other; what is shorter than 0.4 s, or silent, does not count."""
        step = self.rate // 5
        found: list[tuple[int, int]] = []
        last, times = (0, 0), 0
        for start in range(0, len(self.sound) - step, step):
            part = self.sound[start : start + step]
            now = (pitch(part[:, 0], self.rate), pitch(part[:, 1], self.rate))
            times = times + 1 if now == last else 1
            last = now
            if times == 2 and now != (0, 0):
                found.append(now)
        return found

    def silent_seconds(self) -> float:
        """How long nothing is to be heard on either side, in steps of 50 ms."""
        step = self.rate // 20
        return sum(loudness(self.sound[at : at + step]) < SILENCE for at in range(0, len(self.sound), step)) / 20


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    box = Box(reachable(tmp_path_factory.mktemp("recording")), say)
    desk = Desk(box.asterisk)
    spool = box.asterisk.folder / "spool" / "recordings"
    try:
        box.pbxd.configure(
            more=f"comms: {{folder: {box.folder}/comms, key_file: {box.folder}/keys/comms.key}}\n"
            f"recording: {{enabled: true, spool: {spool}, spool_in_asterisk: /lab/spool/recordings, "
            f"spool_group: '{owner(box.asterisk.tree)[1]}', digits_after: 1s, rules: [{RULES}]}}"
        )
        for file, text in (("extensions.conf", DIALPLAN), ("features.conf", FEATURES)):
            with (box.asterisk.etc / file).open("a") as conf:
                conf.write(text.format(address=box.asterisk.address))
        box.start()
        for number, tone in TONES.items():
            desk.phone(number, tone=tone)
        yield Office(box, desk, spool)
    finally:
        desk.close()
        box.stop()


@dataclass(frozen=True, slots=True)
class Written:
    """A file that Asterisk writes, or wrote, to the spool."""

    path: Path

    def is_closed(self) -> bool:
        """Whether its header tells its length."""
        (length,) = struct.unpack("<I", self.path.read_bytes()[40:44])
        return bool(44 + length == self.path.stat().st_size)


def kill_and_start(office: Office) -> None:
    """pbxd is killed, and has taken over what goes on when this returns."""
    office.box.pbxd.kill()
    office.box.pbxd.start()
    wait_until(lambda: office.status()["recording"] == 1, "the recording to be taken over")


def hang_up(office: Office, line: Line) -> None:
    line.hang_up()
    office.desk.quiet(TONES)


def test_each_party_is_on_its_side_over_an_attended_transfer(office: Office) -> None:
    known = office.recordings()
    a, b = connect(office.desk, "121", "122")
    b.hold()
    second, _ = connect(office.desk, "122", "123")
    b.replace(second)
    office.desk.pause(1.5)
    hang_up(office, a)
    made = office.next_one(known)
    assert made.talks() == [(500, 700), (700, 900), (500, 900)]
    record = office.box.pbxd.records()[-1]
    assert made.facts["call"] == record["id"]
    assert made.length == pytest.approx((made.facts["end"] - made.facts["start"]) / 1_000_000, abs=0.05)
    assert made.length == pytest.approx(record["billed"], abs=0.3)
    assert made.facts["faults"] == []


def test_while_keys_are_pressed_nothing_is_written(office: Office) -> None:
    known = office.recordings()
    a, _ = connect(office.desk, "121", "122")
    a.key("4111#")
    wait_until(lambda: office.status()["paused"] == 1, "the pause")
    wait_until(lambda: office.status()["paused"] == 0, "its end")
    office.desk.pause(1)
    hang_up(office, a)
    made = office.next_one(known)
    assert made.talks() == [(500, 700), (500, 700)]
    assert made.silent_seconds() > 1
    assert not any(has_keys(made.sound[:, side], made.rate) for side in (0, 1))
    assert "4111" not in office.box.pbxd.log.read_text()


def test_somebody_of_whom_nothing_is_kept(office: Office) -> None:
    known = office.recordings()
    a, _ = connect(office.desk, "121", "124")
    hang_up(office, a)
    a, _ = connect(office.desk, "121", "122")
    hang_up(office, a)
    made = office.next_one(known)
    assert {party["number"] for party in made.facts["parties"]} == {"121", "122"}


def test_pbxd_killed_in_the_middle(office: Office) -> None:
    """Asterisk goes on; the next start takes the recording over, and it is one."""
    known = office.recordings()
    a, _ = connect(office.desk, "121", "122")
    wait_until(lambda: office.status()["recording"] == 1, "the recording")
    kill_and_start(office)
    office.desk.pause(1)
    hang_up(office, a)
    made = office.next_one(known)
    assert made.talks() == [(500, 700)]
    assert made.length > 2


def test_killed_and_the_call_over_before_it_is_back(office: Office) -> None:
    known = office.recordings()
    a, _ = connect(office.desk, "121", "122")
    wait_until(lambda: office.status()["recording"] == 1, "the recording")
    office.box.pbxd.kill()
    hang_up(office, a)
    office.box.pbxd.start()
    assert office.next_one(known).talks() == [(500, 700)]


def test_killed_while_somebody_is_held(office: Office) -> None:
    """The next start does not record in the hold. One that begins while pbxd is down is recorded until the next start."""
    known = office.recordings()
    a, b = connect(office.desk, "121", "122")
    wait_until(lambda: office.status()["recording"] == 1, "the recording")
    b.hold()
    wait_until(office.sounds()[-1].is_closed, "the recording to stop")
    kill_and_start(office)
    office.desk.pause(1)
    assert len(office.sounds()) == 1
    b.resume()
    wait_until(lambda: len(office.sounds()) == 2, "the recording to go on")
    office.desk.pause(1)
    office.box.pbxd.kill()
    b.hold()
    office.desk.pause(0.5)
    office.box.pbxd.start()
    wait_until(office.sounds()[-1].is_closed, "the recording to stop")
    b.resume()
    wait_until(lambda: len(office.sounds()) == 3, "the recording to go on")
    office.desk.pause(1)
    hang_up(office, a)
    made = office.next_one(known)
    talks = made.talks()
    assert [talks[0], talks[1], talks[-1]] == [(500, 700)] * 3
    assert made.silent_seconds() > 1
    assert made.facts["faults"] == []


def test_asterisk_killed_in_the_middle(office: Office) -> None:
    """What it wrote is kept, and mended: it never closed its files."""
    known = office.recordings()
    a, _ = connect(office.desk, "121", "122")
    office.desk.pause(2)
    office.box.asterisk.kill()
    office.box.asterisk.start()
    assert office.next_one(known).talks() == [(500, 700)]
    a.hang_up()
    office.desk.clear(TONES)


def test_paused_by_hand(office: Office) -> None:
    known = office.recordings()
    a, _ = connect(office.desk, "121", "122")
    wait_until(lambda: office.status()["recording"] == 1, "the recording")
    ctl = office.box.pbxd.ctl
    (one,) = json.loads(ctl("recorder", "list", "--json").stdout)
    ctl("recorder", "pause", one["id"])
    office.desk.pause(1)
    assert "paused" in ctl("recorder", "list").stdout
    ctl("recorder", "resume", one["id"])
    office.desk.pause(1)
    hang_up(office, a)
    made = office.next_one(known)
    assert made.talks() == [(500, 700), (500, 700)]
    assert made.silent_seconds() > 0.8
    assert ctl("recorder", "pause", one["id"], check=False).returncode != 0


def test_a_spool_without_room_stops_no_call(office: Office) -> None:
    """The folder is taken away: the call goes on, an alarm is shown, and the next call is recorded again."""
    away = office.spool.with_name("away")
    office.spool.rename(away)
    a, _ = connect(office.desk, "121", "122")
    wait_until(lambda: office.status()["refused"] > 0, "the refusal")
    answer = office.box.pbxd.ctl("doctor", "--json", check=False).stdout
    findings = {one["check"]: one["state"] for one in json.loads(answer)}
    assert findings["recording"] == "fault"
    office.desk.pause(0.5)
    hang_up(office, a)
    away.rename(office.spool)
    assert office.box.pbxd.records()[-1]["disposition"] == "answered"
    known = office.recordings()
    a, _ = connect(office.desk, "121", "122")
    office.desk.pause(1)
    hang_up(office, a)
    office.next_one(known)
    assert office.status()["last_error"] == ""


def test_nothing_is_kept_before_the_announcement_has_ended(office: Office) -> None:
    known = office.recordings()
    a, _ = connect(office.desk, "121", "131")  # nobody was told
    hang_up(office, a)
    a, _ = connect(office.desk, "121", "131", "861")  # a sound that is not there is not heard
    hang_up(office, a)
    a, _ = connect(office.desk, "121", "131", "860")
    office.desk.pause(1)
    hang_up(office, a)
    made = office.next_one(known)
    assert (made.facts["dialled"], made.facts["consent"]) == ("860", "announcement")
    assert made.talks() == [(500, 1100)]
    assert office.status()["without_consent"] == 2


def test_on_demand_by_feature_code(office: Office) -> None:
    known = office.recordings()
    a, b = connect(office.desk, "121", "132", "862")
    office.desk.pause(0.5)
    assert office.status()["recording"] == 0
    b.key("*5")
    wait_until(lambda: office.status()["recording"] == 1, "the recording")
    wait_until(lambda: office.status()["paused"] == 0, "the keys to be over")
    office.desk.pause(1)
    hang_up(office, a)
    assert office.next_one(known).talks()[-1] == (500, 1300)
