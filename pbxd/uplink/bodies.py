"""The form of each class of upload: every field, and every value that may stand in it. Both ends read it here. Without I/O.

There are numbers, yes and no, times, and words from closed lists. The few names are those of the box's own parts (queues, trunks,
its extensions, the site), in a form too narrow for a person's number. Anything else is refused: never dropped, never cut.

    config   how the box is set up: values that are numbers or words of the schema; of lists and maps how long they are
    stats    one quarter of an hour: rows of pbxd.stats.layout for the whole box, its queues, trunks and extensions
    health   how the box is: load, memory, disks, temperatures, Asterisk, trunks, versions, and coarse counts of use
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pbxd.errors import FrameError, GateRefused
from pbxd.stats import histogram
from pbxd.stats.layout import CALLS, DIRECTION, DISPOSITION, EACH, EXTENSION, QUALITY, QUEUES, TRUNK, Layout
from pbxd.uplink.vocabulary import LARGEST_NUMBER, Check, identity, matching, moment, one_of, parsed, whole

LARGEST = 16 * 1024 * 1024  # bytes of a body
MOST_ROWS = 20_000  # rows of one table in a quarter of an hour
MOST = 1000  # of anything else that is a list
OTHER = "other"  # stands for everything whose name does not fit: see `names`
K = 10  # counts of use below it are not told at all; a box can have a larger one, uplink.usage_at_least
BUCKETS = ("10+", "30+", "100+", "300+", "1000+", "3000+", "10000+", "30000+", "100000+")
USAGE = (
    "calls",
    "queue_visits",
    "voice_messages",
    "recordings",
    "agi_sessions",
)  # of the last whole UTC day: see pbxd.uplink.usage

DIRECTIONS = ("inbound", "outbound", "internal")
DISPOSITIONS = ("answered", "no_answer", "busy", "failed", "voicemail", "abandoned", "cut")
TABLES: Mapping[str, Layout] = {layout.table: layout for layout in (CALLS, QUEUES, QUALITY)}
TRUNK_STATES = ("online", "offline", "unknown")
DISKS = ("statistics", "communications", "outbox")
SENSORS = ("cpu", "board", "disk", OTHER)
CHECKS = (
    "ami",
    "cel",
    "rotation",
    "journal",
    "store",
    "recording",
    "vault",
    "recordings",
    "disk",
    "clock",
    "uplink",
    OTHER,
)
SCOPES, REASONS = ("diagnose", "configure", "shell"), ("request", "terms", "law")
MESSAGE_STATES = ("waiting", "shown", "refused", "accepted", "applied", "undone", "rejected", "expired")

VERSION = re.compile("[0-9]{1,2}(?:[.][0-9]{1,3}){1,2}")
_FIVE_DIGITS = re.compile("[0-9]{5}")
_digits = re.compile("[0-9*#]{1,6}")
_name = re.compile("[A-Za-z][A-Za-z0-9_-]{0,39}")
_endpoint = re.compile(r"[A-Za-z0-9]{2,10}/[A-Za-z][A-Za-z0-9_.-]{0,39}")
_zone = re.compile(r"UTC|Etc/GMT[+-]?\d{0,2}|[A-Z][A-Za-z]{1,15}(?:/[A-Z][A-Za-z_-]{1,30}){1,2}")


@dataclass(frozen=True, slots=True)
class Entry:
    """What passed the gate: the only thing that the ledger takes."""

    class_: str
    body: bytes
    slot: int | None = None  # of stats: the quarter of an hour


def is_extension(key: str) -> bool:
    """Whether it may stand for one of the site's own numbers: at most six digits."""
    return _digits.fullmatch(key) is not None


def is_queue(key: str) -> bool:
    """Whether it may stand for a queue: letters, digits, - and _; not five digits in a row: a number of somebody."""
    return _name.fullmatch(key) is not None and _FIVE_DIGITS.search(key) is None


def is_trunk(key: str) -> bool:
    """Whether it may stand for a trunk, TECH/name: the same."""
    return _endpoint.fullmatch(key) is not None and _FIVE_DIGITS.search(key) is None


def is_site(name: str) -> bool:
    """Whether it may be the site's name: the same."""
    return is_queue(name)


def bucket(count: int, least: int = K) -> str | None:
    """The bucket of a count: the largest bound that it reaches. None if that is below `least`: then nothing is told."""
    reached = [name for name in BUCKETS if count >= int(name[:-1]) >= least]
    return reached[-1] if reached else None


