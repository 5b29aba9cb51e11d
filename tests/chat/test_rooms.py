"""Who writes to whom, as a table; what a configuration of rooms may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbxd.chat.rooms import Addresses, Plan
from pbxd.config.load import load
from pbxd.errors import ChatRefused, ConfigError
from tests.chat.office import PLAN, person
from tests.comms.conftest import PEOPLE

ADDRESSES = Addresses(PEOPLE, PLAN)


@pytest.mark.parametrize(
    ("who", "to", "room", "members"),
    [
        ("anna", "sales", "sales", "anna bert carl sue"),
        ("anna", "701", "sales", "anna bert carl sue"),
        ("bert", "board", "board", "ada anna"),  # an auditor is in no room; that bert is not decides the service
        ("anna", "102", "anna+bert", "anna bert"),
        ("bert", "anna", "anna+bert", "anna bert"),
        ("anna", " bert ", "anna+bert", "anna bert"),
        ("carl", "anna+bert", "anna+bert", "anna bert"),
        ("root", "carl", "carl+root", "carl root"),
        ("carl", "root", "carl+root", "carl root"),
    ],
)
def test_where_a_message_goes(who: str, to: str, room: str, members: str) -> None:
    found = ADDRESSES.target(person(who), to)
    assert (found.name, " ".join(sorted(found.members))) == (room, members)
    assert found.kind == ("direct" if "+" in room else "group")


@pytest.mark.parametrize(
    "to", ["", "nobody", "999", "otto", "130", "anna", "bert+anna", "anna+", "anna+bert+carl", "+"]
)
def test_where_none_goes(to: str) -> None:
    with pytest.raises(ChatRefused):
        ADDRESSES.target(person("anna"), to)


def test_phones() -> None:
    owner = ADDRESSES.owner_of("reception")
    assert owner is not None
    assert owner.name == "bert"
    assert ADDRESSES.owner_of("999") is None
    assert ADDRESSES.phones_of("anna") == ("101",)
    assert ADDRESSES.phones_of("bert") == ("reception",)
    assert ADDRESSES.phones_of("carl") == ()  # chat.mute
    assert ADDRESSES.phones_of("otto") == ()
    assert ADDRESSES.phones_of("root") == ()
    assert Addresses(PEOPLE, Plan(phoning=False)).phones_of("anna") == ()


def test_what_a_phone_answers_to() -> None:
    assert ADDRESSES.reply_address("sales", "anna") == "701"
    assert ADDRESSES.reply_address("board", "anna") == "board"
    assert ADDRESSES.reply_address("anna+bert", "bert") == "102"
    assert ADDRESSES.reply_address("carl+root", "root") == "root"


@pytest.mark.parametrize(
    ("rooms", "why"),
    [
        ("{sales: {members: [zoe]}}", "whom `people` does not name"),
        ("{anna: {}}", "has the name of a person"),
        ("{root: {}}", "has the name of a person"),
        ("{sales: {number: 101}}", "which is the extension of anna"),
        ("{sales: {number: 701}, board: {number: '701'}}", "which is the room sales"),
        ("{sales: {number: board}, board: {}}", "which is the room sales"),
        ("{anna+bert: {}}", "chat.rooms"),
        ("{Sales: {}}", "chat.rooms"),
    ],
)
def test_rooms_that_cannot_be(rooms: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "pbxd.yaml"
    path.write_text(f"people:\n  - {{name: anna, extensions: [101]}}\nchat:\n  rooms: {rooms}\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert why in str(caught.value)
    assert f"{path}:" in str(caught.value)
