"""FastAGI's wire: any stream, cut anywhere; quoting as Asterisk reads it; limits."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxd.agi.wire import (
    MAX_ASIDES,
    MAX_COMMAND,
    Environment,
    Event,
    Hangup,
    Reply,
    Wire,
    encode,
    quote,
)
from pbxd.errors import AGIUnknownError, CommandError

ENVIRONMENT = b"agi_network: yes\nagi_network_script: lookup?x=1\nagi_callerid: 101\nagi_arg_1: a: b\n\n"
USAGE = (
    b"520-Invalid command syntax.  Proper usage follows:\nStream the file.\n200 result=1\n520 End of proper usage.\n"
)
REPLIES = {
    b"200 result=0\n": (200, "0", None),
    b"200 result=1 (a value)\n": (200, "1", "a value"),
    b"200 result=1 (two\r\nlines)\n": (200, "1", "two\r\nlines"),
    b"200 result=0 (timeout) endpos=1600\n": (200, "0", "timeout"),
    b"200 result=-1 endpos=0\n": (200, "-1", None),
    b"200 result= (timeout)\n": (200, "", "timeout"),
    b"510 Invalid or unknown command\n": (510, "", None),
    b"511 Command Not Permitted on a dead channel or intercept routine\n": (511, "", None),
    b"100 result=0 Trying...\n200 result=7\n": (200, "7", None),
    USAGE: (520, "", None),
}


def begun() -> Wire:
    """A wire whose environment has come."""
    wire = Wire()
    wire.receive(ENVIRONMENT)
    return wire


def ask(wire: Wire, data: bytes, mark: bytes | None = None) -> list[Event]:
    wire.asked(mark)
    return wire.receive(data)


def in_pieces(wire: Wire, data: bytes, cuts: list[int]) -> list[Event]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [event for a, b in pairwise(edges) for event in wire.receive(data[a:b])]


def read_back(line: bytes) -> list[str]:
    """`parse_args` of Asterisk's res_agi.c, as Python."""
    words: list[str] = []
    quoted = escaped = False
    between = True
    for char in line.decode("utf-8", "surrogateescape"):
        if char == '"' and not escaped:
            quoted = not quoted
            if quoted and between:
                words.append("")
                between = False
        elif char in " \t" and not quoted and not escaped:
            between = True
        elif char == "\\" and not escaped:
            escaped = True
            continue
        else:
            if between:
                words.append("")
                between = False
            words[-1] += char
        escaped = False
    return words


@given(st.lists(st.integers(0, 10_000), max_size=8))
def test_the_environment_cut_anywhere(cuts: list[int]) -> None:
    (found,) = in_pieces(Wire(), ENVIRONMENT, cuts)
    assert isinstance(found, Environment)
    assert found.raw == ENVIRONMENT
    assert found.values["network_script"] == "lookup?x=1"
    assert found.values["arg_1"] == "a: b"


@pytest.mark.parametrize("data", REPLIES)
@given(cuts=st.lists(st.integers(0, 10_000), max_size=5))
def test_each_reply_cut_anywhere(data: bytes, cuts: list[int]) -> None:
    wire = begun()
    wire.asked()
    (found,) = in_pieces(wire, data, cuts)
    assert isinstance(found, Reply)
    assert (found.code, found.result, found.value) == REPLIES[data]
    assert not wire.pending


def test_words_behind_the_value() -> None:
    (found,) = ask(begun(), b"200 result=35 (dtmf) endpos=8000\n")
    assert isinstance(found, Reply)
    assert found.word("endpos") == "8000"
    assert found.word("nothing") == ""


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")), st.lists(st.integers(0, 10_000), max_size=5))
def test_a_marked_value_is_exact(value: str, cuts: list[int]) -> None:
    """Whatever a caller wrote into it: line breaks, parentheses, the look of replies and of HANGUP."""
    wire, mark = begun(), b"6d61726b"
    wire.asked(mark)
    data = b"200 result=1 (" + value.encode() + mark + b")\nHANGUP\n"
    found, hangup = in_pieces(wire, data, cuts)
    assert isinstance(found, Reply)
    assert found.value == value
    assert hangup is Hangup.HANGUP


