"""Who may do what: the table of docs/access.md, cell by cell, is what `may` says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from pbxd.comms.people import ROOT, SYSTEM, Action, Kind, Person, Thing, may
from pbxd.config.people import PersonEntry, check_people
from tests.comms.conftest import PEOPLE

PAGE = Path(__file__).parent.parent.parent / "docs" / "access.md"
WHO = {
    "own": "anna",
    "supervisor": "sue",
    "admin": "ada",
    "auditor": "otto",
    "root": "",
    "somebody else": "carl",
}
THINGS: dict[str, Thing] = {
    "recording": Thing("recording", "r", frozenset({"anna"}), frozenset({"sales"})),
    "voicemail": Thing("voicemail", "v", frozenset({"anna"}), frozenset({"sales"})),
    "team's mailbox": Thing("voicemail", "v", frozenset(), frozenset({"sales", "support"})),
    "chat": Thing("chat", "c", frozenset({"anna"}), frozenset({"sales"})),
    "person": Thing("person", "anna", frozenset({"anna"})),
    "audit log": Thing("audit"),
    "vault": Thing("vault"),
}


def person(name: str) -> Person:
    found = PEOPLE.by_name(name) if name else ROOT
    assert found is not None
    return found


def table() -> list[tuple[str, str, set[str]]]:
    """(thing, who, what they may) of each cell of the page's table."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    head = [cell.strip() for cell in lines[0].strip("|").split("|")]
    cells = []
    for line in lines[2:]:
        row = [cell.strip() for cell in line.strip("|").split("|")]
        if row[0] in THINGS:
            cells += [
                (row[0], who, set(re.findall(r"[a-z]+", cell))) for who, cell in zip(head[1:], row[1:], strict=True)
            ]
    return cells


def test_the_page_has_every_cell() -> None:
    assert {(thing, who) for thing, who, _ in table()} == {(thing, who) for thing in THINGS for who in WHO}


@pytest.mark.parametrize(("thing", "who", "allowed"), table())
def test_P10_access_is_as_the_page_says(thing: str, who: str, allowed: set[str]) -> None:
    everything = set(get_args(Action))
    expected = everything if allowed == {"everything"} else allowed
    asked = person(WHO[who])
    found = {action for action in get_args(Action) if may(asked, action, THINGS[thing]).allowed}
    assert found == expected


def test_nobody_may_nothing() -> None:
    for kind in get_args(Kind):
        for action in get_args(Action):
            thing = Thing(kind, "x", frozenset({"mallory"}), frozenset({"sales"}))
            decision = may(PEOPLE.by_login("mallory"), action, thing)
            assert not decision.allowed
            assert "mallory" in decision.reason


def test_pbxd_itself_only_deletes() -> None:
    for kind in get_args(Kind):
        allowed = {action for action in get_args(Action) if may(SYSTEM, action, Thing(kind)).allowed}
        assert allowed <= {"delete", "see"}


def test_owners_and_teams() -> None:
    assert PEOPLE.owners(["101", "+49301234"]) == (frozenset({"anna"}), frozenset({"sales"}))
    assert PEOPLE.owners(["101", "103"]) == (frozenset({"anna", "carl"}), frozenset({"sales", "support"}))
    assert PEOPLE.owners(mailbox="101") == (frozenset({"anna"}), frozenset({"sales"}))
    assert PEOPLE.owners(mailbox="300") == (frozenset(), frozenset({"sales", "support"}))
    assert PEOPLE.owners(mailbox="") == (frozenset(), frozenset())
    assert PEOPLE.by_login("root") is ROOT
    assert PEOPLE.by_login("") != PEOPLE.by_name("carl")  # who has no login is nobody's login


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([PersonEntry(name="a"), PersonEntry(name="a")], "two people have the name a"),
        ([PersonEntry(name="a", login="x"), PersonEntry(name="b", login="x")], "two people have the login x"),
        ([PersonEntry(name="root")], "root is there already"),
        ([PersonEntry(name="a", login="root")], "root is there already"),
        ([PersonEntry(name="a", extensions=("1",)), PersonEntry(name="b", extensions=("1",))], "the extension 1"),
        ([PersonEntry(name="a", supervises=("x",))], "has not the role supervisor"),
    ],
)
def test_people_who_cannot_be(entries: list[PersonEntry], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_people(tuple(entries))
