"""Voice quality as a line of the journal."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxd.asterisk.own_journal import OwnJournal
from pbxd.calls.cel import CelEvent, format_line, parse_line
from pbxd.calls.interpreter import Interpreter, records
from pbxd.calls.quality import Direction, Quality
from pbxd.calls.record import CallRecord
from pbxd.calls.record import Quality as LegQuality
from pbxd.calls.site import Site
from pbxd.calls.voice import quality_line, read_quality

HEARD = Quality(Direction(3, 0.01, 0.02, 4.0, 6.0, 4.2), None, 21.5, 30.0)
CALL = (Path(__file__).parent / "journals" / "answered.csv").read_bytes().splitlines()


def line(uniqueid: str, heard: Quality = HEARD) -> CelEvent:
    made = quality_line(1_795_517_490_000_000, "PJSIP/101-00000000", uniqueid, uniqueid, heard)
    assert made is not None
    return made


def test_nothing_was_reported() -> None:
    assert quality_line(0, "", "1.0", "1.0", Quality(None, None, None, None)) is None


def test_a_line_says_what_was_heard() -> None:
    event = parse_line(format_line(line("1795517486.0")).encode())
    assert read_quality(event) == (LegQuality(0.01, 4.0, 4.2), None, 21.5)


@given(extra=st.text(max_size=60) | st.sampled_from(['{"sent": 3}', '{"sent": {"loss": "x"}}', '{"rtt": true}', "[]"]))
def test_garbage_is_unknown(extra: str) -> None:
    assert read_quality(line("1.0")._replace(extra=extra))[2] in (None, 21.5)


def read(lines: list[bytes]) -> CallRecord:
    interpreter = Interpreter(Site((), ["1XX"]))
    made = [record for one in lines for record in interpreter.feed(one)]
    return [*made, *interpreter.finish()][-1]


@pytest.mark.parametrize("place", [0, 1, 4, len(CALL)])
def test_it_belongs_to_its_leg_wherever_it_is_read(place: int) -> None:
    """Before the call's first line, in between, and after its end."""
    (plain,) = records(CALL, Site((), ["1XX"]))
    told = format_line(line(plain.legs[1].uniqueid)._replace(linkedid=plain.id)).encode()
    record = read([*CALL[:place], told, *CALL[place:]])
    assert record.legs[1].sent == LegQuality(0.01, 4.0, 4.2)
    assert record.legs[1].rtt == 21.5
    assert (record.legs[0].sent, record.legs[0].received, record.legs[1].received) == (None, None, None)
    assert (record.start, record.end, record.timeline) == (plain.start, plain.end, plain.timeline)


def test_of_a_call_that_nobody_knows_no_record_is_made() -> None:
    interpreter = Interpreter(Site())
    assert interpreter.take(line("1795517486.7")) == []
    assert interpreter.finish() == []
    assert interpreter.fragments == 1


def test_a_line_behind_one_that_the_disk_took_half_of_is_whole(tmp_path: Path) -> None:
    journal = OwnJournal(tmp_path / "own" / "own.csv")
    journal.prepare()
    journal.append(line("1.1"))
    with journal.path.open("ab") as file:
        file.write(b'"PBXD_QUAL')
    journal._torn = True
    journal.append(line("1.2"))
    whole = [parse_line(one) for one in journal.path.read_bytes().splitlines() if one.count(b'"') > 2]
    assert [event.uniqueid for event in whole] == ["1.1", "1.2"]
