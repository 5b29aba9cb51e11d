"""The API's routes about FastAGI."""

from __future__ import annotations

from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class AgiPart(Protocol):
    """The daemon's FastAGI."""

    def status(self) -> dict[str, Any]:
        """State and counters."""

    def listing(self) -> dict[str, Any]:
        """Every route."""

    def script_listing(self) -> dict[str, Any]:
        """Every script. AGIAppError if their folder cannot be read."""


class Subject(Protocol):
    """Who has it: the daemon."""

    @property
    def agi(self) -> AgiPart:
        """FastAGI."""


def routes(subject: Subject) -> list[Route]:
    """The routes."""

    async def status(_request: Request) -> Response:
        """GET /v1/agi"""
        return JSONResponse(subject.agi.status())

    async def listing(_request: Request) -> Response:
        """GET /v1/agi/routes"""
        return JSONResponse(subject.agi.listing())

    async def scripts(_request: Request) -> Response:
        """GET /v1/agi/scripts"""
        return JSONResponse(subject.agi.script_listing())

    return [Route("/v1/agi", status), Route("/v1/agi/routes", listing), Route("/v1/agi/scripts", scripts)]
