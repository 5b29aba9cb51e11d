"""Voicemail's routes of the local API."""

from __future__ import annotations

from dataclasses import asdict
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pbxd.errors import ControlError
from pbxd.voicemail.service import LARGEST_UPLOAD, Voicemail, as_json
from pbxd.voicemail.spool import Box, parse_box, parse_folder

TYPES = {"wav": "audio/wav", "WAV": "audio/wav", "wav49": "audio/wav", "ogg": "audio/ogg", "flac": "audio/flac"}


class Subject(Protocol):
    """What these routes act on."""

    voicemail: Voicemail


def routes(subject: Subject) -> list[Route]:
    """All of them."""
    api = VoicemailApi(subject)
    message = "/v1/voicemail/messages/{box}/{id}"
    return [
        Route("/v1/voicemail/boxes", api.boxes),
        Route("/v1/voicemail/messages", api.messages),
        Route(message, api.show),
        Route(message, api.delete, methods=["DELETE"]),
        Route(message + "/sound", api.sound),
        Route(message + "/{action}", api.act, methods=["POST"]),
        Route("/v1/voicemail/greetings/{box}", api.greetings),
        Route("/v1/voicemail/greetings/{box}/{kind}", api.greet, methods=["PUT", "DELETE"]),
    ]


class VoicemailApi:
    """The routes."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    @property
    def voicemail(self) -> Voicemail:
        """What they act on."""
        return self.subject.voicemail

    async def boxes(self, _request: Request) -> Response:
        """GET /v1/voicemail/boxes: as Asterisk has them, and their greetings"""
        found = []
        for holder in await self.voicemail.operations.holders():
            greetings = self.voicemail.index.disk.greetings(holder.box)
            found.append({**asdict(holder), "box": str(holder.box), "greetings": sorted(greetings)})
        return JSONResponse({"boxes": found})

    async def messages(self, request: Request) -> Response:
        """GET /v1/voicemail/messages?box=&folder="""
        box, folder = request.query_params.get("box", ""), request.query_params.get("folder", "")
        found = self.voicemail.index.messages(parse_box(box) if box else None, parse_folder(folder) if folder else "")
        return JSONResponse({"messages": [as_json(message) for message in found]})

    async def show(self, request: Request) -> Response:
        """GET /v1/voicemail/messages/{box}/{id}"""
        return JSONResponse(as_json(self.voicemail.index.message(*_named(request))))

    async def sound(self, request: Request) -> Response:
        """GET /v1/voicemail/messages/{box}/{id}/sound: as Asterisk wrote it"""
        sound = await self.voicemail.sound(*_named(request))
        kind = TYPES.get(sound.format, "application/octet-stream")
        return Response(sound.data, media_type=kind, headers={"X-Format": sound.format})

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/voicemail/messages/{box}/{id}"""
        return JSONResponse(as_json(await self.voicemail.operations.remove(*_named(request))))

    async def act(self, request: Request) -> Response:
        """POST /v1/voicemail/messages/{box}/{id}/{move?folder= | read | unread | forward?to=&folder=}"""
        box, name = _named(request)
        operations, query = self.voicemail.operations, request.query_params
        action = request.path_params["action"]
        if action == "move":
            done = await operations.move(box, name, parse_folder(query.get("folder", "")))
        elif action in ("read", "unread"):
            done = await operations.mark(box, name, read=action == "read")
        elif action == "forward":
            folder = parse_folder(query.get("folder", "") or "INBOX")
            done = await operations.forward(box, name, parse_box(query.get("to", "")), folder)
        else:
            raise ControlError(f"{action!r} is nothing that can be done with a message: move, read, unread, forward")
        return JSONResponse(as_json(done))

    async def greetings(self, request: Request) -> Response:
        """GET /v1/voicemail/greetings/{box}: what for, and how large"""
        box = parse_box(request.path_params["box"])
        return JSONResponse({"box": str(box), "greetings": self.voicemail.index.disk.greetings(box)})

    async def greet(self, request: Request) -> Response:
        """PUT /v1/voicemail/greetings/{box}/{kind}: a sound file. DELETE: none any more"""
        box, kind = parse_box(request.path_params["box"]), request.path_params["kind"]
        data = await _body(request, LARGEST_UPLOAD) if request.method == "PUT" else None
        await self.voicemail.set_greeting(box, kind, data)
        return JSONResponse({"box": str(box), "greetings": self.voicemail.index.disk.greetings(box)})


def _named(request: Request) -> tuple[Box, str]:
    return parse_box(request.path_params["box"]), request.path_params["id"]


async def _body(request: Request, limit: int) -> bytes:
    """The body. ControlError if it is longer than `limit` bytes, as soon as that is known."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > limit:
            raise ControlError(f"the file has more than {limit // 1024**2} MiB")
    return bytes(data)
