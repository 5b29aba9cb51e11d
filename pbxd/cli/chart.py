"""A call as a sequence chart: a column for each leg, a row for each moment, downwards in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pbxd.cli.when import local, span

WIDTH = 9  # characters of a leg's column
LEFT = 14  # characters of the time's column
RIGHT = 34  # characters kept for what happened
WORDS = {
    "start": "calls {dialled}",
    "call": "calls",
    "dial": "rings",
    "answer": "answers",
    "hold": "is put on hold",
    "unhold": "is taken back",
    "hangup": "is gone",
    "queue_join": "joins the queue {detail}",
    "queue_answer": "{detail} takes it from the queue",
    "queue_done": "is out of the queue {detail}",
    "queue_abandoned": "gives up in the queue {detail}",
    "queue_left": "leaves the queue {detail}",
    "blind_transfer": "transfers to {detail}",
    "attended_transfer": "transfers, after asking, to {detail}",
    "pickup": "is picked up elsewhere",
    "park_start": "is parked",
    "park_end": "leaves the parking lot",
    "forward": "is forwarded",
    "voicemail": "comes to the mailbox {detail}",
    "user_event": "{detail}",
    "clock_set_back": "the clock was set back during the call, by {detail}",
}
RINGING, UP, TALKING, HELD = "┆", "│", "┃", "╎"
LEGEND = f"{RINGING} rings   {UP} up   {TALKING} talks   {HELD} on hold   ● begins   ○ answers   ✕ ends"


@dataclass(frozen=True, slots=True)
class Lane:
    """One leg's column."""

    leg: Mapping[str, Any]

    def sign(self, at: str) -> str:
        """What the leg does just after `at` (ISO 8601, so that text compares as time)."""
        leg = self.leg
        if not leg["start"] <= at < leg["end"]:
            return " "
        if any(start <= at < end for start, end in leg["held"]):
            return HELD
        if any(start <= at < end for start, end in leg["talked"]):
            return TALKING
        return UP if leg["answer"] is not None and leg["answer"] <= at else RINGING


def chart(record: Mapping[str, Any], width: int) -> list[str]:
    """The lines of the chart in a terminal of `width` characters. Legs that only rang are left out where they do not fit."""
    room = max(2, (width - LEFT - RIGHT) // WIDTH)
    legs = _shown(record["legs"], room)
    lanes = [Lane(leg) for leg in legs]
    columns = {leg["uniqueid"]: place for place, leg in enumerate(legs)}
    left_out = {leg["uniqueid"] for leg in record["legs"]} - set(columns)
    names = "".join(f"{leg['number'] or leg['endpoint']:.{WIDTH - 1}}".ljust(WIDTH) for leg in legs)
    lines = [" " * LEFT + names.rstrip()]
    moments = (moment for moment in record["timeline"] if moment["uniqueid"] not in left_out)
    lines.extend(_row(moment, lanes, columns, record) for moment in moments)
    if left_out:
        lines.append(f"{'':{LEFT}}({len(left_out)} more legs that only rang)")
    return [*lines, "", LEGEND]


def _shown(legs: Sequence[Mapping[str, Any]], room: int) -> list[Mapping[str, Any]]:
    if len(legs) <= room:
        return list(legs)
    wanted = [leg for leg in legs if leg["role"] == "caller" or leg["talked"] or leg["answer"]]
    return wanted[: max(room, len(wanted))]


def _row(
    moment: Mapping[str, Any], lanes: Sequence[Lane], columns: Mapping[str, int], record: Mapping[str, Any]
) -> str:
    at, kind = moment["at"], moment["kind"]
    place = columns.get(moment["uniqueid"], 0)
    cells = [lane.sign(at) + " " * (WIDTH - 1) for lane in lanes]
    mark = {"start": "●", "call": "●", "answer": "○", "hangup": "✕"}.get(kind)
    if mark:
        cells[place] = mark + cells[place][1:]
    line = "".join(cells)
    if kind == "dial":
        line = _arrow(line, _dialler(at, lanes), place)
    words = WORDS.get(kind, kind).format(detail=moment["detail"], dialled=record["dialled"] or "nothing")
    who = lanes[place].leg["number"] or lanes[place].leg["endpoint"]
    if kind in ("queue_answer", "user_event", "clock_set_back"):
        who = ""
    return f"{_time(at, record['start']):{LEFT}}{line} {f'{who} {words}'.strip()}".rstrip()


def _dialler(at: str, lanes: Sequence[Lane]) -> int:
    """Who rings: the leg that called last and talks to nobody yet."""
    calling = [
        place for place, lane in enumerate(lanes) if lane.leg["role"] == "caller" and lane.sign(at) in (RINGING, UP)
    ]
    return max(calling, key=lambda place: lanes[place].leg["start"], default=0)


def _arrow(line: str, start: int, end: int) -> str:
    """`line` with an arrow between the columns `start` and `end`."""
    if start == end:
        return line
    low, high = sorted((start, end))
    left, right = low * WIDTH + 1, high * WIDTH
    shaft = "─" * (right - left - 1)
    middle = shaft + "▶" if end > start else "◀" + shaft
    crossed = "".join(
        "┼" if old != " " and drawn == "─" else drawn for old, drawn in zip(line[left:right], middle, strict=True)
    )
    return line[:left] + crossed + line[right:]


def _time(at: str, start: str) -> str:
    """The time of day at the beginning, what passed since then at the other rows."""
    if at == start:
        return local(at, day=False)
    passed = (datetime.fromisoformat(at) - datetime.fromisoformat(start)).total_seconds()
    return f"+{span(passed)}" if passed >= 60 else f"+{passed:.2f}s"
