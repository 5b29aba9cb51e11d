"""Routes of recordings that are stored: what there is, their sound, their end. The user at the other end of the socket asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pbxd.errors import ControlError, RecordingError

if TYPE_CHECKING:  # it brings libraries for sound, which a daemon that records nothing does without
    from pbxd.recording.service import Recordings

MEDIA = {"opus": "audio/ogg", "flac": "audio/flac"}
LONGEST = 1000  # recordings in one listing


class Subject(Protocol):
    """Who has them."""

    @property
    def recordings(self) -> Recordings | None:
        """None if calls are not recorded."""


def uid_of(request: Request) -> int:
    """The user id of the peer, as the server took it from the kernel."""
    if request.client is None or not request.client.host.isdecimal():
        raise ControlError("it is not known who asks")
    return int(request.client.host)


def number(request: Request, name: str, default: int) -> int:
    """A whole number of the query. ControlError if it is none."""
    text = request.query_params.get(name, str(default))
    if not text.isdecimal():
        raise ControlError(f"{name} is {text!r}, not a whole number")
    return int(text)


def routes(subject: Subject) -> list[Route]:
    """The routes."""

    def held() -> Recordings:
        if subject.recordings is None:
            raise RecordingError("calls are not recorded: recording.enabled is false")
        return subject.recordings

    async def listing(request: Request) -> Response:
        """GET /v1/recordings?start=&end=&limit="""
        who = held().caller(uid_of(request))
        limit = min(LONGEST, number(request, "limit", 100))
        found = await held().listing(who, number(request, "start", 0), number(request, "end", 1 << 62), limit)
        return JSONResponse({"recordings": found})

    async def one(request: Request) -> Response:
        """GET and DELETE /v1/recordings/{id}"""
        who, name = held().caller(uid_of(request)), request.path_params["id"]
        if request.method == "DELETE":
            await held().delete(who, name)
            return JSONResponse({"deleted": name})
        return JSONResponse(await held().facts(who, name))

    async def sound(request: Request) -> Response:
        """GET /v1/recordings/{id}/sound"""
        file, codec = await held().sound(held().caller(uid_of(request)), request.path_params["id"])
        with file:
            return Response(file.read(), media_type=MEDIA[codec])

    return [
        Route("/v1/recordings", listing),
        Route("/v1/recordings/{id}", one, methods=["GET", "DELETE"]),
        Route("/v1/recordings/{id}/sound", sound),
    ]
