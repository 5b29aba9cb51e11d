"""What the words of a session answer: how the box stands. Never a communication, a caller's number, a name or an address of one.

All is by lists of what may be shown: keys, forms of texts, and words that the code itself has.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from pbxd.config.overlay import Change
from pbxd.config.schema import Config
from pbxd.config.shown import ELIDED, shown
from pbxd.errors import SupportError
from pbxd.spoken import AROUND
from pbxd.uplink.bodies import OTHER, is_queue, is_trunk

KEY = re.compile(r"[A-Za-z_]{1,40}")
GROUPS = frozenset(  # whose keys are the code's own
    {
        "ami", "live", "journal", "reports", "recording", "recordings", "comms", "chat", "agi", "voicemail", "support", "uplink",
        "voice", "store", "disk", "outcomes", "upkeep", "notices", "link", "checkpoints",
    }
)  # fmt: skip
WORD = re.compile("[a-z][a-z-]{0,19}")
TOLD: Mapping[str, re.Pattern[str]] = {  # keys whose texts are shown, and their form
    "state": WORD, "scope": WORD, "version": re.compile(r"[0-9][0-9A-Za-z.~+-]{0,40}"),
    "asterisk": re.compile(r"[0-9][0-9A-Za-z.~+-]{0,40}"),
}  # fmt: skip
FAULTS = frozenset(
    {"last_error", "error", "phone_error", "disputed", "alarm", "unlogged"}
)  # that there is one is shown
NUMBER = re.compile(r"-?[0-9]{1,2}|-?[0-9]{1,4}[.][0-9]{1,3}([.][0-9]{1,3})?")  # short, so that it is no extension


def status(found: dict[str, Any]) -> str:
    """The status: numbers, and texts of keys that are known to hold none of what may not be shown."""
    return json.dumps(_numbers(found), indent=2, ensure_ascii=False)


def _numbers(value: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, inner in value.items():
        if not KEY.fullmatch(str(name)):
            continue
        if isinstance(inner, dict):
            if name in GROUPS:
                kept[name] = _numbers(inner)
        elif isinstance(inner, bool | int | float) or inner is None:
            kept[name] = inner
        elif isinstance(inner, str) and name in TOLD:
            kept[name] = inner if not inner or TOLD[name].fullmatch(inner) else ELIDED
        elif isinstance(inner, str) and name in FAULTS:
            kept[name] = ELIDED if inner else ""
    return kept


def doctor(findings: list[dict[str, str]], words: Collection[str]) -> str:
    """The doctor's findings in its own `words`, two lines each at most."""
    lines = []
    for finding in findings:
        lines.append(f"{finding['state']:8} {finding['check']:10} {own_words(finding['detail'], words)}")
        if finding["state"] != "ok" and finding["remedy"]:
            lines.append(f"{'':19} -> {own_words(finding['remedy'], words)}")
    return "\n".join(lines)


def own_words(text: str, words: Collection[str]) -> str:
    """A text with nothing but these words and short numbers: what names, paths and the errors of others say is left out."""
    told: list[str] = []
    for token in text.split():
        word = token.strip(AROUND)
        shown_as = token if not word or word in words or NUMBER.fullmatch(word) else ELIDED
        if shown_as != ELIDED or told[-1:] != [ELIDED]:
            told.append(shown_as)
    return " ".join(told)


def live(found: dict[str, Any], trunks: tuple[str, ...]) -> str:
    """Counts: calls by state, each queue, endpoints by state; a queue or a trunk by its name, if that has the form of one."""
    calls = Counter(str(call["state"]) for call in found["calls"])
    lines = [f"calls {sum(calls.values())}" + "".join(f", {state} {count}" for state, count in sorted(calls.items()))]
    lines += [
        f"queue {queue['name'] if is_queue(queue['name']) else OTHER}: {queue['waiting']} waiting, {queue['members']} members"
        for queue in found["queues"]
    ]
    states: Counter[str] = Counter()
    for name, state in sorted(found["endpoints"].items()):
        if any(fnmatchcase(name, trunk) for trunk in trunks):
            lines.append(f"trunk {name if is_trunk(name) else OTHER}: {state}")
        else:
            states[str(state)] += 1
    lines += [f"other endpoints, {state}: {count}" for state, count in sorted(states.items())]
    return "\n".join(lines)


def config(now: Config, prefix: str) -> str:
    """The configuration in force, a key a line. SupportError if there is no such key."""
    found = shown(now, prefix)
    if not found:
        raise SupportError(f"{prefix}: there is no such key")
    text = "\n".join(_line("", key, value) for key, value in found.items())
    return f"{text}\n{ELIDED} is what is not shown" if ELIDED in text else text


def change(now: Config, wanted: Iterable[Change]) -> str:
    """What a proposal would change, as far as it may be seen: what is in force, and what was proposed."""
    found = shown(now)
    lines = []
    for one in wanted:
        lines += [_line("- ", key, value) for key, value in found.items() if f"{one.path}.".startswith(f"{key}.")]
        lines.append(_line("+ ", one.path, one.value))
    return "\n".join(lines)


def _line(mark: str, key: str, value: Any) -> str:  # noqa: ANN401 - JSON
    return f"{mark}{key}: {json.dumps(value, ensure_ascii=False)}"
