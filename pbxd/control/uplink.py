"""Routes of the link to the vendor: how it stands, what would go, what went, and the customer's switches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pbxd.control.caller import number
from pbxd.control.door import asked_of
from pbxd.errors import ControlError
from pbxd.uplink.outbox import LEDGER
from pbxd.uplink.service import PBXCTL, UplinkService

FOREVER = 1 << 62
LARGEST = 1024 * 1024  # bytes of a request's body


class Subject(Protocol):
    """Who has the uplink."""

    @property
    def uplink(self) -> UplinkService:
        """It."""


class UplinkRoutes:
    """The routes."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    async def status(self, _request: Request) -> Response:
        """GET /v1/uplink"""
        return JSONResponse(self._subject.uplink.status())

    async def preview(self, _request: Request) -> Response:
        """GET /v1/uplink/preview"""
        return JSONResponse({"entries": self._subject.uplink.preview()})

    async def entry(self, request: Request) -> Response:
        """GET /v1/uplink/entries/{number}: its bytes"""
        wanted = request.path_params["number"]
        if not wanted.isdecimal():
            raise ControlError(f"{wanted!r} is no number of an entry")
        return Response(self._subject.uplink.body(int(wanted)), media_type="application/json")

    async def ledger(self, request: Request) -> Response:
        """GET /v1/uplink/ledger?start=&limit=: its lines, from line `start` on"""
        start, limit = (number(request, name, default) for name, default in (("start", 0), ("limit", FOREVER)))
        path = self._subject.uplink.ledger.folder / LEDGER
        return StreamingResponse(lines(path, start, limit), media_type="application/x-ndjson")

    async def verify(self, request: Request) -> Response:
        """POST /v1/uplink/verify"""
        found = await body_of(request) if int(request.headers.get("content-length", 0)) else []
        if not isinstance(found, list) or not all(isinstance(note, str) for note in found):
            raise ControlError("the body is a list of checkpoints, each a text")
        return JSONResponse(asdict(await self._subject.uplink.verify(found)))

    async def on(self, request: Request) -> Response:
        """POST /v1/uplink/on"""
        return JSONResponse(await self._subject.uplink.switch(on=True, by=by(request)))

    async def off(self, request: Request) -> Response:
        """POST /v1/uplink/off"""
        return JSONResponse(await self._subject.uplink.switch(on=False, by=by(request)))

    async def destroy_unsent(self, request: Request) -> Response:
        """POST /v1/uplink/destroy-unsent"""
        return JSONResponse({"destroyed": await self._subject.uplink.destroy_unsent(by(request))})

    async def application(self, _request: Request) -> Response:
        """POST /v1/uplink/application"""
        return JSONResponse(await self._subject.uplink.apply_for())

    async def enrolled(self, request: Request) -> Response:
        """POST /v1/uplink/enrolled"""
        answer = await body_of(request)
        if not isinstance(answer, dict):
            raise ControlError("the body is the hub's answer, an object")
        await self._subject.uplink.take_in(answer, by(request))
        return JSONResponse(self._subject.uplink.status())


def by(request: Request) -> str:
    """Who asks, as the ledger says it."""
    return f"{PBXCTL} ({asked_of(request).who.name})"


async def body_of(request: Request) -> Any:  # noqa: ANN401 - JSON
    """The JSON of a request. ControlError if it is none, or too long."""
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > LARGEST:
            raise ControlError(f"the body has more than {LARGEST} bytes")
    try:
        return json.loads(found)
    except ValueError as error:
        raise ControlError(f"the body is no JSON: {error}") from error


def lines(path: Path, start: int, limit: int) -> Iterator[bytes]:
    """Lines of a file."""
    with path.open("rb") as file:
        yield from islice(file, start, start + limit)


def routes(subject: Subject) -> list[Route]:
    """The routes."""
    own = UplinkRoutes(subject)
    return [
        Route("/v1/uplink", own.status),
        Route("/v1/uplink/preview", own.preview),
        Route("/v1/uplink/entries/{number}", own.entry),
        Route("/v1/uplink/ledger", own.ledger),
        Route("/v1/uplink/verify", own.verify, methods=["POST"]),
        Route("/v1/uplink/on", own.on, methods=["POST"]),
        Route("/v1/uplink/off", own.off, methods=["POST"]),
        Route("/v1/uplink/destroy-unsent", own.destroy_unsent, methods=["POST"]),
        Route("/v1/uplink/application", own.application, methods=["POST"]),
        Route("/v1/uplink/enrolled", own.enrolled, methods=["POST"]),
    ]
