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
    for _ in range(2):  # and for ever after: where the next message begins is not known
        with pytest.raises(MessageTooLarge):
            framer.feed(b"x\r\n\r\nEvent: Hangup\r\n\r\n")


def test_a_whole_message_that_is_too_long_is_refused() -> None:
    with pytest.raises(MessageTooLarge):
        Framer(max_message=1000).feed(b"Event: Hangup\r\nX: " + b"x" * 1000 + b"\r\n\r\n")


def test_a_long_message_in_single_bytes() -> None:
    """Each byte is looked at a fixed number of times: with the square of them, this would never end."""
    framer = Framer()
    message = b"Event: Hangup\r\nX: " + b"x\r\n" * 150_000
    assert [framer.feed(bytes([byte])) for byte in message].count([]) == len(message)
    (found,) = framer.feed(b"\r\n")
    assert len(found.raw) == len(message) - 2


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
    except ActionError:
        return
    (message,) = Framer().feed(data)
    assert message.items() == [("Action", "Ping"), (name, value)]


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


def test_an_action_that_asterisk_would_answer_twice_is_not_made() -> None:
    """Measured on Asterisk 22: a line of 1,023 bytes is refused, and the rest of it taken for an action of its own."""
    assert encode_action([("X", "y" * 1019)])
    with pytest.raises(ActionError, match="1023 bytes"):
        encode_action([("X", "y" * 1020)])


def test_text_that_has_no_bytes_is_refused() -> None:
    with pytest.raises(ActionError):
        encode_action([("Action", "Hangup"), ("Channel", "\ud800")])


def test_empty_lines_too_many_cost_no_message() -> None:
    found = Framer().feed(b"\r\nEvent: A\r\n\r\n\r\nEvent: B\r\n\r\n\r\n\r\n\r\nEvent: C\r\n\r\n")
    assert [message.event for message in found] == ["A", "B", "C"]


def test_an_event_is_no_answer() -> None:
    """UserEvent's headers are whatever a dialplan puts there."""
    assert Message(b"Event: UserEvent\r\nResponse: Success").response == ""
    assert Message(b"Response: Error\r\nMessage: no").response == "Error"
    assert Message(b"response: Error\r\nMessage: no").response == "Error"
