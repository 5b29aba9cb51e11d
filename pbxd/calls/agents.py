"""What agents do, from queue_log: logged in, paused, ringing, talking, wrapping up. No I/O, no clock: the log's time is the time.

Time is given out in pieces that never cross a quarter of an hour: when the log passes one, what is going on is given out up to
there, and goes on. So an agent who is logged in for a week has figures long before logging out. Source: Asterisk "Queue Logs".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

QUARTER = 900_000_000  # microseconds
LONGEST_SILENCE = (
    7 * 86_400_000_000
)  # microseconds without any line, after which what was going on is taken to have ended
MAX_RING = 3_600_000_000  # microseconds; a longer ring is a damaged line

Doing = tuple[str, str, str]  # queue ("" is all of them), kind, reason (of a pause) or call (of a talk)


class QueueLine(Protocol):
    """A line of queue_log."""

    @property
    def at(self) -> int:
        """When, in microseconds."""

    @property
    def call_id(self) -> str:
        """Uniqueid of the caller's channel."""

    @property
    def queue(self) -> str:
        """Name of the queue."""

    @property
    def agent(self) -> str:
        """Name of the agent, or NONE."""

    @property
    def event(self) -> str:
        """What happened."""

    @property
    def data(self) -> str:
        """The event's own values, joined by |."""


class AgentTime(NamedTuple):
    """A piece of an agent's time, within one quarter of an hour. Times are UTC microseconds."""

    agent: str
    queue: str  # "" in the login and pause that hold for all queues of the agent
    kind: str  # login | pause | ring | talk | wrapup
    reason: str
    start: int
    end: int


@dataclass(slots=True)
class _Agent:
    """What is known of one agent."""

    logged_in: set[str] = field(default_factory=set)  # queues, by ADDMEMBER
    acted: set[str] = field(
        default_factory=set
    )  # queues in which a line named the agent: a static member has no ADDMEMBER
    paused: dict[str, str] = field(default_factory=dict)  # queue -> reason
    talking: set[tuple[str, str]] = field(default_factory=set)  # (queue, call)
    wrapping: tuple[str, int] | None = None  # queue, and until when
    since: dict[Doing, int] = field(default_factory=dict)  # what goes on, and from when it was not given out yet

    def doing(self) -> set[Doing]:
        """What goes on now."""
        found: set[Doing] = {(queue, "login", "") for queue in self.logged_in}
        found |= {(queue, "pause", reason) for queue, reason in self.paused.items()}
        found |= {(queue, "talk", call) for queue, call in self.talking}
        if self.logged_in:
            found.add(("", "login", ""))
        known = self.logged_in or self.acted
        if known and known <= self.paused.keys():
            found.add(("", "pause", self.paused[min(known)]))
        if self.wrapping is not None:
            found.add((self.wrapping[0], "wrapup", ""))
        return found


