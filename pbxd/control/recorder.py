"""Routes of calls that are being recorded: which, and to start, stop, pause and resume them."""

from __future__ import annotations

from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pbxd.errors import RecordingError
from pbxd.recording.monitor import Monitor

WHAT = ("start", "stop", "pause", "resume")


class Subject(Protocol):
    """Who records."""

    @property
    def monitor(self) -> Monitor | None:
        """None if nothing is ever recorded."""


def routes(subject: Subject) -> list[Route]:
    """The routes."""

    def monitor() -> Monitor:
        if subject.monitor is None:
            raise RecordingError("calls are not recorded: recording.enabled is false")
        return subject.monitor

    async def under_way(_request: Request) -> Response:
        """GET /v1/recorder"""
        return JSONResponse({"recordings": monitor().under_way()})

    async def ask(request: Request) -> Response:
        """POST /v1/recorder/{channel}/{what}"""
        what = request.path_params["what"]
        if what not in WHAT:
            raise RecordingError(f"a recording cannot be told to {what}; there are {', '.join(WHAT)}")
        monitor().ask(request.path_params["channel"], what)
        return JSONResponse({"done": what})

    return [Route("/v1/recorder", under_way), Route("/v1/recorder/{channel}/{what}", ask, methods=["POST"])]
