"""Telephone numbers as callers show them, in one form: `+4930123456`. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

ANONYMOUS = "anonymous"
T = TypeVar("T")


def normal(number: str, country: str, trunk_prefix: str = "0", international_prefix: str = "00") -> str:
    """A number with its country code, where that can be told; `anonymous` for a withheld one. Short and internal numbers stay.

    `country` is the site's own code, `+49`, or empty: then only the marks in a number are taken out.
    """
    digits = "".join(char for char in number if char.isascii() and (char.isdecimal() or char in "+*#"))
    if not digits:
        return ANONYMOUS
    if digits.startswith("+") or not country:
        return digits
    if international_prefix and digits.startswith(international_prefix):
        return "+" + digits[len(international_prefix) :]
    if trunk_prefix and digits.startswith(trunk_prefix):
        return country + digits[len(trunk_prefix) :]
    return digits


def _patterns(number: str) -> list[str]:
    """What may stand for a number in a book, most exact first: itself, then each beginning of it with a `*`."""
    return [number, *(f"{number[:length]}*" for length in range(len(number), -1, -1))]


def listed(number: str, patterns: Collection[str]) -> bool:
    """Whether a number, or the beginning of it, is in a list."""
    if number == ANONYMOUS:
        return ANONYMOUS in patterns
    return any(pattern in patterns for pattern in _patterns(number))


def found(number: str, book: Mapping[str, T]) -> T | None:
    """The entry of a number in a book: its own, or that of the longest beginning."""
    if number == ANONYMOUS:
        return book.get(ANONYMOUS)
    return next((book[pattern] for pattern in _patterns(number) if pattern in book), None)
