"""What ends a call, and what makes two calls one: rules that no captured call shows."""

from __future__ import annotations

from typing import Any

import pytest

from pbxd.calls.cel import HOOK, CelEvent
from pbxd.calls.grouping import KEPT_CLOSED, Grouper
from pbxd.calls.interpreter import Interpreter
from pbxd.calls.record import CallRecord
from pbxd.calls.site import Site

T0 = 1_795_000_000
SITE = Site(["PJSIP/trunk-*"], ["1XX"])


def event(kind: str, uniqueid: str, second: float, linkedid: str = "", extra: str = "", **fields: str) -> CelEvent:
    """A line of the channel `uniqueid`, `second` seconds after the beginning."""
    blank: dict[str, Any] = dict.fromkeys(CelEvent._fields, "")
    blank |= {"channel": f"PJSIP/{uniqueid.partition('.')[2]}-00000000", "exten": "200", **fields}
    at = round((T0 + second) * 1_000_000)
    return CelEvent(
        **{**blank, "type": kind, "at": at, "uniqueid": uniqueid, "linkedid": linkedid or uniqueid, "extra": extra}
    )


def bridge(name: str) -> str:
    return f'{{"bridge_id":"{name}","bridge_technology":"simple_bridge"}}'


def feed(interpreter: Interpreter, *events: CelEvent) -> list[CallRecord]:
    return [record for one in events for record in interpreter.take(one)]


A, B, C = f"{T0}.1", f"{T0}.2", f"{T0}.3"


def test_linkedid_end_of_an_overwritten_linkedid_ends_nothing() -> None:
    """Two calls meet in a bridge: the younger linkedid is overwritten and retired while its channel talks on."""
    interpreter = Interpreter(SITE)
    made = feed(
        interpreter,
        event("CHAN_START", A, 0),
        event("CHAN_START", B, 1),
        event("LINKEDID_END", B, 2, linkedid=B),
        event("BRIDGE_ENTER", A, 2, extra=bridge("x")),
        event("BRIDGE_ENTER", B, 2, linkedid=A, extra=bridge("x")),
        event("CHAN_END", A, 5),
        event("CHAN_END", B, 5, linkedid=A),
    )
    assert made == []
    (record,) = feed(interpreter, event("LINKEDID_END", B, 5, linkedid=A))
    assert [leg.uniqueid for leg in record.legs] == [A, B]
    assert record.talk_time == 3_000_000
    assert record.linkedids == (A, B)


def test_a_journal_without_linkedid_end_ends_its_calls_all_the_same() -> None:
    interpreter = Interpreter(SITE)
    assert feed(interpreter, event("CHAN_START", A, 0), event("CHAN_END", A, 1)) == []
    (record,) = feed(interpreter, event("CHAN_START", B, 7))
    assert record.id == A


def test_a_lost_chan_end_does_not_keep_a_call_open_for_ever() -> None:
    interpreter = Interpreter(SITE)
    assert feed(interpreter, event("CHAN_START", A, 0), event("LINKEDID_END", A, 1)) == []
    (record,) = feed(interpreter, event("CHAN_START", B, 7))
    assert (record.id, record.disposition) == (A, "failed")


def test_a_restart_of_asterisk_cuts_what_was_open() -> None:
    """Channel numbers begin again at 0: the calls before it can never end by themselves."""
    interpreter = Interpreter(SITE)
    feed(interpreter, event("CHAN_START", f"{T0}.7", 0), event("ANSWER", f"{T0}.7", 3))
    (record,) = feed(interpreter, event("CHAN_START", f"{T0 + 60}.0", 60))
    assert (record.disposition, record.end) == ("cut", (T0 + 3) * 1_000_000)


def test_channels_made_at_once_are_no_restart() -> None:
    interpreter = Interpreter(SITE)
    assert feed(interpreter, event("CHAN_START", f"{T0}.9", 0), event("CHAN_START", f"{T0 + 1}.8", 0)) == []


def test_a_clock_step_backward_is_no_restart() -> None:
    interpreter = Interpreter(SITE)
    feed(interpreter, event("CHAN_START", f"{T0}.9", 0))
    assert feed(interpreter, event("CHAN_START", f"{T0 - 3600}.10", -3600)) == []


def test_uniqueids_compare_as_numbers() -> None:
    ten, nine = f"{T0}.10", f"{T0}.9"
    interpreter = Interpreter(SITE)
    (record,) = feed(
        interpreter,
        event("CHAN_START", nine, 0),
        event("CHAN_START", ten, 1, linkedid=nine),
        event("CHAN_END", ten, 2, linkedid=nine),
        event("CHAN_END", nine, 2),
        event("LINKEDID_END", nine, 2),
    )
    assert [leg.uniqueid for leg in record.legs] == [nine, ten]
    assert record.id == nine


