"""Calls that are recorded while something fails, and rules, with a real Asterisk and phones that each speak a tone of their own."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.asterisk import wait_until
from lab.desk import Line
from lab.transfers import connect
from tests.lab.office import Office

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
TONES = {"121": 500, "122": 700, "123": 900, "131": 1100, "132": 1300}


@pytest.fixture(scope="module", autouse=True)
def phones(office: Office) -> None:
    """On the desk, for all tests of this file."""
    office.desk.phones(TONES)


@dataclass(frozen=True, slots=True)
class Written:
    """A file that Asterisk writes, or wrote, to the spool."""

    path: Path

    def is_closed(self) -> bool:
        """Whether its header tells its length: at the beginning it says 0, which is true for as long as nothing was said."""
        (length,) = struct.unpack("<I", self.path.read_bytes()[40:44])
        return bool(0 < length == self.path.stat().st_size - 44)


def sounds(office: Office) -> list[Written]:
    """What Asterisk wrote of the recorded party of the calls that go on, in the order in which it began."""
    return [Written(path) for path in sorted(office.spool.glob("*/*.rx.wav"))]


def kill_and_start(office: Office) -> None:
    """pbxd is killed, and has taken over what goes on when this returns."""
    office.box.pbxd.kill()
    office.box.pbxd.start()
    wait_until(lambda: office.status()["recording"] == 1, "the recording to be taken over")


def hang_up(office: Office, line: Line) -> None:
    line.hang_up()
    office.desk.quiet(TONES)


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


def test_the_class_that_rules_and_dialplan_say(office: Office) -> None:
    """The dialplan's word comes before the rule's, from before the call is recorded, and pbxd is killed between the two."""
    known = office.recordings()
    a, _ = connect(office.desk, "121", "123")
    hang_up(office, a)
    by_rule = office.next_one(known).facts
    assert by_rule["class"] == "order"
    known = office.recordings()
    a = office.desk.call("121", "*3123")
    b = office.desk.incoming("123")
    office.box.pbxd.kill()
    office.box.pbxd.start()
    wait_until(lambda: office.box.pbxd.status()["ami"]["connected"], "pbxd's AMI session")
    b.answer()
    a.talks()
    office.desk.pause(1)
    assert office.under_way("123")["class"] == "complaint"
    hang_up(office, a)
    by_dialplan = office.next_one(known).facts
    assert by_dialplan["class"] == "complaint"
    assert by_rule["due"] - by_rule["end"] == 730 * 86_400_000_000
    assert by_dialplan["due"] - by_dialplan["end"] == 21 * 86_400_000_000
    ctl = office.box.pbxd.ctl
    assert by_dialplan["id"] in ctl("recordings", "list", "--class", "complaint").stdout
    refused = ctl("recordings", "class", by_dialplan["id"], "complain", check=False)
    assert refused.returncode
    assert "there are call, complaint, order" in refused.stderr
    ctl("recordings", "class", by_dialplan["id"], "order")
    changed = json.loads(ctl("recordings", "show", by_dialplan["id"]).stdout)
    assert (changed["class"], changed["due"] - changed["end"]) == ("order", 730 * 86_400_000_000)


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
    wait_until(lambda: office.status()["recording"] == 1 and bool(sounds(office)), "the recording")
    office.desk.pause(1)
    b.hold()
    wait_until(sounds(office)[-1].is_closed, "the recording to stop")
    kill_and_start(office)
    office.desk.pause(1)
    assert len(sounds(office)) == 1
    b.resume()
    wait_until(lambda: len(sounds(office)) == 2, "the recording to go on")
    office.desk.pause(1)
    office.box.pbxd.kill()
    b.hold()
    office.desk.pause(0.5)
    office.box.pbxd.start()
    wait_until(sounds(office)[-1].is_closed, "the recording to stop")
    b.resume()
    wait_until(lambda: len(sounds(office)) == 3, "the recording to go on")
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


def test_a_spool_without_room_stops_no_call(office: Office) -> None:
    """The folder is taken away: the call goes on, an alarm is shown, and the next call is recorded again."""
    calls = office.box.pbxd.status()["store"]["calls"]
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
    office.box.wait_for_calls(calls + 1)
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
