"""What is heard in the recordings of calls as people make them, and on their phones; the calls are in `lanes`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lab.asterisk import wait_until
from lab.hearing import SILENCE, has_keys, heard, loudness, pitch, sharing
from lab.transfers import answered_by, connect
from tests.lab.lanes import CARD, KEYED, LANES, TALK, TAPING, TONES, key_until_it_rings
from tests.lab.office import TOLD, Heard, Office

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
Played = Mapping[str, Future[object]]


@pytest.fixture(scope="module")
def played(office: Office) -> Played:
    """All lanes, and what each gave back; one that failed raises in the tests that ask for it."""
    office.desk.phones({number: TONES[number] for number in TAPING}, tapes=True)
    office.desk.phones(TONES)
    with ThreadPoolExecutor(len(LANES)) as pool:
        return {name: pool.submit(lane, office) for name, lane in LANES.items()}


def right_length(office: Office, made: Heard) -> None:
    """As long as its facts say, and as the call's conversation, which Asterisk's journal tells of."""
    facts = (made.facts["end"] - made.facts["start"]) / 1_000_000
    assert made.length == pytest.approx(facts, abs=0.05)
    assert made.length == pytest.approx(office.record(made)["billed"], abs=0.5)


def pairs(*talks: str) -> list[tuple[int, int]]:
    """The tones of talks, each written `101 102`."""
    return [(TONES[left], TONES[right]) for left, right in (talk.split() for talk in talks)]


@pytest.mark.parametrize(
    ("lane", "talks"),
    [
        ("attended", ("101 102", "102 103", "101 103")),
        ("blind", ("105 106", "105 107")),
        ("held", ("108 109", "108 109")),
        ("parked", ("110 111", "110 112")),
    ],
)
def test_one_recording_a_call(office: Office, played: Played, lane: str, talks: list[str]) -> None:
    played[lane].result()
    made = office.only_one(talks[0].split()[0])
    assert made.talks() == pairs(*talks)
    right_length(office, made)
    assert made.facts["faults"] == []


def test_a_conference_of_three_is_one_recording(office: Office, played: Played) -> None:
    played["conference"].result()
    made = office.only_one("113")
    tones = {phone: TONES[phone] for phone in ("113", "114", "115")}
    assert made.voices(tones) == [("113", "114"), ("113", "114+115"), ("114", "115")]
    assert made.facts["faults"] == []


def silent_in_its_gaps(made: Heard) -> bool:
    """Whether nothing is heard in the pauses; the codec rings for a moment at their ends."""
    ends = made.rate // 20
    return all(loudness(gap[ends:-ends]) < SILENCE for gap in made.gaps())


def test_paused_by_feature_code_command_and_api(office: Office, played: Played) -> None:
    played["by hand"].result()
    made = office.only_one("104")
    assert made.talks() == pairs(*["104 137"] * 5)
    assert len(made.gaps()) == 4
    assert silent_in_its_gaps(made)
    gaps = sum(map(len, made.gaps())) / made.rate
    assert made.silent_seconds() == pytest.approx(gaps, abs=1.5)  # and nothing else is
    done = office.box.pbxd.ctl("recorder", "pause", made.facts["id"], check=False)
    assert done.returncode != 0  # it is over
    right_length(office, made)


@pytest.mark.parametrize(
    ("how", "caller", "called"), [("rfc4733", "116", "117"), ("info", "118", "119"), ("inband", "120", "121")]
)
def test_no_key_is_heard(office: Office, played: Played, how: str, caller: str, called: str) -> None:
    played[how].result()
    made = office.only_one(caller)
    (gap,) = made.gaps()
    if how != "info":  # the phone takes its time for each key
        assert len(gap) / made.rate > 9 * 0.2 + 2  # from the first key to `digits_after` after the last
    assert made.talks() == pairs(*[f"{caller} {called}"] * 2)
    assert silent_in_its_gaps(made)
    assert not any(has_keys(made.sound[:, side], made.rate) for side in (0, 1))


@pytest.mark.parametrize(
    ("lane", "caller", "talks"), [("paid", "122", ("122 123", "122 125")), ("paid first", "126", ("126 127",))]
)
def test_nothing_is_kept_while_somebody_pays(
    office: Office, played: Played, lane: str, caller: str, talks: list[str]
) -> None:
    played[lane].result()
    made = office.only_one(caller)
    assert made.talks() == pairs(*talks)
    assert silent_in_its_gaps(made)
    assert not any(has_keys(made.sound[:, side], made.rate) for side in (0, 1))


def test_keyed_digits_are_in_no_file(office: Office, played: Played) -> None:
    for future in played.values():
        future.result()
    wait_until(lambda: not any(entry.is_dir() for entry in office.spool.iterdir()), "the spool to be empty")
    places = (
        office.box.pbxd.folder,
        office.box.folder / "comms",
        office.box.asterisk.log,
        office.box.asterisk.folder / "spool",
    )
    files = {file: file.read_bytes() for place in places for file in place.rglob("*") if file.is_file()}
    for digits in (KEYED, CARD):
        assert [file for file, data in files.items() if digits.encode() in data] == []
    assert not [file for file, data in files.items() if re.search(rb"\bDTMF(Begin|End)?\b", data)]
    assert any(b"Phone 116" in data for data in files.values())  # it would have been found


def tones_of(tape: Path) -> list[int]:
    """What a phone heard, one tone after the other."""
    sound, rate = heard(tape)
    step = rate // 5
    found = [pitch(sound[at : at + step, 0], rate) for at in range(0, len(sound) - step, step)]
    return [
        now for at, now in enumerate(found) if now and at and found[at - 1] == now and (at < 2 or found[at - 2] != now)
    ]


@pytest.mark.parametrize(
    ("lane", "talk", "language"), [("english", ("130", "131"), "en"), ("german", ("128", "136"), "de")]
)
def test_the_announcement_is_in_the_callers_language(
    office: Office, played: Played, lane: str, talk: tuple[str, str], language: str
) -> None:
    caller, called = talk
    tapes = played[lane].result()
    assert isinstance(tapes, tuple)
    assert tones_of(tapes[0]) == [TOLD[language], TONES[called]]
    assert tones_of(tapes[1]) == [TONES[caller]]
    made = office.only_one(caller)
    assert made.talks() == pairs(f"{caller} {called}")
    assert made.length == pytest.approx(office.record(made)["talk_time"], abs=0.5)
    assert made.facts["consent"] == "announcement"


def test_nothing_is_kept_from_before_the_announcement_ended(office: Office, played: Played) -> None:
    tapes = played["told later"].result()
    assert isinstance(tapes, tuple)
    assert tones_of(tapes[0]) == [TONES["133"], TOLD["en"], TONES["133"]]
    made = office.only_one("129")
    assert made.talks() == pairs("129 133")
    sound, rate = heard(tapes[0])
    step = rate // 20
    last = max(at for at in range(0, len(sound), step) if pitch(sound[at : at + step, 0], rate) in range(1850, 1950))
    assert made.length < (len(sound) - last) / rate + 0.2


def test_beeps_are_heard_by_both(office: Office, played: Played) -> None:
    """The first when the recording begins, on both sides, or somebody talks into a recording without having been told."""
    tapes = played["beeped"].result()
    assert isinstance(tapes, tuple)
    beep, rate = heard(next((office.box.asterisk.tree / "usr/share/asterisk/sounds").rglob("beep.wav")))
    tone = pitch(beep[:, 0], rate)
    for tape in tapes:
        sound, rate = heard(tape)
        step = rate // 10
        beeps = [sharing(sound[at : at + step, 0], rate, tone, 0.01) for at in range(0, len(sound) - step, step)]
        assert int(np.sum(np.diff(np.array(beeps, dtype=int)) > 0)) >= 2
        assert any(beeps[:15])
    made = office.only_one("134")
    assert made.facts["consent"] == "beep"
    assert made.talks() == pairs("134 135")


def test_the_calls_are_all_there_is(office: Office, played: Played) -> None:
    """Beeps, recordings and announcements leave no call of their own in the statistics."""
    for future in played.values():
        future.result()
    wait_until(lambda: office.box.pbxd.status()["journal"]["open_calls"] == 0, "all calls to end")
    assert sorted(record["caller_number"] for record in office.box.pbxd.records()) == sorted(
        ["101", "105", "108", "110", "113", "104", "116", "118", "120", "122", "126", "130", "128", "129", "134"]
    )


def test_a_reload_takes_up_rules_numbers_and_the_announcement(office: Office, played: Played) -> None:
    """In the middle of a call: its phone has another number now, of which nothing is kept; then it has its own again."""
    for future in played.values():
        future.result()
    a, _ = connect(office.desk, "105", "106")
    name = office.pauses("105")["id"]
    office.desk.pause(TALK)
    office.configure(
        rules="{record: never, extension: ['777']}, {record: always, extension: [131]}, {record: always, consent: none}",
        site="site: {phones: {'106': '777'}}",
        announcement="/lab/sounds/other",
    )
    changed = office.box.pbxd.ctl("reload").stdout
    assert "next start" not in changed
    office.desk.pause(TALK)
    b = office.desk.call("130", "*6131").talks()
    answered_by(office.desk, "131")
    b.hang_up()
    assert tones_of(b.tape())[0] == TOLD["other"]
    office.configure()
    office.box.pbxd.ctl("reload")
    office.desk.pause(TALK)
    a.hang_up()
    wait_until(lambda: any(one["id"] == name for one in office.recordings()), "the recording to be stored")
    made = office.heard(name)
    assert made.talks() == pairs(*["105 106"] * 2)
    assert made.silent_seconds() > TALK


def test_a_payment_is_kept_out_of_it_without_pbxd(office: Office, played: Played) -> None:
    """Then the dialplan itself ends what Asterisk records."""
    for future in played.values():
        future.result()
    a, b = connect(office.desk, "110", "111")
    name = office.pauses("110")["id"]
    office.desk.pause(TALK)
    office.box.pbxd.kill()
    b.refer("*5112").hang_up()
    key_until_it_rings(office, a, "112")
    answered_by(office.desk, "112")
    office.desk.pause(TALK)
    a.hang_up()
    office.box.pbxd.start()
    wait_until(lambda: any(one["id"] == name for one in office.recordings()), "the recording to be stored")
    made = office.heard(name)
    assert made.talks() == pairs("110 111")
    assert not any(has_keys(made.sound[:, side], made.rate) for side in (0, 1))
