"""Plays staged scenarios on a box: lanes at once, the scenarios of a lane one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from lab.desk import Desk
from lab.staged import Staged
from lab.transfers import prepare

# Played on other phones than those of the captured journals, so that no lane is much longer than the others.
ELSEWHERE = {
    "blind-of-blind": "fourth",
    "blind-by-code": "fourth",
    "attended-by-code": "fourth",
    "attended-by-code-refused": "fourth",
    "attended-by-code-blonde": "fifth",
    "attended-then-blind": "fifth",
    "park-after-transfer": "fifth",
    "park-retrieved": "fifth",
}


@dataclass(frozen=True, slots=True)
class Played:
    """When a scenario was played (epoch seconds), and what went wrong in the playing, if anything."""

    scenario: Staged
    begin: float
    end: float
    fault: str = ""


def play(desk: Desk, scenario: Staged) -> Played:
    """Play one scenario; the call is over when this returns."""
    prepare(desk, scenario.cast)
    begin = time.time()
    try:
        scenario.play(desk, scenario.cast)
        desk.quiet(scenario.cast.values())
    except Exception as error:  # noqa: BLE001 - told for each scenario, beside the others' results
        desk.clear(scenario.cast.values())
        return Played(scenario, begin, time.time(), f"{type(error).__name__}: {error}")
    return Played(scenario, begin, time.time())


def spread(scenarios: Iterable[Staged]) -> list[Staged]:
    """The same scenarios, some of them on the phones of another lane."""
    return [replace(scenario, lane=ELSEWHERE.get(scenario.name, scenario.lane)) for scenario in scenarios]


def play_all(desk: Desk, scenarios: Iterable[Staged], say: Callable[[str], None]) -> list[Played]:
    """Play all, a thread a lane."""
    lanes: dict[str, list[Staged]] = {}
    for scenario in scenarios:
        lanes.setdefault(scenario.lane, []).append(scenario)

    def run(lane: list[Staged]) -> list[Played]:
        played = []
        for scenario in lane:
            say(f"  calling: {scenario.title}")
            played.append(play(desk, scenario))
        return played

    with ThreadPoolExecutor(len(lanes)) as pool:
        return [played for lane in pool.map(run, lanes.values()) for played in lane]


def records_of(played: Played, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records that this scenario left: those of its phones in its time."""
    phones = set(played.scenario.phones())
    return [
        record
        for record in records
        if played.begin <= datetime.fromisoformat(record["start"]).timestamp() <= played.end
        and any(leg["endpoint"] in phones for leg in record["legs"])
    ]
