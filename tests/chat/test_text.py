"""What a message may be, how it is cut for a display, who a SIP header names."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbxd.chat.text import MOST_PARTS, cleaned, folded, parts, sender_of, words_of
from pbxd.errors import ChatRefused


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (" hello \n", "hello"),
        ("a\r\nb\rc\td", "a\nb\nc\td"),
        ("bell\a null\0 escape\x1b[31m \x85c1", "bell null escape[31m c1"),
        (b"Z\xff\xfe no UTF-8 \xc3".decode("utf-8", "surrogateescape"), "Z\ufffd\ufffd no UTF-8 \ufffd"),
        ("lone \ud800 of JSON", "lone \ufffd of JSON"),
        ("ü ✓ 😀", "ü ✓ 😀"),
    ],
)
def test_texts_that_are_taken(raw: str, text: str) -> None:
    assert cleaned(raw, 100) == text


@pytest.mark.parametrize(
    ("raw", "why"), [("", "empty"), (" \r\n\t", "empty"), ("\0\x1b", "empty"), ("ü" * 51, "102 bytes")]
)
def test_texts_that_are_not(raw: str, why: str) -> None:
    with pytest.raises(ChatRefused, match=why):
        cleaned(raw, 100)


@settings(deadline=None)
@given(st.text())
def test_what_is_taken_is_text_without_control_characters(raw: str) -> None:
    try:
        text = cleaned(raw, 10_000)
    except ChatRefused:
        return
    assert text == text.strip()
    assert text.encode().decode() == text
    assert not [char for char in text if ord(char) < 32 and char not in "\n\t"]


@settings(deadline=None)
@given(st.text(min_size=1, max_size=2000, alphabet=st.sampled_from("ab ü😀\n")), st.integers(40, 200))
def test_parts_fit_and_lose_only_spaces(text: str, size: int) -> None:
    made = parts(text, size)
    assert all(len(part.encode()) <= size for part in made)
    if len(made) == 1:
        assert made == [text]
    elif len(made) < MOST_PARTS:
        whole = "".join(part.rpartition(" (")[0] for part in made)
        assert "".join(whole.split()) == "".join(text.split())


def test_a_book_is_cut_and_says_so() -> None:
    made = parts("word " * 10_000)
    assert len(made) == MOST_PARTS
    assert made[-1].endswith(f" … ({MOST_PARTS}/{MOST_PARTS})")
    assert made[0].endswith(f"word (1/{MOST_PARTS})")


@pytest.mark.parametrize(
    ("header", "user"),
    [
        ('"Phone 101" <sip:101@10.0.0.1>', "101"),
        ("sip:101@10.0.0.1", "101"),
        ("<sips:reception@pbx:5061;transport=tls>;tag=x", "reception"),
        ('"a <sip:102@evil> b" <sip:101;phone-context=x@pbx>', "101"),
        ("<sip:10.0.0.1>", ""),
        ("<tel:101@x>", ""),
        ("", ""),
        ("101", ""),
    ],
)
def test_who_a_header_names(header: str, user: str) -> None:
    assert sender_of(header) == user


def test_a_search_sees_neither_case_nor_accents() -> None:
    assert folded("Zoë GROẞ") == "zoe gross"
    assert words_of("  Grüße an  ") == ["grusse", "an"]
    with pytest.raises(ChatRefused):
        words_of(" ")
