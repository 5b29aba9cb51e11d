"""What people write for a moment, as microseconds since the epoch."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from pbxd.errors import ControlError

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
FORMATS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d")


def moment(text: str, now: datetime) -> int:
    """`2h` (ago), `today`, `yesterday`, `2026-11-24`, `2026-11-24 10:30`, or ISO 8601 with a zone; else in the zone of `now`."""
    ago = re.fullmatch(r"(\d+)([smhdw])", text)
    if ago:
        return micros(now - timedelta(seconds=int(ago[1]) * UNITS[ago[2]]))
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if text in ("today", "yesterday"):
        return micros(midnight if text == "today" else midnight - timedelta(days=1))
    for form in FORMATS:
        try:
            return micros(datetime.strptime(text, form).replace(tzinfo=now.tzinfo))
        except ValueError:
            continue
    try:
        exact = datetime.fromisoformat(text)
    except ValueError as error:
        raise ControlError(
            f"{text!r} is no time: write 2h, 3d, today, yesterday, 2026-11-24 or 2026-11-24T10:30:00Z"
        ) from error
    return micros(exact if exact.tzinfo else exact.replace(tzinfo=now.tzinfo))


def micros(at: datetime) -> int:
    """Microseconds since the epoch."""
    return (at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def local(text: str | None, *, day: bool = True) -> str:
    """A record's ISO time, in the zone of whoever reads, to the second."""
    if text is None:
        return ""
    at = datetime.fromisoformat(text).astimezone()
    return f"{at:%Y-%m-%d %H:%M:%S}" if day else f"{at:%H:%M:%S}"


def span(seconds: float) -> str:
    """`1:02:03`, `2:03`, `3.5s`."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