def check_body(class_: str, body: bytes) -> dict[str, Any]:
    """The body of an entry, as JSON. GateRefused says what is not of the form of its class."""
    if class_ not in FORMS:
        raise GateRefused(f"there is no class {class_[:40]!r}; there are {', '.join(FORMS)}")
    if len(body) > LARGEST:
        raise GateRefused(f"{class_}: {len(body)} bytes; {LARGEST} may be")
    try:
        found = parsed(body, class_)
    except FrameError as error:
        raise GateRefused(str(error)) from error
    try:
        FORMS[class_](found)
    except ValueError as error:
        raise GateRefused(f"{class_}: {error}") from error
    return dict(found)


def body_of(class_: str, content: Mapping[str, Any]) -> bytes:
    """`content` as the bytes that go up, which were checked. GateRefused if they may not."""
    try:
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)
        body = text.encode()
    except (TypeError, ValueError) as error:
        raise GateRefused(f"{class_}: it cannot be written as JSON: {error}") from error
    check_body(class_, body)
    return body


# The forms: a Check raises ValueError, which says where and what is wanted.


def group(wanted: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object with these fields, no others."""
    every = {**wanted, **(optional or {})}

    def check(value: Any) -> None:  # noqa: ANN401 - JSON
        if not isinstance(value, dict):
            raise ValueError("an object is wanted")  # noqa: TRY004 - the one error of a Check
        for name in value:
            if name not in every:
                raise ValueError(f"{name[:40]!r} is no field of it")
        for name in wanted:
            if name not in value:
                raise ValueError(f"{name} is missing")
        for name, one in value.items():
            within(name, every[name], one)

    return check


def within(where: str, check: Check, value: Any) -> None:  # noqa: ANN401 - JSON
    """Check a value; what is wrong is told with its place."""
    try:
        check(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def listed(check: Check, most: int = MOST) -> Check:
    """A list of these."""

    def look(value: Any) -> None:  # noqa: ANN401 - JSON
        if not isinstance(value, list) or len(value) > most:
            raise ValueError(f"a list of at most {most} is wanted")
        for number, one in enumerate(value):
            try:
                check(one)
            except ValueError as error:
                raise ValueError(f"{number}: {error}") from error

    return look


def mapped(key: Check, check: Check, most: int = MOST) -> Check:
    """An object of any keys of this form."""

    def look(value: Any) -> None:  # noqa: ANN401 - JSON
        if not isinstance(value, dict) or len(value) > most:
            raise ValueError(f"an object of at most {most} keys is wanted")
        for name, one in value.items():
            within("a key", key, name)
            within(name, check, one)

    return look


def such(test: Any, what: str) -> Check:  # noqa: ANN401 - str -> bool
    """Text for which the test holds."""

    def check(value: Any) -> None:  # noqa: ANN401 - JSON
        if not isinstance(value, str) or not test(value):
            raise ValueError(what)

    return check


def number(value: Any) -> None:  # noqa: ANN401 - JSON
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 1e15:
        raise ValueError("a number is wanted")


def integer(value: Any) -> None:  # noqa: ANN401 - JSON
    """A whole number, which may be below 0."""
    whole(abs(value) if type(value) is int else value)


def truth(value: Any) -> None:  # noqa: ANN401 - JSON
    """Yes or no."""
    if not isinstance(value, bool):
        raise ValueError("true or false is wanted")  # noqa: TRY004 - the one error of a Check


def setting(value: Any) -> None:  # noqa: ANN401 - JSON
    """A value of the configuration: a number, yes or no, nothing, or a word of the schema in small letters."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        _word(value)
    else:
        number(value)


_word = matching("[a-z][a-z_-]{0,23}", "a word of the schema is wanted")
_key = matching("[a-z_]{1,30}(?:[.][a-z_]{1,30}){0,5}", "a key of the configuration is wanted")
_version = matching(VERSION.pattern, "a version of numbers is wanted: 22.10.1")
_queue = such(lambda key: key == OTHER or is_queue(key), "the name of a queue is wanted")
_trunk = such(lambda key: key == OTHER or is_trunk(key), "the name of a trunk is wanted")
_extension = such(lambda key: key == OTHER or is_extension(key), "an extension of at most six digits is wanted")
_empty = such(lambda key: not key, "no key is wanted")
_KEYS: Mapping[str, Mapping[int, Check]] = {  # table -> kind -> what its key may be
    "rollup_calls": {
        0: _empty, DIRECTION: one_of(DIRECTIONS), DISPOSITION: one_of(DISPOSITIONS), EXTENSION: _extension, TRUNK: _trunk,
    },
    "rollup_queues": {0: _empty, EACH: _queue},
    "rollup_quality": {0: _empty, EXTENSION: _extension, TRUNK: _trunk},
}  # fmt: skip


def _counts(value: Any) -> None:  # noqa: ANN401 - JSON
    """A histogram of pbxd.stats.histogram in base64: classes that there are, and counts that a quarter of an hour can have."""
    if value == "":
        return  # of nothing
    try:
        stored = base64.b64decode(value, validate=True) if isinstance(value, str) else b"?"
    except (binascii.Error, ValueError):
        stored = b"?"
    lanes, rest = divmod(len(stored) - 2, histogram.LANE)
    if rest or lanes < 1 or int.from_bytes(stored[:2], "little") + lanes > len(histogram.BOUNDS):
        raise ValueError("a histogram is wanted")
    counts = histogram.counts_of(histogram.number_of(stored))
    if any(count > 1_000_000 for count in counts):
        raise ValueError("a histogram of a quarter of an hour is wanted")


def _row(layout: Layout) -> Check:
    """A row of a rollup: kind, key, and the values of the layout."""
    names, plain = layout.values, len(layout.sums) + len(layout.maxima)
    checks: list[Check] = [whole] * plain
    if layout.level:
        checks += [integer, whole]
    checks += [_counts] * len(layout.histograms)

    def check(value: Any) -> None:  # noqa: ANN401 - JSON
        if not isinstance(value, list) or len(value) != 2 + len(checks):
            raise ValueError(f"a row of {2 + len(checks)} values is wanted")
        _keyed(layout.table, value[0], value[1])
        figures = value[2 : 2 + plain]
        # Nearly all of a large body are whole numbers: looked at together; one by one only to say which is wrong.
        good = set(map(type, figures)) <= {int} and min(figures) >= 0 and max(figures) <= LARGEST_NUMBER
        start = plain if good else 0
        for name, one, found in zip(names[start:], checks[start:], value[2 + start :], strict=True):
            within(name, one, found)

    return check


def _keyed(table: str, kind: Any, key: Any) -> None:  # noqa: ANN401 - JSON
    found = _KEYS[table].get(kind) if type(kind) is int else None
    if found is None:
        raise ValueError("its kind is none of the table")
    within("key", found, key)


def _level(value: Any) -> None:  # noqa: ANN401 - JSON
    """Calls that were up at the beginning of the quarter: [kind, key, how many]."""
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError("[kind, key, calls] is wanted")
    _keyed("rollup_calls", value[0], value[1])
    integer(value[2])


_report = group(
    {
        "service_level": number,
        "service_levels": mapped(_queue, number),
        "service_target": number,
        "short_abandon": number,
        "wrapup": number,
    }
)
_ticket = group(
    {
        "id": matching("[0-9A-Za-z-]{4,40}", "a ticket's id is wanted"),
        "opened": moment,
        "until": moment,
        "scope": one_of(SCOPES),
        "reason": one_of(REASONS),
    }
)
FORMS: Mapping[str, Check] = {
    "config": group(
        {
            "site": such(is_site, "a site's name is wanted: letters, digits, _ -"),
            "zone": such(lambda name: _zone.fullmatch(name) is not None, "a time zone is wanted"),
            "version": _version,
            "share_statistics": truth,
            "report": _report,
            "config": mapped(_key, setting),
            "counts": mapped(_key, whole),
            "tickets": listed(_ticket),
            "messages": listed(group({"id": identity, "state": one_of(MESSAGE_STATES)})),
        }
    ),
    "stats": group(
        {
            "slot": whole,
            "tables": group({name: listed(_row(layout), MOST_ROWS) for name, layout in TABLES.items()}),
            "levels": listed(_level, MOST_ROWS),
        }
    ),
    "health": group(
        {
            "at": moment,
            "uptime": whole,
            "versions": group({"pbxd": _version, "python": _version}, {"asterisk": _version, "kernel": _version}),
            "cpu": group({"count": whole, "load": listed(number, 3), "busy": number}),
            "memory": group({"total": whole, "available": whole, "pbxd": whole}),
            "disks": mapped(one_of(DISKS), group({"size": whole, "free": whole})),
            "temperatures": listed(group({"sensor": one_of(SENSORS), "celsius": number}), 64),
            "asterisk": group({"connected": truth, "calls": whole, "open_calls": whole}),
            "trunks": listed(group({"trunk": _trunk, "state": one_of(TRUNK_STATES)})),
            "doctor": listed(group({"check": one_of(CHECKS), "state": one_of(("ok", "warning", "fault"))}), 64),
            "usage": mapped(one_of(USAGE), one_of(BUCKETS)),
        }
    ),
}
