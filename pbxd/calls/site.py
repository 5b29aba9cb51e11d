"""What the site's own configuration says of an endpoint: is it a trunk, and which extension is it?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

DIAL_CLASSES = {"X": "[0-9]", "Z": "[1-9]", "N": "[2-9]", ".": ".+", "!": ".*"}


def dial_pattern(pattern: str) -> re.Pattern[str]:
    """An Asterisk dial pattern (without its underscore) as a regular expression: X Z N [..] . and ! as in extensions.conf."""
    parts = re.findall(r"\[[^\]]*\]|.", pattern)
    return re.compile("".join(p if p.startswith("[") else DIAL_CLASSES.get(p, re.escape(p)) for p in parts))


class Site:
    """Trunks, phones and extensions of one box; answers are remembered, for there are few endpoints and many calls."""

    def __init__(
        self,
        trunks: Iterable[str] = (),
        extensions: Iterable[str] = (),
        phones: Mapping[str, str] | None = None,
    ) -> None:
        self._trunks = tuple(trunks)
        self._extensions = tuple(dial_pattern(pattern) for pattern in extensions)
        self._phones = dict(phones or {})
        self._known: dict[str, bool] = {}

    def is_trunk(self, endpoint: str) -> bool:
        """Whether `TECH/name` leads outside."""
        known = self._known.get(endpoint)
        if known is None:
            if len(self._known) > 10_000:  # a scanner that makes up endpoint names must not fill the memory
                self._known.clear()
            known = self._known[endpoint] = any(fnmatchcase(endpoint, trunk) for trunk in self._trunks)
        return known

    def is_extension(self, number: str) -> bool:
        """Whether `number` is one of the site's own."""
        return any(pattern.fullmatch(number) for pattern in self._extensions)

    def number_of(self, endpoint: str, caller_id: str) -> str:
        """The extension of a phone: as configured, or its endpoint's name if that is one, or its caller id."""
        name = endpoint.partition("/")[2]
        if name in self._phones:
            return self._phones[name]
        if self.is_extension(name):
            return name
        return caller_id or name
