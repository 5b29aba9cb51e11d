"""The kinds of values an admin writes: durations, sizes, dial patterns, time zones, times of day, addresses."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, PlainSerializer

DURATION = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SIZE = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}


def duration(value: Any) -> float:  # noqa: ANN401 - whatever stands in the file
    """`250ms`, `15s`, `5min`, `12h`, `7d`, `2w` as seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h|d|w)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a duration is written as a number and a unit: 250ms, 15s, 5min, 12h, 7d, 2w")
    return float(match[1]) * DURATION[match[2]]


def duration_text(seconds: float) -> str:
    """The shortest way to write a duration."""
    for unit in ("w", "d", "h", "min", "s"):
        if seconds and seconds % DURATION[unit] == 0:
            return f"{seconds / DURATION[unit]:.0f}{unit}"
    return f"{seconds * 1000:g}ms"


def size(value: Any) -> int:  # noqa: ANN401 - whatever stands in the file
    """`64MiB`, `500kB`, `1GiB` as bytes."""
    match = re.fullmatch(r"(\d+)\s*([kKMGT]i?B|B)", value) if isinstance(value, str) else None
    if match is None or match[2] not in SIZE:
        raise ValueError("a size is written as a whole number and a unit: 64MiB, 1GiB, 500kB")
    return int(match[1]) * SIZE[match[2]]


def size_text(count: int) -> str:
    """The shortest way to write a size."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if count and count % SIZE[unit] == 0:
            return f"{count // SIZE[unit]}{unit}"
    return f"{count}B"


def absolute(value: Any) -> Path:  # noqa: ANN401 - whatever stands in the file
    """A path from the root."""
    if not isinstance(value, str | Path) or not str(value).startswith("/"):
        raise ValueError("a path begins with /")
    return Path(value)


def pattern(value: Any) -> str:  # noqa: ANN401 - whatever stands in the file
    """A dial pattern as in extensions.conf, without the underscore."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not re.fullmatch(r"(?:[0-9XZN*#+]|\[[0-9-]+\])+[.!]?|[.!]", value):
        raise ValueError(
            "a dial pattern has digits, X, Z, N, [1-5], and . or ! at its end (no underscore): 1XX, 20[0-5], 5."
        )
    return value


def number(value: Any) -> str:  # noqa: ANN401 - whatever stands in the file
    """An extension; YAML reads 101 as a number, and we take it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise ValueError("an extension is written as text: '101'")
    return value


def zone(value: Any) -> str:  # noqa: ANN401 - whatever stands in the file
    """A time zone's IANA name."""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as error:
        raise ValueError(f"{value!r} is no time zone; names are like Europe/Berlin") from error
    return str(value)


def address(value: Any) -> str:  # noqa: ANN401 - whatever stands in the file
    """`host:port`."""
    match = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):(\d{1,5})", value) if isinstance(value, str) else None
    if match is None or not 0 < int(match[2]) < 65536:
        raise ValueError("an address is written host:port, as 127.0.0.1:9464")
    return str(value)


def clock(value: Any) -> str:  # noqa: ANN401 - whatever stands in the file
    """A time of day, `07:00`. YAML reads 17:30 without quotes as 1050, sixty to the one, and we take it."""
    if isinstance(value, int) and not isinstance(value, bool) and 60 <= value < 24 * 60:
        return f"{value // 60:02}:{value % 60:02}"
    match = re.fullmatch(r"(\d{1,2}):(\d{2})", value) if isinstance(value, str) else None
    if match is None or int(match[1]) > 23 or int(match[2]) > 59:
        raise ValueError("a time of day is written '07:00' or '17:30'")
    return f"{int(match[1]):02}:{match[2]}"


def week_hours(value: Any) -> str:  # noqa: ANN401 - whatever stands in the file
    """`mon-fri 08:00-18:00`, `sat,sun 00:00-24:00`: days, and a time of them that may go over midnight."""
    match = (
        re.fullmatch(r"([a-z]{3}(?:[-,][a-z]{3})*)\s+(\d{2}:\d{2})-(\d{2}:\d{2})", value)
        if isinstance(value, str)
        else None
    )
    if match is None:
        raise ValueError("hours are written as days and times: mon-fri 08:00-18:00")
    for day in re.split("[-,]", match[1]):
        if day not in DAYS:
            raise ValueError(f"{day} is no day of the week; they are {' '.join(DAYS)}")
    for text in match.groups()[1:]:
        hour, minute = int(text[:2]), int(text[3:])
        if (hour, minute) > (24, 0) or minute > 59:
            raise ValueError(f"{text} is no time of day")
    return str(value)


def mail_address(value: Any) -> str:  # noqa: ANN401 - whatever stands in the file
    """`name@example.org`, with nothing around it."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+", value):
        raise ValueError("a mail address is written name@example.org")
    return value


def network(value: Any) -> str:  # noqa: ANN401 - whatever stands in the file
    """`10.0.0.7`, or `10.0.0.0/24`."""
    try:
        return str(ip_network(value if isinstance(value, str) else ""))
    except ValueError as error:
        raise ValueError(f"{value!r} is no address, 10.0.0.7, and no network, 10.0.0.0/24") from error


def user_name(value: Any) -> str:  # noqa: ANN401 - whatever stands in the file
    """A user of the system, by name or number."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]+|[A-Za-z_][A-Za-z0-9_.-]*\$?", value):
        raise ValueError("a user is written by name or number: asterisk, 107")
    return value


Duration = Annotated[float, BeforeValidator(duration), PlainSerializer(duration_text)]
Size = Annotated[int, BeforeValidator(size), PlainSerializer(size_text)]
AbsolutePath = Annotated[Path, BeforeValidator(absolute), PlainSerializer(str)]
DialPattern = Annotated[str, BeforeValidator(pattern)]
Extension = Annotated[str, BeforeValidator(number)]
Zone = Annotated[str, BeforeValidator(zone)]
Address = Annotated[str, BeforeValidator(address)]
Clock = Annotated[str, BeforeValidator(clock)]
Network = Annotated[str, BeforeValidator(network)]
UserName = Annotated[str, BeforeValidator(user_name)]
WeekHours = Annotated[str, BeforeValidator(week_hours)]
MailAddress = Annotated[str, BeforeValidator(mail_address)]
