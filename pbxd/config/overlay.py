"""Changes of the configuration that somebody else proposed and the customer accepted: a file of their own, read last.

docs/decisions/0007-accepted-changes-are-a-file-of-their-own.md says why they are not written into pbxd.yaml.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from pbxd.config.schema import Config, changed, value_of
from pbxd.errors import ConfigError

# Nobody but the customer says who may see communications, where they are, who controls the box, or what the vendor may do.
OWN = (
    "people",
    "comms",
    "control",
    "uplink",
    "ami.secret",
    "reports.mail.password",
    "agi.agents",
    "agi.scripts",
    "agi.users",
    "agi.peers",
)
FOLDED = 400  # characters of a value in a difference


@dataclass(frozen=True, slots=True)
class Change:
    """One key, and the value that it is to have."""

    path: str  # a.b.c
    value: Any


def refused(path: str) -> bool:
    """Whether a key is the customer's own, and not to be proposed."""
    return any(path == own or path.startswith((f"{own}.", f"{own}_")) for own in OWN)


def tree_of(changes: Iterable[Change]) -> dict[str, Any]:
    """The changes as a tree of keys; a later one of the same key wins. ConfigError if one is the customer's own."""
    tree: dict[str, Any] = {}
    for change in changes:
        if refused(change.path):
            raise ConfigError([f"{change.path} is for the customer alone to set: it cannot be proposed"])
        *groups, last = change.path.split(".")
        at = tree
        for name in groups:
            inner = at.setdefault(name, {})
            if not isinstance(inner, dict):
                inner = at[name] = {}
            at = inner
        at[last] = change.value
    return tree


def own_keys(tree: Any, prefix: str = "") -> list[str]:  # noqa: ANN401 - plain values
    """Keys in such a tree that are the customer's own."""
    found: list[str] = []
    if isinstance(tree, dict):
        for name, value in tree.items():
            path = f"{prefix}{name}"
            found += [path] if refused(path) else own_keys(value, f"{path}.")
    return found


def file_of(entries: Iterable[tuple[str, list[Change]]]) -> str:
    """The file that holds accepted changes: a comment for each, then the keys. Entries: a title and its changes, oldest first."""
    entries = list(entries)
    lines = [
        "# Written by pbxd: changes that were proposed and that you accepted. Read after all other files.",
        "# Take one back: pbxctl uplink proposal undo ID",
        *(f"# {printable(title)}" for title, _ in entries),
    ]
    tree = tree_of(change for _, changes in entries for change in changes)
    return "\n".join(lines) + "\n" + (yaml.safe_dump(tree, sort_keys=False, allow_unicode=True) if tree else "")


def printable(text: str) -> str:
    """What somebody else wrote, as a part of one line: YAML and terminals know more ends of lines than the line feed."""
    return "".join(one if one.isprintable() else "?" for one in text)


def parse_value(text: str) -> Any:  # noqa: ANN401 - whatever was written
    """A value as it would stand in the file. ConfigError if it cannot."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError([f"{text[:60]!r} is no value as in pbxd.yaml: {str(error).splitlines()[0]}"]) from error


def difference(before: Config, after: Config, *, hidden: frozenset[str] = frozenset()) -> list[str]:
    """What differs, for a person to read: two lines a key, and which keys wait for the next start."""
    now, later = changed(before, after)
    lines: list[str] = []
    for key in sorted([*now, *later]):
        if key in hidden:
            lines.append(f"  {key}: changed; it holds secrets or people, and is not shown")
            continue
        lines += [f"- {key}: {_shown(before, key)}", f"+ {key}: {_shown(after, key)}"]
        if key in later:
            lines.append("  (at the next start)")
    return lines


def _shown(config: Config, key: str) -> str:
    value = value_of(config, key)
    text = printable(json.dumps(value, ensure_ascii=False, default=_plain))
    return text if len(text) <= FOLDED else text[: FOLDED - 1] + "…"


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever JSON does not know
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else str(value)  # a SecretStr is stars
