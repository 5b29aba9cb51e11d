"""What the words of a session answer: how the box stands. Never a communication, a caller's number or a name of one."""

from __future__ import annotations

import json
import re
from collections import Counter
from fnmatch import fnmatchcase
from typing import Any

from pbxd.config.schema import Config
from pbxd.config.shown import shown
from pbxd.errors import SupportError

TOLD = {"version", "state", "asterisk", "peer", "last_error", "error", "path", "folder"}  # keys whose texts are shown
KEY = re.compile(r"[A-Za-z_]{1,40}")  # of our own; others may be a name, a number, an id
DIGITS = re.compile(r"\+?\d{5,}")  # in a text of ours: too much like an outside number to be shown


def status(found: dict[str, Any]) -> str:
    """The status: numbers, and texts of keys that are known to hold none of what may not be shown."""
    return json.dumps(_numbers(found), indent=2)


def _numbers(value: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, inner in value.items():
        if not KEY.fullmatch(str(name)):
            continue
        if isinstance(inner, dict):
            kept[name] = _numbers(inner)
        elif isinstance(inner, bool | int | float) or inner is None:
            kept[name] = inner
        elif isinstance(inner, str) and name in TOLD:
            kept[name] = masked(inner)
    return kept


def masked(text: str) -> str:
    """A text without what could be a number."""
    return DIGITS.sub("#####", text)


def doctor(findings: list[dict[str, str]]) -> str:
    """The doctor's findings, two lines each at most."""
    lines = []
    for finding in findings:
        lines.append(f"{finding['state']:8} {finding['check']:10} {masked(finding['detail'])}")
        if finding["state"] != "ok" and finding["remedy"]:
            lines.append(f"{'':19} -> {finding['remedy']}")
    return "\n".join(lines)


def live(found: dict[str, Any], trunks: tuple[str, ...]) -> str:
    """Counts: calls by state, each queue, endpoints by state; a trunk by its name."""
    calls = Counter(str(call["state"]) for call in found["calls"])
    lines = [f"calls {sum(calls.values())}" + "".join(f", {state} {count}" for state, count in sorted(calls.items()))]
    lines += [
        f"queue {queue['name']}: {queue['waiting']} waiting, {queue['members']} members" for queue in found["queues"]
    ]
    states: Counter[str] = Counter()
    for name, state in sorted(found["endpoints"].items()):
        if any(fnmatchcase(name, trunk) for trunk in trunks):
            lines.append(f"trunk {name}: {state}")
        else:
            states[str(state)] += 1
    lines += [f"other endpoints, {state}: {count}" for state, count in sorted(states.items())]
    return "\n".join(lines)


def config(now: Config, prefix: str) -> str:
    """The configuration in force, a key a line. SupportError if there is no such key, or it is not shown."""
    found = shown(now, prefix)
    if not found:
        raise SupportError(f"{prefix}: there is no such key, or it holds secrets or people and is not shown")
    return "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in found.items())
