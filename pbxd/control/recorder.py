"""Routes of calls that are being recorded: which, and to start, stop, pause and resume them.

People see and pause the recordings of their own calls; whose a call is, is known by the phones that are in it.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pbxd.comms.people import Action, Decision, Directory, Person, Thing, may
from pbxd.control.door import asked_of
from pbxd.control.roles import OWNERS
from pbxd.errors import RecordingError
from pbxd.recording.monitor import Monitor

WHAT = ("start", "stop", "pause", "resume")


class Subject(Protocol):
    """Who records."""

    @property
    def monitor(self) -> Monitor | None:
        """None if nothing is ever recorded."""

    @property
    def people(self) -> Directory:
        """Those that the configuration in force names."""


def decided(who: Person, action: Action, thing: Thing) -> Decision:
    """Whether `who` may do it with the recording of a call in progress."""
    return Decision(allowed=True, reason="the box is theirs") if who.role in OWNERS else may(who, action, thing)


def routes(subject: Subject) -> list[Route]:
    """The routes."""

    def monitor() -> Monitor:
        if subject.monitor is None:
            raise RecordingError("calls are not recorded: recording.enabled is false")
        return subject.monitor

    def seen(who: Person, recording: dict[str, Any]) -> bool:
        owners, teams = subject.people.owners(party["number"] for party in recording["parties"] if not party["trunk"])
        queue = frozenset({recording["queue"]} - {""})
        return decided(who, "see", Thing("recording", recording["id"], owners, teams | queue)).allowed

    async def under_way(request: Request) -> Response:
        """GET /v1/recorder: those that the caller may know of"""
        who = asked_of(request).who
        return JSONResponse({"recordings": [one for one in monitor().under_way() if seen(who, one)]})

    async def ask(request: Request) -> Response:
        """POST /v1/recorder/{channel}/{what}"""
        asked, channel, what = asked_of(request), request.path_params["channel"], request.path_params["what"]
        if what not in WHAT:
            raise RecordingError(f"a recording cannot be told to {what}; there are {', '.join(WHAT)}")
        name, talking = monitor().recorder.concerned(channel)
        owners, _ = subject.people.owners(party.number for party in talking if not party.trunk)
        decision = decided(asked.who, cast("Action", what), Thing("recording", name or channel, owners))
        # A pause is for a card number that is about to be said: it does not wait for a store that cannot be written.
        urgent = what in ("pause", "stop")
        await asked.claim(what, "recording", name or channel, decision, {"channel": channel[:64]}, urgent=urgent)
        monitor().ask(channel, what)
        return JSONResponse({"done": what})

    return [Route("/v1/recorder", under_way), Route("/v1/recorder/{channel}/{what}", ask, methods=["POST"])]