class AgentTracker:
    """Takes the lines of queue_log in their order and gives out the agents' time."""

    def __init__(self, wrapup: int = 0) -> None:
        self.wrapup = wrapup  # microseconds of wrap-up after each completed call
        self.now = 0  # time of the newest line
        self._agents: dict[str, _Agent] = {}

    @property
    def agents(self) -> int:
        """How many agents are known."""
        return len(self._agents)

    def feed(self, line: QueueLine) -> list[AgentTime]:
        """Take one line. A line that is older than the one before it counts as of that one's time."""
        at = max(line.at, self.now)
        given: list[AgentTime] = []
        if line.event == "QUEUESTART" or at - self.now > LONGEST_SILENCE:
            given += self._end_all()
        given += self._pass(at)
        self.now = at
        take = TAKES.get(line.event)
        if take is not None and line.agent not in ("", "NONE"):
            agent = self._agents.setdefault(line.agent, _Agent())
            given += _rang(line, at)
            take(self, agent, line, at)
            given += _settle(line.agent, agent, at)
        return given

    def _pass(self, at: int) -> list[AgentTime]:
        """Time goes on to `at`: wrap-ups end, and what went on before the quarter of `at` is given out."""
        given: list[AgentTime] = []
        boundary = at // QUARTER * QUARTER
        for name, agent in self._agents.items():
            if agent.wrapping is not None and agent.wrapping[1] <= at:
                end, agent.wrapping = agent.wrapping[1], None
                given += _settle(name, agent, end)
            if boundary > self.now:
                for doing, since in agent.since.items():
                    if since < boundary:
                        given += _pieces(name, doing, since, boundary)
                        agent.since[doing] = boundary
        return given

    def _end_all(self) -> list[AgentTime]:
        """Asterisk has started, or nothing was heard for long: everything ended with the last line that came."""
        given: list[AgentTime] = []
        for name, agent in self._agents.items():
            for doing, since in agent.since.items():
                given += _pieces(name, doing, since, self.now)
        self._agents.clear()
        return given

    def _add(self, agent: _Agent, line: QueueLine, _at: int) -> None:
        agent.logged_in.add(line.queue)
        if line.data.startswith("PAUSED"):
            agent.paused[line.queue] = ""

    def _remove(self, agent: _Agent, line: QueueLine, _at: int) -> None:
        agent.logged_in.discard(line.queue)
        agent.acted.discard(line.queue)
        agent.paused.pop(line.queue, None)

    def _pause(self, agent: _Agent, line: QueueLine, _at: int) -> None:
        agent.acted.add(line.queue)
        agent.paused[line.queue] = line.data
        agent.wrapping = None

    def _unpause(self, agent: _Agent, line: QueueLine, _at: int) -> None:
        agent.acted.add(line.queue)
        agent.paused.pop(line.queue, None)

    def _pause_all(self, agent: _Agent, line: QueueLine, _at: int) -> None:
        agent.paused = dict.fromkeys(agent.logged_in | agent.acted, line.data)
        agent.wrapping = None

    def _unpause_all(self, agent: _Agent, _line: QueueLine, _at: int) -> None:
        agent.paused.clear()

    def _connect(self, agent: _Agent, line: QueueLine, _at: int) -> None:
        agent.acted.add(line.queue)
        agent.wrapping = None
        agent.talking.add((line.queue, line.call_id))

    def _complete(self, agent: _Agent, line: QueueLine, at: int) -> None:
        agent.talking.discard((line.queue, line.call_id))
        if self.wrapup and not agent.talking:
            agent.wrapping = (line.queue, at + self.wrapup)

    def _ring(self, agent: _Agent, line: QueueLine, _at: int) -> None:
        agent.acted.add(line.queue)

    def save(self) -> bytes:
        """What `restore` needs to go on from here."""
        agents = {
            name: {
                "logged_in": sorted(agent.logged_in),
                "acted": sorted(agent.acted),
                "paused": agent.paused,
                "talking": sorted(agent.talking),
                "wrapping": agent.wrapping,
                "since": [[*doing, since] for doing, since in agent.since.items()],
            }
            for name, agent in self._agents.items()
        }
        return json.dumps({"now": self.now, "agents": agents}).encode()

    @classmethod
    def restore(cls, wrapup: int, saved: bytes) -> AgentTracker:
        """A tracker as it was at `save`; the length of the wrap-up is the new one."""
        tracker = cls(wrapup)
        state: dict[str, Any] = json.loads(saved)
        tracker.now = state["now"]
        for name, found in state["agents"].items():
            tracker._agents[name] = _Agent(
                set(found["logged_in"]),
                set(found["acted"]),
                found["paused"],
                {(queue, call) for queue, call in found["talking"]},
                tuple(found["wrapping"]) if found["wrapping"] else None,
                {(queue, kind, reason): since for queue, kind, reason, since in found["since"]},
            )
        return tracker


TAKES = {
    "ADDMEMBER": AgentTracker._add,  # noqa: SLF001 - the table of the class's own transitions
    "REMOVEMEMBER": AgentTracker._remove,  # noqa: SLF001
    "PAUSE": AgentTracker._pause,  # noqa: SLF001
    "UNPAUSE": AgentTracker._unpause,  # noqa: SLF001
    "PAUSEALL": AgentTracker._pause_all,  # noqa: SLF001
    "UNPAUSEALL": AgentTracker._unpause_all,  # noqa: SLF001
    "CONNECT": AgentTracker._connect,  # noqa: SLF001
    "COMPLETEAGENT": AgentTracker._complete,  # noqa: SLF001
    "COMPLETECALLER": AgentTracker._complete,  # noqa: SLF001
    "BLINDTRANSFER": AgentTracker._complete,  # noqa: SLF001
    "ATTENDEDTRANSFER": AgentTracker._complete,  # noqa: SLF001
    "RINGNOANSWER": AgentTracker._ring,  # noqa: SLF001
    "RINGCANCELED": AgentTracker._ring,  # noqa: SLF001
}


def _settle(name: str, agent: _Agent, at: int) -> list[AgentTime]:
    """What began goes on from `at`; what does not go on any more is given out."""
    given: list[AgentTime] = []
    doing = agent.doing()
    for ended in [one for one in agent.since if one not in doing]:
        given += _pieces(name, ended, agent.since.pop(ended), at)
    for begun in doing - agent.since.keys():
        agent.since[begun] = at
    return given


def _rang(line: QueueLine, at: int) -> Iterator[AgentTime]:
    """How long the agent's phone rang: CONNECT has seconds in its third value, RINGNOANSWER and RINGCANCELED have milliseconds."""
    values = line.data.split("|")
    connected = line.event == "CONNECT"
    text = values[2] if connected and len(values) > 2 else values[0] if line.event.startswith("RING") else ""
    if text.isdecimal():
        ring = int(text) * (1_000_000 if connected else 1000)
        if 0 < ring <= MAX_RING:
            yield from _pieces(line.agent, (line.queue, "ring", ""), at - ring, at)


def _pieces(name: str, doing: Doing, start: int, end: int) -> Iterator[AgentTime]:
    """From `start` to `end`, cut at the quarters of an hour."""
    queue, kind, reason = doing
    while start < end:
        until = min(end, (start // QUARTER + 1) * QUARTER)
        yield AgentTime(name, queue, kind, reason, start, until)
        start = until