def test_a_value_that_looks_like_the_end_of_one() -> None:
    evil = b"200 result=1 (a)\n200 result=0\nHANGUP\nm4rk)\n"
    (found,) = ask(begun(), evil, b"m4rk")
    assert isinstance(found, Reply)
    assert found.value == "a)\n200 result=0\nHANGUP\n"


def test_hangup_before_and_after_an_answer() -> None:
    wire = begun()
    assert wire.receive(b"HANGUP\n") == [Hangup.HANGUP]
    wire.asked()
    assert wire.receive(b"HANGUP\n200 result=0\n")[0] is Hangup.HANGUP
    assert not wire.pending


def test_an_answer_to_nothing_is_told_as_such() -> None:
    (found,) = begun().receive(b"200 result=1\n")
    assert isinstance(found, Reply)
    assert found.stray


def test_two_commands_at_once_are_our_mistake() -> None:
    wire = begun()
    wire.asked()
    with pytest.raises(AGIUnknownError, match="no answer yet"):
        wire.asked()


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"\n\n", b"agi-x"])
def test_another_protocol_is_refused_at_once(data: bytes) -> None:
    wire = Wire()
    with pytest.raises(AGIUnknownError):
        wire.receive(data)
    with pytest.raises(AGIUnknownError, match="lost"):
        wire.receive(ENVIRONMENT)


def test_limits() -> None:
    with pytest.raises(AGIUnknownError, match="environment is longer"):
        Wire(max_environment=100).receive(b"agi_a: " + b"x" * 200)
    with pytest.raises(AGIUnknownError, match="environment is longer"):
        Wire(max_environment=100).receive(b"agi_a: " + b"x" * 200 + b"\n\n")
    for data in (b"200 result=1 (" + b"x" * 2000, b"520-usage\n" * 200, b"200 result=1 (\n" * 200):
        wire = Wire(max_reply=1000)
        wire.receive(ENVIRONMENT)
        with pytest.raises(AGIUnknownError, match="reply is longer"):
            ask(wire, data)
    with pytest.raises(AGIUnknownError, match="answer nothing"):
        begun().receive(b"HANGUP\n" * (MAX_ASIDES + 1))
    with pytest.raises(AGIUnknownError, match="answer nothing"):
        ask(begun(), b"100 Trying\n" * (MAX_ASIDES + 1))


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_garbage_raises_nothing_else(pieces: list[bytes]) -> None:
    wire = Wire(max_environment=200, max_reply=200)
    try:
        for piece in pieces:
            wire.receive(b"agi_" + piece)
            if not wire.pending:
                wire.asked()
    except AGIUnknownError:
        assert wire._rest == b""


WORD = st.text(st.characters(exclude_characters="\r\n\0", codec="utf-8"), max_size=60)


@given(st.lists(WORD, max_size=6))
def test_arguments_come_back_as_they_went(words: list[str]) -> None:
    line = encode("SET VARIABLE", *words)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert read_back(line[:-1]) == ["SET", "VARIABLE", *words]


@pytest.mark.parametrize("text", ["a\nHANGUP", "a\rb", "a\0b"])
def test_no_line_break_gets_through(text: str) -> None:
    with pytest.raises(CommandError):
        quote(text)
    with pytest.raises(CommandError):
        encode("EXEC " + text)
    with pytest.raises(CommandError):
        encode("EXEC NoOp", text)


def test_what_asterisk_would_cut_is_not_sent() -> None:
    fits = "x" * (MAX_COMMAND - len('VERBOSE ""'))
    assert len(encode("VERBOSE", fits)) == MAX_COMMAND + 1
    with pytest.raises(CommandError, match="Asterisk takes"):
        encode("VERBOSE", fits + "x")
    with pytest.raises(CommandError, match="arguments"):
        encode("VERBOSE", *["x"] * 200)
    with pytest.raises(CommandError, match="no text"):
        encode("VERBOSE", "\ud800")


def test_bytes_that_are_no_utf8_survive() -> None:
    (found,) = ask(begun(), b"200 result=1 (Zo\xeb)\n")
    assert isinstance(found, Reply)
    assert encode("VERBOSE", found.value or "") == b'VERBOSE "Zo\xeb"\n'
