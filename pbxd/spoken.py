"""The words that a module's code itself says, apart from what it was told: a text without any others tells nothing of anybody."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType

AROUND = "`'\"()[]{},.:;?!"  # beside a word


def words_of(module: ModuleType) -> frozenset[str]:
    """Every word in the texts of a module's functions."""
    functions = [one for one in vars(module).values() if isinstance(one, FunctionType)]
    texts = (text for one in functions if one.__module__ == module.__name__ for text in _texts(one.__code__))
    return frozenset(token.strip(AROUND) for text in texts for token in text.split())


def _texts(code: CodeType) -> Iterator[str]:
    for one in code.co_consts:
        if isinstance(one, str):
            yield one
        elif isinstance(one, CodeType):
            yield from _texts(one)
