"""Every scenario of the lab as a real call: one right record each, and in agreement with Asterisk's own CDRs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lab import scenarios
from lab.asterisk import wait_until
from lab.box import Box
from lab.demo import match, place_all
from tests.conftest import reachable, say

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
NAMES = tuple(scenarios.EXPECTED)
CDR = [  # the columns of Master.csv, from Asterisk's cdr_csv
    "accountcode", "src", "dst", "dcontext", "clid", "channel", "dstchannel", "lastapp", "lastdata", "start", "answer",
    "end", "duration", "billsec", "disposition", "amaflags", "uniqueid", "userfield",
]  # fmt: skip
SAME_SECOND = 1.0  # s; a CDR has whole seconds


@pytest.fixture(scope="module")
def called_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A box on which every scenario was called once."""
    box = Box(reachable(tmp_path_factory.mktemp("calls")), say)
    try:
        box.start()
        place_all(box, NAMES)
        box.wait_for_calls(len(NAMES))
        wait_until(lambda: box.pbxd.status()["live"]["channels"] == 0, "AMI to tell of every hang-up")
        yield box
    finally:
        box.stop()


@pytest.fixture(scope="module")
def records(called_box: Box) -> list[dict[str, Any]]:
    """What the store has of them."""
    return called_box.pbxd.records()


@pytest.mark.parametrize("name", NAMES)
def test_each_call_has_one_right_record(name: str, records: list[dict[str, Any]], called_box: Box) -> None:
    (record,) = match(records, NAMES, called_box.phones.audio)[name]
    assert scenarios.faults(name, record) == []


def test_no_call_has_two_records(records: list[dict[str, Any]]) -> None:
    assert len(records) == len(NAMES)
    assert len({record["id"] for record in records}) == len(NAMES)


def cdrs(box: Box) -> dict[str, list[dict[str, str]]]:
    """Asterisk's own CDRs by the uniqueid of the calling channel."""
    found: dict[str, list[dict[str, str]]] = {}
    with (box.asterisk.log / "cdr-csv" / "Master.csv").open() as file:
        for row in csv.DictReader(file, CDR):
            found.setdefault(row["uniqueid"], []).append(row)
    return found


def epoch(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()


def ours(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


DISPOSITIONS = {  # ours, by disposition or reason -> what the CDR of the same call may say
    "answered": {"ANSWERED"},
    "voicemail": {"ANSWERED"},
    "abandoned": {"ANSWERED", "NO ANSWER"},  # a queue answers; the CDR tells of the agent who did not
    "no_answer": {"NO ANSWER"},
    "busy": {"BUSY"},
    "congestion": {"CONGESTION"},
    "no_route": {"FAILED"},
}


def test_records_agree_with_cdrs(records: list[dict[str, Any]], called_box: Box) -> None:
    """Start, answer, end within a second; billsec; disposition: against Master.csv, which is made from neither CEL nor AMI."""
    theirs = cdrs(called_box)
    for record in records:
        rows = theirs[record["id"]]
        assert abs(ours(record["start"]) - min(epoch(row["start"]) for row in rows)) <= SAME_SECOND, record["id"]
        assert abs(ours(record["end"]) - max(epoch(row["end"]) for row in rows)) <= SAME_SECOND, record["id"]
        answers = [epoch(row["answer"]) for row in rows if row["answer"]]
        assert (record["answer"] is None) == (not answers), record["id"]
        if answers:
            assert abs(ours(record["answer"]) - min(answers)) <= SAME_SECOND, record["id"]
        billed = max(epoch(row["end"]) for row in rows) - min(answers) if answers else 0
        assert abs(record["billed"] - billed) <= SAME_SECOND, record["id"]
        told = {row["disposition"] for row in rows if row["lastapp"] != "Hangup"} or {
            row["disposition"] for row in rows
        }
        allowed = DISPOSITIONS.get(record["reason"]) or DISPOSITIONS[record["disposition"]]
        assert told & allowed, (record["id"], told, allowed)


def test_single_cdrs_have_our_billsec(records: list[dict[str, Any]], called_box: Box) -> None:
    """Where the call has one CDR, its billsec column is ours, up to the rounding of both ends."""
    theirs = cdrs(called_box)
    single = [(record, theirs[record["id"]][0]) for record in records if len(theirs[record["id"]]) == 1]
    assert len(single) >= 8
    for record, row in single:
        assert abs(record["billed"] - int(row["billsec"])) <= SAME_SECOND, record["id"]


def test_voicemail_heard_the_caller(called_box: Box) -> None:
    """The message on disk is not silence: audio went from the phone through Asterisk."""
    messages = list((called_box.asterisk.folder / "spool" / "voicemail").rglob("msg*.wav"))
    assert messages
    assert any(loudness(message) > 500 for message in messages)


def loudness(wav: Path) -> int:
    """The largest sample of a 16-bit WAV file."""
    samples = memoryview(wav.read_bytes()[44:][: (wav.stat().st_size - 44) // 2 * 2]).cast("h")
    return max((abs(sample) for sample in samples), default=0)


def test_doctor_finds_nothing_broken(called_box: Box) -> None:
    done = called_box.pbxd.ctl("doctor", check=False)
    assert done.returncode == 0, done.stdout
    assert "fault" not in done.stdout


def test_no_digit_that_was_keyed_is_in_any_file(called_box: Box) -> None:
    """CEL is not asked for DTMF (P13)."""
    assert "DTMF" not in called_box.asterisk.command("cel show status")
    assert b'"DTMF"' not in called_box.asterisk.journal.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--queue", "support"], {"queue", "inbound-queue"}),
        (["--disposition", "busy"], {"busy"}),
        (["--disposition", "declined"], {"refused"}),
        (["--direction", "outbound"], {"outbound", "congestion"}),
        (["--extension", "119"], {"blind-transfer"}),
        (["--number", "4930123"], {"inbound"}),
        (["--from", "1h", "--disposition", "abandoned"], {"abandoned"}),
        (["--to", "1h"], set()),
    ],
)
def test_calls_can_be_filtered(arguments: list[str], names: set[str], called_box: Box) -> None:
    lines = called_box.pbxd.ctl("calls", "list", *arguments, "--format", "csv").stdout.splitlines()[1:]
    table = {(s.caller.number, s.dial): s.name for s in scenarios.table(called_box.phones.audio)}
    found = {table[row[9], row[12]] for row in csv.reader(lines)}
    assert found == names


def test_a_call_is_shown_by_any_of_its_channels(records: list[dict[str, Any]], called_box: Box) -> None:
    record = next(record for record in records if record["dialled"] == "200")
    shown = called_box.pbxd.ctl("calls", "show", record["legs"][-1]["uniqueid"]).stdout
    assert record["id"] in shown
    assert "PJSIP/106" in shown
