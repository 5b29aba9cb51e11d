"""Voice quality as a line of the journal: written when a channel is gone, and read back into its leg.

Asterisk tells of RTCP by AMI only. pbxd puts what came of it into a journal of its own, in the form of a CEL line, so that a record
is made from journals alone, and again the same from the same lines.
"""

from __future__ import annotations

import json
from typing import Any

from pbxd.calls import quality
from pbxd.calls.cel import COLUMNS, CelEvent
from pbxd.calls.record import Quality

QUALITY = "PBXD_QUALITY"
BLANK = dict.fromkeys(COLUMNS, "")


def quality_line(at: int, channel: str, uniqueid: str, linkedid: str, heard: quality.Quality) -> CelEvent | None:
    """The line for a channel that is gone at `at` (microseconds); None if no side has sent a report."""
    if heard.sent is None and heard.received is None:
        return None
    extra = {"sent": _written(heard.sent), "received": _written(heard.received), "rtt": _rounded(heard.rtt_mean)}
    fields = BLANK | {
        "channame": channel,
        "uniqueid": uniqueid,
        "linkedid": linkedid or uniqueid,
        "extra": json.dumps(extra, separators=(",", ":")),
    }
    _, _, *rest = fields.values()
    return CelEvent._make([QUALITY, at, *rest])


def read_quality(event: CelEvent) -> tuple[Quality | None, Quality | None, float | None]:
    """What such a line says: sent, received, and the round trip in ms. Anything that is no number is unknown."""
    told = event.details()
    return _read(told.get("sent")), _read(told.get("received")), _number(told.get("rtt"))


def _written(direction: quality.Direction | None) -> dict[str, float | None] | None:
    if direction is None:
        return None
    return {
        "loss": round(direction.loss, 6),
        "jitter": round(direction.jitter_mean, 3),
        "mos": _rounded(direction.mos),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _read(told: Any) -> Quality | None:  # noqa: ANN401 - JSON
    if not isinstance(told, dict):
        return None
    loss, jitter = _number(told.get("loss")), _number(told.get("jitter"))
    return None if loss is None or jitter is None else Quality(loss, jitter, _number(told.get("mos")))


def _number(told: Any) -> float | None:  # noqa: ANN401 - JSON
    return float(told) if isinstance(told, int | float) and not isinstance(told, bool) else None
