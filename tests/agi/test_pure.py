"""What decides without a call: numbers and lists, opening hours, names on keys, wrong PINs."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxd.agi.directory import those
from pbxd.agi.guard import LOCKED, TRIES, Guard
from pbxd.agi.hours import opening
from pbxd.agi.keypad import keyed, matches
from pbxd.agi.lookup import looked_up
from pbxd.agi.numbers import found, normal
from pbxd.config.agi import Directory, Hours, Lookup

FORMS = {
    "030 123-456": "+4930123456",
    "0049 30 1": "+49301",
    "+33 1": "+331",
    "101": "101",
    "": "anonymous",
    "unknown": "anonymous",
    "*8": "*8",
}


@pytest.mark.parametrize(("number", "form"), FORMS.items())
def test_one_form_for_a_number(number: str, form: str) -> None:
    assert normal(number, "+49") == form


def test_the_longest_beginning_counts() -> None:
    book = {"+49*": "Germany", "+4930*": "Berlin", "+4930123": "Zoë", "*": "somebody"}
    assert [found(number, book) for number in ("+4930123", "+4930124", "+4940", "+33", "anonymous")] == [
        "Zoë", "Berlin", "Germany", "somebody", None]  # fmt: skip


def test_lists() -> None:
    config = Lookup.model_validate(
        {"country": "+49", "names": {"101": "Desk"}, "blocked": ["+4990*", "anonymous"], "allowed": ["+4990 123"]}
    )
    assert looked_up("0901", config) == ("+49901", "blocked", "")
    assert looked_up("090123", config) == ("+4990123", "allowed", "")
    assert looked_up("", config)[:2] == ("anonymous", "blocked")
    assert looked_up("101", config) == ("101", "none", "Desk")


@given(st.text(max_size=30))
def test_any_caller_id_is_looked_up(number: str) -> None:
    assert looked_up(number, Lookup(country="+49"))[1] == "none"


HOURS = Hours.model_validate({
    "open": {"mon-fri": ["09:00-12:00", "13:00-17:30"], "sat": ["09:00-12:00"], "sun": ["22:00-24:00"]},
    "holidays": {"12-25": "Christmas", "2026-05-01": "May Day"},
    "special": {"2026-12-24": ["09:00-11:00"]},
})  # fmt: skip


@pytest.mark.parametrize(
    ("moment", "state", "name"),
    [
        ("2026-11-25 09:00", "open", ""), ("2026-11-25 12:00", "closed", ""), ("2026-11-25 17:29", "open", ""),
        ("2026-11-28 11:59", "open", ""), ("2026-11-28 13:00", "closed", ""), ("2026-11-29 23:59", "open", ""),
        ("2026-12-24 10:59", "open", ""), ("2026-12-24 14:00", "closed", ""), ("2026-12-25 10:00", "holiday", "Christmas"),
        ("2027-12-25 10:00", "holiday", "Christmas"), ("2026-05-01 10:00", "holiday", "May Day"), ("2028-05-01 10:00", "open", ""),
    ],
)  # fmt: skip
def test_opening(moment: str, state: str, name: str) -> None:
    opened = opening(HOURS, datetime.fromisoformat(moment))
    assert (opened.state, opened.name) == (state, name)


def test_days_over_the_weekend() -> None:
    hours = Hours.model_validate({"open": {"fri-mon": ["00:00-24:00"]}})
    states = [opening(hours, datetime(2026, 11, day, 12)).state for day in range(23, 30)]  # noqa: DTZ001 - local time
    assert states == ["open", "closed", "closed", "closed", "open", "open", "open"]


def test_names_on_keys() -> None:
    assert keyed("Zoë O'Brien") == "963627436"
    assert matches("685", "Müller")
    assert matches("6835", "Müller")
    assert not matches("", "Müller")
    assert keyed("Strauß") == "7872877"
    people = {"101": {"last": "Müller", "first": "Zoë"}, "102": {"last": "Mueller"}, "103": {"last": "Zoe"}}
    config = Directory.model_validate({"people": people})
    assert [number for number, _ in those("683", config)] == ["101", "102"]
    assert [number for number, _ in those("963", config)] == ["103", "101"]


def test_wrong_pins_lock() -> None:
    guard = Guard()
    for _ in range(TRIES):
        assert guard.open("1", 0.0)
        guard.wrong("1", 0.0)
    assert not guard.open("1", LOCKED)
    assert guard.open("2", 0.0)
    assert guard.open("1", LOCKED + 1)
    guard.wrong("1", LOCKED + 1)
    assert guard.open("1", LOCKED + 1)
    guard.right("1")
    assert guard.open("1", LOCKED + 1)
