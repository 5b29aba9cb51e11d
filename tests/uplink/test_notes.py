"""Signed notes: C2SP's own example, and no changed byte goes through."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxd.errors import NoteError
from pbxd.uplink.merkle import EMPTY
from pbxd.uplink.notes import Checkpoint, Signer, Verifier, opened

SIGNER = Signer("pbxd-ledger", bytes(range(32)))
OTHER = Signer("pbxd-ledger", bytes(32))
NOTE = SIGNER.sign(Checkpoint("pbxd ledger 0123456789abcdef", 0, EMPTY).text)

# From golang.org/x/mod/sumdb/note, whose format C2SP's signed-note is.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = """If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""


def test_the_example_of_the_format_s_origin() -> None:
    assert opened(GO_NOTE, [Verifier.of(GO_KEY)]).startswith("If you think")
    assert Verifier.of(GO_KEY).text == GO_KEY


def test_there_and_back() -> None:
    found = Checkpoint.of(opened(NOTE, [SIGNER.verifier]))
    assert found == Checkpoint("pbxd ledger 0123456789abcdef", 0, EMPTY)
    assert Verifier.of(SIGNER.verifier.text) == SIGNER.verifier
    assert re.fullmatch("[0-9a-f]{64}", SIGNER.verifier.fingerprint)


def test_a_second_signature_of_a_stranger_says_nothing() -> None:
    stranger = Signer("witness", bytes(32)).sign(opened(NOTE, [SIGNER.verifier])).splitlines()[-1]
    assert opened(NOTE + stranger + "\n", [SIGNER.verifier])
    with pytest.raises(NoteError, match="no key that is known"):
        opened(NOTE, [OTHER.verifier])
    with pytest.raises(NoteError, match="no key that is known"):
        opened(NOTE, [])


@given(st.integers(0, len(NOTE.encode()) - 1), st.integers(1, 255))
def test_no_flipped_byte_goes_through(place: int, bits: int) -> None:
    forged = bytearray(NOTE.encode())
    forged[place] ^= bits
    with pytest.raises(NoteError):
        opened(bytes(forged), [SIGNER.verifier])


@pytest.mark.parametrize("text", ["no line feed", "tab\t\n", "\x1b[2J\n"])
def test_such_text_is_not_signed(text: str) -> None:
    with pytest.raises(NoteError):
        SIGNER.sign(text)


@pytest.mark.parametrize(
    "text",
    ["o\n1\n", "o\n-1\nAAAA\n", "o\n01\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", "o\n1\nAAAA\n", "\n1\nx\n"],
)
def test_no_other_checkpoint(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.of(text)


@pytest.mark.parametrize(
    "text",
    ["", "a+b", SIGNER.verifier.text[:-4], SIGNER.verifier.text.replace("pbxd", "pbxe"), "a b" + SIGNER.verifier.text],
)
def test_no_other_verifier_key(text: str) -> None:
    with pytest.raises(NoteError):
        Verifier.of(text)


def test_a_private_key_is_not_shown() -> None:
    assert "\\x" not in repr(SIGNER)
