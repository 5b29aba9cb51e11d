"""AMI's wire: any stream in any pieces, nothing injected, nothing lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxd.asterisk.wire import Framer, Message, encode_action, event_name
from pbxd.errors import ActionError, MessageTooLarge, WireError

STREAM = (
    b"Event: Newchannel\r\nChannel: PJSIP/1\r\nUniqueid: 1.1\r\n\r\n"
    b"Response: Success\r\nActionID: 7\r\nOutput: one\r\nOutput: two\r\n\r\n"
    b"Event: Hangup\r\nChannel: Zo\xc3\xab\xff\r\nEmpty:\r\nCause: 16\r\n\r\n"
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_split_gives_the_same_messages(places: list[int]) -> None:
    framer = Framer()
    cuts = [0, *sorted(places), len(STREAM)]
    found = [message.raw for a, b in pairwise(cuts) for message in framer.feed(STREAM[a:b])]
    assert found == [message.raw for message in Framer().feed(STREAM)]
    assert len(found) == 3


def test_one_byte_at_a_time() -> None:
    framer = Framer()
    assert sum(len(framer.feed(bytes([byte]))) for byte in STREAM) == 3


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_any_bytes_raise_nothing_but_a_wire_error(chunks: list[bytes]) -> None:
    framer = Framer(max_message=500)
    try:
        for chunk in chunks:
            for message in framer.feed(chunk):
                message.items()
                message.get("Event")
                message.all("Variable")
                assert isinstance(message.event + message.response + message.action_id, str)
    except WireError:
        pass


def test_a_long_line_is_refused_before_it_fills_the_memory() -> None:
    framer = Framer(max_message=1000)
    for _ in range(10):
        framer.feed(b"x" * 100)
    with pytest.raises(MessageTooLarge):
        framer.feed(b"x")


def test_headers() -> None:
    _, answer, hangup = Framer().feed(STREAM)
    assert (answer.event, answer.response, answer.action_id) == ("", "Success", "7")
    assert answer.all("output") == ["one", "two"]
    assert (hangup.event, hangup.get("cause"), hangup.get("Empty", "-"), hangup.get("None", "-")) == (
        "Hangup",
        "16",
        "",
        "-",
    )


def test_bytes_that_are_not_utf8_survive() -> None:
    name = Framer().feed(STREAM)[2].get("Channel")
    assert name.startswith("Zoë")
    assert name.encode("utf-8", "surrogateescape") == b"Zo\xc3\xab\xff"
    assert b"Channel: Zo\xc3\xab\xff\r\n" in encode_action([("Action", "Hangup"), ("Channel", name)])


@given(st.text(), st.text())
def test_an_action_is_one_message_or_refused(name: str, value: str) -> None:
    try:
        data = encode_action([("Action", "Ping"), (name, value)])
    except (ActionError, UnicodeEncodeError):
        return
    (message,) = Framer().feed(data)
    assert message.items()[0] == ("Action", "Ping")
    assert len(message.items()) == 2


@pytest.mark.parametrize("bad", ["1\r\nAction: Originate", "1\nx: y", "a\0b"])
def test_nothing_can_be_injected(bad: str) -> None:
    with pytest.raises(ActionError):
        encode_action([("Action", "Hangup"), ("Channel", bad)])
    with pytest.raises(ActionError):
        encode_action([(bad, "x")])


def test_the_first_action_id_counts() -> None:
    assert Message(b"Event: UserEvent\r\nActionID: 1\r\nActionID: 2").action_id == "1"


def test_event_names() -> None:
    assert event_name(b"Event: Hangup\r\nCause: 16") == b"Hangup"
    assert event_name(b"Event: Alone") == b"Alone"
    assert event_name(b"Response: Success\r\nEvent: x") == b""
