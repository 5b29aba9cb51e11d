"""Calls that people handle: played step by step on a desk of soft phones, each with the record that it must become.

A scenario is written with roles: A calls, B is called, C and D come later. A lane gives the roles their phones; scenarios of
different lanes can be played at once. What is expected is written with the roles too: `PJSIP/{B}`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.desk import Desk

Cast = dict[str, str]  # role -> number of its phone
LANES: dict[str, Cast] = {
    "first": {"A": "121", "B": "122", "C": "123", "D": "124"},
    "second": {"A": "125", "B": "126", "C": "127", "D": "128"},
    "third": {"A": "129", "B": "130", "C": "131", "D": "132"},
    "fourth": {"A": "133", "B": "134", "C": "135", "D": "136"},
    "fifth": {"A": "137", "B": "138", "C": "139", "D": "140"},
    "queues": {"A": "141", "B": "142", "C": "143", "D": "144"},
}
TALK = 0.6  # s that people talk at each step: long enough to be told from nothing


@dataclass(frozen=True, slots=True)
class Staged:
    """One call that people handle, and what its record must say. A field that is not named is not judged."""

    name: str
    title: str
    lane: str
    play: Callable[[Desk, Cast], None]
    expected: Mapping[str, object]
    legs: tuple[
        tuple[str, bool], ...
    ] = ()  # role (or endpoint) and whether it talked; empty: whom a queue rings is its own choice
    queues: tuple[tuple[str, str], ...] = ()  # queue and outcome
    transfers: tuple[tuple[str, str], ...] = ()  # kind and where to
    told: tuple[str, ...] = field(default=())  # kinds of moments that the timeline must have

    @property
    def cast(self) -> Cast:
        """Its roles' phones."""
        return LANES[self.lane]

    def phones(self) -> Iterable[str]:
        """Endpoints of its roles."""
        return (f"PJSIP/{number}" for number in self.cast.values())

    def faults(self, record: Mapping[str, Any]) -> list[str]:
        """What is wrong with its record; empty if nothing is."""
        wrong = []
        for name, value in self.expected.items():
            wanted = value.format(**self.cast) if isinstance(value, str) else value
            if record[name] != wanted:
                wrong.append(f"{name} is {record[name]!r}, not {wanted!r}")
        if self.legs:
            wrong += self._leg_faults(record)
        found: Any = [(visit["queue"], visit["outcome"]) for visit in record["queues"]]
        if found != list(self.queues):
            wrong.append(f"queue visits are {found}, not {list(self.queues)}")
        found = [(transfer["kind"], transfer["to"]) for transfer in record["transfers"]]
        wanted_transfers = [(kind, to.format(**self.cast)) for kind, to in self.transfers]
        if found != wanted_transfers:
            wrong.append(f"transfers are {found}, not {wanted_transfers}")
        kinds = {moment["kind"] for moment in record["timeline"]}
        missing = [kind for kind in self.told if kind not in kinds]
        if missing:
            wrong.append(f"the timeline does not tell of {missing}")
        return wrong

    def _leg_faults(self, record: Mapping[str, Any]) -> list[str]:
        legs = sorted((leg["endpoint"], bool(leg["talked"])) for leg in record["legs"])
        wanted = sorted((self._endpoint(role), talked) for role, talked in self.legs)
        return [] if legs == wanted else [f"legs are {legs}, not {wanted}"]

    def _endpoint(self, role: str) -> str:
        return f"PJSIP/{self.cast[role]}" if role in self.cast else role