def test_a_late_line_gives_the_record_again_with_it() -> None:
    interpreter = Interpreter(SITE)
    (first,) = feed(interpreter, event("CHAN_START", A, 0), event("CHAN_END", A, 1), event("LINKEDID_END", A, 1))
    (second,) = feed(interpreter, event("PBXD_TAG", A, 0.5, user_type="PBXD_TAG"))
    assert second.id == first.id
    assert "user_event" in [moment.kind for moment in second.timeline]


def test_ended_calls_that_turn_out_to_be_one_replace_their_records() -> None:
    """An ATTENDEDTRANSFER line may come after all that it caused."""
    interpreter = Interpreter(SITE)
    feed(interpreter, event("CHAN_START", A, 0), event("CHAN_END", A, 5), event("LINKEDID_END", A, 5))
    feed(interpreter, event("CHAN_START", B, 1), event("CHAN_END", B, 6), event("LINKEDID_END", B, 6))
    (record,) = feed(interpreter, event("ATTENDEDTRANSFER", A, 4, extra=f'{{"channel2_uniqueid":"{B}"}}'))
    assert (record.id, record.replaces) == (A, (B,))


def test_people_in_a_parking_lot_are_not_one_call() -> None:
    holding = '{"bridge_id":"lot","bridge_technology":"holding_bridge"}'
    interpreter = Interpreter(SITE)
    feed(interpreter, event("CHAN_START", A, 0), event("CHAN_START", B, 1))
    feed(interpreter, event("BRIDGE_ENTER", A, 2, extra=holding), event("BRIDGE_ENTER", B, 2, extra=holding))
    assert interpreter.open_calls == 2


def test_a_call_from_before_the_journal_is_counted_and_not_invented() -> None:
    interpreter = Interpreter(SITE)
    made = feed(interpreter, event("BRIDGE_EXIT", A, 0), event("CHAN_END", A, 1), event("LINKEDID_END", A, 1))
    assert (made, interpreter.fragments) == ([], 1)


def test_calls_that_asterisk_does_not_know_are_cut() -> None:
    interpreter = Interpreter(SITE)
    feed(interpreter, event("CHAN_START", A, 0), event("CHAN_START", B, 1), event("CHAN_START", C, 9))
    cut = interpreter.cut_open(before=(T0 + 5) * 1_000_000, alive={B})
    assert [record.id for record in cut] == [A]
    assert interpreter.open_calls == 2


def test_a_cut_call_whose_lines_come_after_all_is_mended() -> None:
    interpreter = Interpreter(SITE)
    feed(interpreter, event("CHAN_START", A, 0), event("ANSWER", A, 1))
    assert interpreter.silent_since((T0 + 9) * 1_000_000)
    (cut,) = interpreter.cut_open()
    *_, mended = feed(interpreter, event("CHAN_END", A, 5), event("LINKEDID_END", A, 5))
    assert (cut.disposition, mended.id, mended.disposition) == ("cut", cut.id, "answered")


def test_a_cut_call_that_goes_on_is_open_again() -> None:
    interpreter = Interpreter(SITE)
    feed(interpreter, event("CHAN_START", A, 0))
    interpreter.cut_open()
    assert feed(interpreter, event("ANSWER", A, 1)) == []
    assert interpreter.open_calls == 1
    *_, record = feed(interpreter, event("CHAN_END", A, 5), event("LINKEDID_END", A, 5))
    assert record.disposition == "answered"


def test_memory_is_bounded() -> None:
    grouper = Grouper()
    for n in range(KEPT_CLOSED * 3):
        name = f"{T0}.{n}"
        for kind in ("CHAN_START", "CHAN_END", "LINKEDID_END"):
            grouper.feed(event(kind, name, n))
    assert grouper.open == []
    assert len(grouper._by_channel) <= KEPT_CLOSED + 1
    assert len(grouper._settling) <= 1


@pytest.mark.parametrize("count", [2000])
def test_thousands_of_calls_open_at_once(count: int) -> None:
    interpreter = Interpreter(SITE)
    feed(interpreter, *(event("CHAN_START", f"{T0}.{n}", n / 1000) for n in range(count)))
    assert interpreter.open_calls == count
    ends = [event(kind, f"{T0}.{n}", 60 + n / 1000) for n in range(count) for kind in ("CHAN_END", "LINKEDID_END")]
    assert len(feed(interpreter, *ends)) == count


def test_a_beep_is_no_call() -> None:
    """Asterisk plays it by a Local channel of its own, each time."""
    interpreter = Interpreter(SITE)
    told = [
        event(kind, f"{T0}.{n}", 1 + 0.01 * n, f"{T0}.1", channel=f"Local/hook@{HOOK}-00000000;{n}", context=HOOK)
        for n in (1, 2)
        for kind in ("CHAN_START", "ANSWER", "HANGUP", "CHAN_END")
    ]
    assert feed(interpreter, *told, event("LINKEDID_END", f"{T0}.2", 2, f"{T0}.1", context=HOOK)) == []
    assert interpreter.open_calls == 0
