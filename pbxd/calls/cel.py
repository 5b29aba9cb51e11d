"""One CEL line: the columns that pbxd asks `cel_custom` for, and the way from bytes to values and back.

Source: Asterisk "Channel Event Logging" pages; the columns are those of `pbxd.asterisk.snippets`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from pbxd.errors import LineError

COLUMNS = (
    "eventtype", "eventtime", "cid_name", "cid_num", "cid_ani", "cid_rdnis", "cid_dnid", "exten", "context", "channame",
    "appname", "appdata", "amaflags", "accountcode", "uniqueid", "linkedid", "peer", "userfield", "userdeftype", "extra",
)  # fmt: skip
LAST = len(COLUMNS) - 1
HOOK = "__func_periodic_hook_context__"  # where Asterisk plays the beeps of a recording, by channels of no call (PERIODIC_HOOK)
MAX_LINE = 64 * 1024  # bytes; Asterisk's own buffers end far below it


class CelEvent(NamedTuple):
    """One event of one channel, in the order of the columns. `at` is UTC microseconds since the epoch.

    A NamedTuple and not a frozen dataclass: it is made some thousand times a second from a list that is already there.
    """

    type: str
    at: int
    cid_name: str
    cid_num: str
    cid_ani: str
    cid_rdnis: str
    cid_dnid: str
    exten: str
    context: str
    channel: str
    app: str
    app_data: str
    ama_flags: str
    account: str
    uniqueid: str
    linkedid: str
    peer: str
    userfield: str
    user_type: str
    extra: str

    def details(self) -> Mapping[str, Any]:
        """The JSON object in `extra`; empty if there is none, or none that can be read."""
        return _details(self.extra)


@lru_cache(maxsize=512)  # both parties of a bridge write the same text, on entering and on leaving
def _details(extra: str) -> Mapping[str, Any]:
    if not extra.startswith("{"):
        return {}
    try:
        found = json.loads(extra)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def parse_line(line: bytes) -> CelEvent:
    """The event in one line without its line break. LineError says what is wrong with it.

    Text is UTF-8; a line that is not is read as Latin-1, which old phones send in display names.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = line.decode("latin-1")
    fields: list[Any] = _ordinary(text) or _by_the_book(text)
    if len(fields) != len(COLUMNS):
        raise LineError(f"{len(fields)} columns, not {len(COLUMNS)}")
    fields[1] = microseconds(fields[1])
    if not fields[14] or not fields[15]:
        raise LineError("no uniqueid or no linkedid")
    return CelEvent._make(fields)


def _ordinary(text: str) -> list[str] | None:
    """The values of a line in which only the last one, `extra`, holds quotation marks: nearly every line. None for the others."""
    fields = text[1:-1].split('","', LAST)
    if len(fields) != LAST + 1 or text[0] != '"' or text[-1] != '"' or "\0" in text:
        return None
    extra = fields[LAST]
    if text.count('"', 0, len(text) - len(extra) - 1) != 2 * LAST + 1:
        return None
    if '"' in extra:
        if '"' in extra.replace('""', ""):
            return None
        fields[LAST] = extra.replace('""', '"')
    return fields


def _by_the_book(text: str) -> list[str]:
    if "\0" in text:
        raise LineError("NUL bytes: a block that the disk never got")
    if text.count('"') % 2:
        raise LineError("a quotation mark without its partner")
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise LineError(str(error)) from error


def microseconds(text: str) -> int:
    """`1795515956.963528` as microseconds since the epoch."""
    seconds, dot, fraction = text.partition(".")
    if not (dot and len(fraction) == 6 and fraction.isdecimal() and seconds.isdecimal() and len(seconds) < 12):
        raise LineError(f"the time {text[:40]!r} is not in epoch seconds with six decimals")
    return int(seconds + fraction)


def format_line(event: CelEvent) -> str:
    """The line that `parse_line` reads back as the same event."""
    fields: list[Any] = list(event)
    fields[1] = f"{event.at // 1_000_000}.{event.at % 1_000_000:06d}"
    return format_fields(fields)


def format_fields(fields: Iterable[str]) -> str:
    """Values as `CSV_QUOTE` writes them: each in quotation marks, those within it doubled."""
    return ",".join(['"' + value.replace('"', '""') + '"' if '"' in value else f'"{value}"' for value in fields])


@lru_cache(maxsize=4096)
def id_order(uniqueid: str) -> tuple[int, int, str]:
    """A sort key for uniqueids: as numbers, `….10` after `….9`; ids that are no numbers come last, as text."""
    epoch, _, counter = uniqueid.rpartition(".")
    seconds = epoch.rpartition("-")[2]  # a system name may stand before
    if seconds.isdecimal() and counter.isdecimal():
        return (int(seconds), int(counter), uniqueid)
    return (1 << 62, 0, uniqueid)


def birth_order(uniqueid: str) -> tuple[int, int, str]:
    """A sort key for the channels of one call: Asterisk numbers its channels as it makes them, whatever its clock says."""
    second, number, _ = id_order(uniqueid)
    return (number, second, uniqueid)
