"""Names on a telephone's keys. No I/O."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

LETTERS = {"2": "abc", "3": "def", "4": "ghi", "5": "jkl", "6": "mno", "7": "pqrs", "8": "tuv", "9": "wxyz"}
KEY_OF = {letter: key for key, letters in LETTERS.items() for letter in letters} | {str(n): str(n) for n in range(10)}
WHOLE = {
    "ß": "ss",
    "æ": "ae",
    "œ": "oe",
    "ø": "o",
    "ł": "l",
    "đ": "d",
    "þ": "th",
}  # letters that have no accent to lose
GERMAN = {"ä": "ae", "ö": "oe", "ü": "ue"}


def keyed(name: str, also: Mapping[str, str] | None = None) -> str:
    """The keys of a name, accents and everything that is no letter left out: Müller is 685537, and 6835537 with `also` GERMAN."""
    text = unicodedata.normalize("NFC", name).lower()
    for letter, letters in (WHOLE | dict(also or {})).items():
        text = text.replace(letter, letters)
    return "".join(KEY_OF.get(char, "") for char in unicodedata.normalize("NFD", text))


def matches(keys: str, name: str) -> bool:
    """Whether a name begins with these keys, its umlauts keyed either way."""
    return bool(keys) and (keyed(name).startswith(keys) or keyed(name, GERMAN).startswith(keys))
