"""CEL lines: every byte sequence is an event or a LineError."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxd.calls.cel import COLUMNS, CelEvent, format_line, id_order, parse_line
from pbxd.errors import LineError

GOOD = '"ANSWER","1795485056.001483",' + ",".join(f'"{name}"' for name in COLUMNS[2:])

text = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))


@given(st.lists(text, min_size=20, max_size=20), st.integers(0, 10**17))
def test_what_is_written_is_read_back(values: list[str], at: int) -> None:
    values[14] = values[14] or "1.1"
    values[15] = values[15] or "1.1"
    event = CelEvent(values[0], at % 10**16, *values[2:])
    assert parse_line(format_line(event).encode()) == event


@given(st.binary(max_size=400))
def test_any_bytes_are_an_event_or_a_line_error(data: bytes) -> None:
    with contextlib.suppress(LineError):
        parse_line(data)


@given(st.binary(max_size=20), st.integers(0, len(GOOD)))
def test_damage_anywhere_is_an_event_or_a_line_error(junk: bytes, place: int) -> None:
    with contextlib.suppress(LineError):
        parse_line(GOOD[:place].encode() + junk + GOOD[place:].encode())


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "columns"),
        (b'"a","b"', "columns"),
        (GOOD.replace("1795485056.001483", "yesterday").encode(), "time"),
        (GOOD.replace("1795485056.001483", "1795485056.1").encode(), "time"),
        (GOOD.encode() + b"\0", "NUL"),
        (GOOD.encode()[:-1], "quotation"),
        (GOOD.replace('"uniqueid"', '""').encode(), "uniqueid"),
    ],
)
def test_what_is_wrong_is_said(line: bytes, says: str) -> None:
    with pytest.raises(LineError, match=says):
        parse_line(line)


def test_names_from_old_phones_are_read() -> None:
    event = parse_line(GOOD.replace('"cid_name"', '"M\xfcller"').encode("latin-1"))
    assert event.cid_name == "Müller"
    assert parse_line(GOOD.replace('"cid_name"', '"Zoë"').encode()).cid_name == "Zoë"


def test_quotes_and_commas_in_values() -> None:
    event = parse_line(GOOD.replace('"cid_name"', '"say ""hi"", you"').replace('"extra"', '"{""a"":""b""}"').encode())
    assert (event.cid_name, event.details()) == ('say "hi", you', {"a": "b"})


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1795485056.9", "1795485056.10"),
        ("1795485056.99", "1795485057.1"),
        ("pbx-1795485056.9", "pbx-1795485056.10"),
        ("1.1", "made-up"),
    ],
)
def test_ids_are_ordered_as_numbers(older: str, newer: str) -> None:
    assert id_order(older) < id_order(newer)


def test_extra_that_is_no_json_is_no_error() -> None:
    event = parse_line(GOOD.replace('"extra"', '"{broken"').encode())
    assert event.details() == {}
