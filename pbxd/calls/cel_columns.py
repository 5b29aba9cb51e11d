"""The columns of CEL rows as other backends of Asterisk write them, and the way from such a row to a line of ours.

Source: the sample configurations of cel_custom, cel_sqlite3_custom, cel_odbc and cel_pgsql, and their sources, of Asterisk 22.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, tzinfo
from decimal import Decimal

from pbxd.calls.cel import COLUMNS, format_fields, id_order
from pbxd.calls.local_time import LocalTime, since_epoch
from pbxd.errors import SourceError

NEEDED = ("eventtype", "eventtime", "uniqueid", "linkedid")  # without them no call can be put together
LITERAL, WHOLE_CALLER_ID = "-", "callerid(all)"
OTHER_NAMES = {
    "cid_name": "cidname callerid(name)",
    "cid_num": "cidnum callerid(num)",
    "cid_ani": "cidani callerid(ani)",
    "cid_rdnis": "cidrdnis callerid(rdnis)",
    "cid_dnid": "ciddnid callerid(dnid)",
    "exten": "channel(exten)",
    "context": "channel(context)",
    "channame": "channel channel(channame) channel(name)",
    "appname": "channel(appname)",
    "appdata": "channel(appdata)",
    "amaflags": "channel(amaflags)",
    "accountcode": "acctcode channel(accountcode)",
    "uniqueid": "channel(uniqueid)",
    "linkedid": "channel(linkedid)",
    "peer": "bridgepeer channel(peer)",
    "userfield": "channel(userfield)",
    "userdeftype": "usereventname",
    "extra": "eventextra",
    WHOLE_CALLER_ID: "clid",
}
NAMES = {other: name for name, others in OTHER_NAMES.items() for other in (name, *others.split())} | {
    name: name for name in COLUMNS
}
# How cel_custom's sample maps its columns, by their number: older ones end earlier, that of Asterisk 22 shows a literal, and the
# last is its "advanced mapping".
SAMPLES = {
    **{count: COLUMNS[:count] for count in (18, 19, 20)},
    21: (COLUMNS[0], LITERAL, *COLUMNS[1:]),
    24: (
        "eventtype", "eventenum", LITERAL, "eventtime", "usereventname", "cidname", "cidnum", "exten", "context", "channame",
        "appname", "appdata", "amaflags", "acctcode", "uniqueid", "userfield", "cidani", "cidrdnis", "ciddnid", "peer",
        "linkedid", "peeracct", "extra", "tenantid",
    ),
}  # fmt: skip
WRAPPED = re.compile(r"^(?:\$\{csv_quote\()?\$\{(.*?)\}(?:\)\})?$")  # as cel_custom.conf writes a column
EPOCH_SECONDS = re.compile(r"(\d{1,11})(?:\.(\d{1,6}))?")
CALLER_ID = re.compile(r'\s*"?(.*?)"?\s*<([^>]*)>\s*')
BREAKS = str.maketrans({"\n": " ", "\r": " ", "\0": None})


def known(name: str) -> str:
    """The column of ours that is called `name` elsewhere; empty if there is none."""
    text = name.strip().lower()
    wrapped = WRAPPED.match(text)
    return NAMES.get(wrapped.group(1) if wrapped else text, "")


def is_header(values: Sequence[str]) -> bool:
    """Whether these are the names of columns."""
    names = {known(value) for value in values}
    return names.issuperset(("eventtype", "eventtime", "uniqueid"))


class Columns:
    """The columns that the rows of one source have, in their order."""

    def __init__(self, names: Sequence[str], zone: tzinfo) -> None:
        """SourceError if a column is missing without which no call can be put together. `zone` is of times that have none."""
        found = {known(name): place for place, name in reversed(list(enumerate(names)))}
        missing = [name for name in NEEDED if name not in found]
        if missing:
            raise SourceError(
                f"no column {', '.join(missing)} (there are {', '.join(names)}): a call cannot be put together without it. "
                "Let Asterisk write it, or name the columns by --columns"
            )
        self.count = len(names)
        self._places = [found.get(name, -1) for name in COLUMNS]
        self._caller_id = found.get(WHOLE_CALLER_ID)
        self._clock = LocalTime(zone)

    def line(self, values: Sequence[object]) -> bytes:
        """The line that `cel_custom` would have written for this row.

        A time or an id that makes no sense is left as it is: the line is then refused for it, and kept. A line break within a
        value becomes a space.
        """
        fields = ["" if place < 0 else text(values[place]) for place in self._places]
        if self._caller_id is not None:
            whole = CALLER_ID.fullmatch(text(values[self._caller_id]))
            if whole:
                fields[2], fields[3] = (own or part for own, part in zip(fields[2:4], whole.groups(), strict=True))
        if fields[0] == "USER_DEFINED" and fields[18]:
            fields[0] = fields[18]  # show_user_defined=yes; ours has the name in both columns
        at = self._time(values[self._places[1]], fields[14])
        if at is not None:
            fields[1] = f"{at // 1_000_000}.{at % 1_000_000:06d}"
        line = format_fields(fields)
        if not line.isprintable():
            line = line.translate(BREAKS)
        return line.encode()

    def _time(self, value: object, uniqueid: str) -> int | None:
        """A time of any kind as microseconds since the epoch; None if it cannot be read."""
        if isinstance(value, str | bytes):
            value = _parsed(text(value))
        if isinstance(value, int | float | Decimal):
            return round(Decimal(str(value)) * 1_000_000)
        if not isinstance(value, datetime):
            return None
        if value.tzinfo is not None:
            return since_epoch(value)
        second = id_order(uniqueid)[0]
        return self._clock.utc(value, 0 if second == 1 << 62 else second * 1_000_000)


def _parsed(written: str) -> Decimal | datetime | None:
    if EPOCH_SECONDS.fullmatch(written):
        return Decimal(written)
    try:
        return datetime.fromisoformat(written)
    except ValueError:
        return None


def text(value: object) -> str:
    """A value as text; bytes are UTF-8, or Latin-1 where they are not."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bytes | bytearray):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")
    return str(value)
