"""The terminal of somebody who looks on shows, and does not act, however what it is given was cut into pieces."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxd.uplink.support.terminal import AFTER, LONGEST, SHOWS, Harmless

PARTS = [
    "a", "é", "\r\n", "\t", "\b", "\x1b", "[", "]", "P", "^", "_", "X", "52;c;QUJD", "\x07", "\x1b\\", "\x9c", "\x9b", "\x9d",
    "\x90",    "6n", "c", "31m", "2J", "?25h", "?1004h", "21t", ">q", "?6c", "\x18", "\x1a", "(0", "7", "8", "#8", "\x05",
    "\u202e", "\ud800", "5i", ";", "1",
]  # fmt: skip
STREAMS = st.one_of(
    st.lists(st.sampled_from(PARTS), max_size=40).map("".join),
    st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")),
)
ALLOWED = re.compile(f"\x1b\\[(?:{SHOWS.pattern})|\x1b[78]|[\r\n\t\b]")


def shown(*pieces: str) -> str:
    screen = Harmless()
    return "".join(screen.feed(piece) for piece in pieces)


@given(STREAMS, st.lists(st.integers(0, 200)))
def test_any_cut_shows_the_same_and_nothing_that_is_not_on_the_list(text: str, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    found = shown(*(text[begin:end] for begin, end in pairwise(places)))
    assert found == shown(*text) == shown(text)
    rest = ALLOWED.sub("", found)
    assert not [one for one in rest if unicodedata.category(one) in ("Cc", "Cf", "Cs")], found
    found.encode()
    assert shown(found) == found


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        (("\x1b[31mred\x1b[0m\r\n",), "\x1b[31mred\x1b[0m\r\n"),
        (("\x1b", "]52;c;QUJD\x07", "x"), "x"),
        (("a\x1b]52;c;AAAA\x07b\x1b]0;title\x1b\\c\x1b[6nd\x1b[ce\x1bPq#0\x1b\\f\x1b[?6cg",), "abcdefg"),
        (
            (
                "\x1b[",
                "2",
                "J\x1b[10;5Hx\x1b[?25l",
            ),
            "\x1b[2J\x1b[10;5Hx\x1b[?25l",
        ),
        (("\x1b]0;never ended", " still\nno end"), ""),
        (("\x1b]0;x\x1b[31mred",), "\x1b[31mred"),
        (("\x9d52;c;AAAA\x9cx\x9b6ny",), "xy"),
        (("\x1b#8\x1b(0\x1bcx\x1b[!p\x1b[5i\x1b[?1049h\x1b[1;2;3;4;5T\x1b[9999999b",), "x"),
        (("\x1b[" + "1" * LONGEST + "mx",), "x"),
        (("\x1b\nx\x1b[1\x1b[2Ky",), "\nx\x1b[2Ky"),
    ],
)
def test_what_is_shown(pieces: tuple[str, ...], wanted: str) -> None:
    assert shown(*pieces) == wanted


def test_what_was_left_switched_is_switched_back() -> None:
    assert shown(AFTER) == AFTER
