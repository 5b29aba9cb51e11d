"""Calls that are recorded, with a real Asterisk and phones that each speak a tone of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.asterisk import owner, wait_until
from lab.box import Box
from lab.desk import Desk, Line
from lab.hearing import has_keys, heard, loudness, pitch
from lab.transfers import connect
from tests.conftest import reachable, say

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
TONES = {"121": 500, "122": 700, "123": 900, "131": 1100, "132": 1300}
EDGE = 0.15  # s at both ends of a piece that are not judged: a phone's own buffers
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

    def recordings(self) -> list[Path]:
        return sorted(path.parent for path in self.spool.glob("*/ready.json"))

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.box.pbxd.status()["recording"]
        return found

    def next_one(self, known: list[Path]) -> tuple[Path, dict[str, Any]]:
        """The recording that is complete and was not before."""
        wait_until(lambda: len(self.recordings()) > len(known), "a recording to be complete")
        (folder,) = [path for path in self.recordings() if path not in known]
        told: dict[str, Any] = json.loads((folder / "ready.json").read_text())
        return folder, told


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    box = Box(reachable(tmp_path_factory.mktemp("recording")), say)
    desk = Desk(box.asterisk)
    spool = box.asterisk.folder / "spool" / "recordings"
    try:
        box.pbxd.configure(
            more=f"recording: {{enabled: true, spool: {spool}, spool_in_asterisk: /lab/spool/recordings, "
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


def sides(folder: Path, segment: dict[str, Any]) -> tuple[int, int]:
    """The tones on the left and on the right of a piece, which must be there from its beginning to its end."""
    found = []
    for side in ("left", "right"):
        sound, rate = heard(folder / segment[side])
        length = (segment["end"] - segment["at"]) / 1_000_000
        assert len(sound) / rate == pytest.approx(length, abs=0.15)
        inner = sound[int(EDGE * rate) : int((length - EDGE) * rate), 0]
        parts = [inner[start : start + rate // 5] for start in range(0, len(inner) - rate // 5, rate // 5)]
        pitches = {pitch(part, rate) for part in parts}
        assert len(pitches) == 1, (segment, pitches)
        found.append(pitches.pop())
    return found[0], found[1]


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
    folder, told = office.next_one(known)
    assert [sides(folder, segment) for segment in told["segments"]] == [(500, 700), (700, 900), (500, 900)]
    assert [segment["left_party"] for segment in told["segments"]] == ["PJSIP/121", "PJSIP/122", "PJSIP/121"]
    assert told["call"] == office.box.pbxd.records()[-1]["id"]
    assert told["faults"] == []


def test_while_keys_are_pressed_nothing_is_written(office: Office) -> None:
    known = office.recordings()
    a, _ = connect(office.desk, "121", "122")
    a.key("4111#")
    wait_until(lambda: office.status()["paused"] == 1, "the pause")
    wait_until(lambda: office.status()["paused"] == 0, "its end")
    office.desk.pause(1)
    hang_up(office, a)
    folder, told = office.next_one(known)
    assert len(told["segments"]) == 2
    assert [sides(folder, segment) for segment in told["segments"]][1] == (500, 700)
    ((since, until),) = told["gaps"]
    before, after = told["segments"]
    assert since < before["end"] < after["at"]
    assert until <= after["at"]
    for segment in told["segments"]:
        for side in ("left", "right"):
            sound, rate = heard(folder / segment[side])
            assert not has_keys(sound[:, 0], rate)
    assert "4111" not in office.box.pbxd.log.read_text()


def test_somebody_of_whom_nothing_is_kept(office: Office) -> None:
    known = office.recordings()
    a, _ = connect(office.desk, "121", "124")
    hang_up(office, a)
    a, _ = connect(office.desk, "121", "122")
    hang_up(office, a)
    _, told = office.next_one(known)
    assert {party["number"] for party in told["parties"]} == {"121", "122"}


def test_pbxd_killed_in_the_middle(office: Office) -> None:
    """Asterisk goes on; the next start takes the recording over, and it is one."""
    known = office.recordings()
    a, _ = connect(office.desk, "121", "122")
    wait_until(lambda: office.status()["recording"] == 1, "the recording")
    office.box.pbxd.kill()
    office.desk.pause(1)
    office.box.pbxd.start()
    wait_until(lambda: office.box.pbxd.status()["ami"]["connected"], "AMI")
    wait_until(lambda: office.status()["recording"] == 1, "the recording to be taken over")
    office.desk.pause(1)
    hang_up(office, a)
    folder, told = office.next_one(known)
    (segment,) = told["segments"]
    assert sides(folder, segment) == (500, 700)
    assert segment["end"] - segment["at"] > 2_000_000


def test_killed_and_the_call_over_before_it_is_back(office: Office) -> None:
    known = office.recordings()
    a, _ = connect(office.desk, "121", "122")
    wait_until(lambda: office.status()["recording"] == 1, "the recording")
    office.box.pbxd.kill()
    hang_up(office, a)
    office.box.pbxd.start()
    folder, told = office.next_one(known)
    sound, rate = heard(folder / told["segments"][0]["left"])
    assert len(sound) / rate > 0.5
    assert loudness(sound[rate // 4 : rate // 2, 0]) > 0.1


def test_asterisk_killed_in_the_middle(office: Office) -> None:
    """What it wrote is kept, and mended: it never closed its files."""
    known = office.recordings()
    a, _ = connect(office.desk, "121", "122")
    office.desk.pause(2)
    office.box.asterisk.kill()
    office.box.asterisk.start()
    folder, told = office.next_one(known)
    sound, rate = heard(folder / told["segments"][0]["left"])
    assert len(sound) / rate > 1
    assert pitch(sound[rate // 2 : rate, 0], rate) == 500
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
    folder, told = office.next_one(known)
    assert [sides(folder, segment) for segment in told["segments"]] == [(500, 700), (500, 700)]
    assert told["gaps"][0][1] - told["gaps"][0][0] >= 1_000_000
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
    folder, told = office.next_one(known)
    assert told["dialled"] == "860"
    assert told["consent"] == "announcement"
    assert [sides(folder, segment) for segment in told["segments"]] == [(500, 1100)]
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
    folder, told = office.next_one(known)
    assert sides(folder, told["segments"][-1]) == (500, 1300)
