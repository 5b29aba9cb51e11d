"""Voicemail's routes of the local API. The user at the other end of the socket asks; each use is in the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pbxd.comms.people import Person
from pbxd.control.caller import only, uid_of
from pbxd.errors import ControlError, SpoolError
from pbxd.voicemail.spool import Box, parse_box, parse_folder

if TYPE_CHECKING:  # it brings the store, which a daemon that keeps nothing does without
    from pbxd.voicemail.mailboxes import Mailboxes
    from pbxd.voicemail.service import Voicemail

TYPES = {"wav": "audio/wav", "WAV": "audio/wav", "wav49": "audio/wav", "ogg": "audio/ogg", "flac": "audio/flac"}


class Subject(Protocol):
    """What these routes act on."""

    @property
    def voicemail(self) -> Voicemail | None:
        """None if pbxd does not look after it."""


def service_of(subject: Subject) -> Voicemail:
    """Voicemail. SpoolError if pbxd does not look after it."""
    if subject.voicemail is None:
        raise SpoolError("pbxd does not look after voice messages: voicemail.enabled is false")
    return subject.voicemail


class VoicemailRoutes:
    """The routes."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def _asked(self, request: Request) -> tuple[Mailboxes, Person]:
        service = service_of(self._subject)
        mailboxes = service.mailboxes
        return mailboxes, service.store.access.caller(uid_of(request))

    async def boxes(self, request: Request) -> Response:
        """GET /v1/voicemail/boxes: as Asterisk has them, and their greetings"""
        mailboxes, who = self._asked(request)
        return JSONResponse({"boxes": await mailboxes.boxes(who)})

    async def messages(self, request: Request) -> Response:
        """GET /v1/voicemail/messages?box=&folder=&archived="""
        only(request, "box", "folder", "archived")
        mailboxes, who = self._asked(request)
        query = request.query_params
        box = parse_box(query["box"]) if query.get("box") else None
        if query.get("archived") == "1":
            return JSONResponse({"messages": await mailboxes.archived(who, box)})
        folder = parse_folder(query["folder"]) if query.get("folder") else ""
        return JSONResponse({"messages": await mailboxes.spooled(who, box, folder)})

    async def show(self, request: Request) -> Response:
        """GET /v1/voicemail/messages/{box}/{id}"""
        mailboxes, who = self._asked(request)
        return JSONResponse(await mailboxes.show(who, *_named(request)))

    async def sound(self, request: Request) -> Response:
        """GET /v1/voicemail/messages/{box}/{id}/sound?download=: as Asterisk wrote it"""
        only(request, "download")
        mailboxes, who = self._asked(request)
        sound = await mailboxes.sound(who, *_named(request), download=request.query_params.get("download") == "1")
        kind = TYPES.get(sound.format, "application/octet-stream")
        return Response(sound.data, media_type=kind, headers={"X-Format": sound.format})

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/voicemail/messages/{box}/{id}"""
        mailboxes, who = self._asked(request)
        box, name = _named(request)
        await mailboxes.delete(who, box, name)
        return JSONResponse({"deleted": name, "box": str(box)})

    async def act(self, request: Request) -> Response:
        """POST …/{box}/{id}/{move?folder= | read | unread | forward?to=&folder= | archive | hold?reason= | release}"""
        mailboxes, who = self._asked(request)
        box, name = _named(request)
        query, action = request.query_params, request.path_params["action"]
        if action == "move":
            return JSONResponse(await mailboxes.move(who, box, name, parse_folder(query.get("folder", ""))))
        if action in ("read", "unread"):
            return JSONResponse(await mailboxes.mark(who, box, name, read=action == "read"))
        if action == "forward":
            folder = parse_folder(query.get("folder", "") or "INBOX")
            return JSONResponse(await mailboxes.forward(who, box, name, parse_box(query.get("to", "")), folder))
        if action == "archive":
            await mailboxes.archive_now(who, box, name)
        elif action == "hold":
            await mailboxes.hold(who, box, name, _reason(request))
        elif action == "release":
            await mailboxes.release(who, box, name)
        else:
            known = "move, read, unread, forward, archive, hold, release"
            raise ControlError(f"{action!r} is nothing that can be done with a message: {known}")
        return JSONResponse(await mailboxes.show(who, box, name))

    async def hold_box(self, request: Request) -> Response:
        """POST /v1/voicemail/boxes/{box}/hold?reason=. DELETE: released"""
        mailboxes, who = self._asked(request)
        box = parse_box(request.path_params["box"])
        if request.method == "DELETE":
            await mailboxes.release(who, box, "")
        else:
            await mailboxes.hold(who, box, "", _reason(request))
        return JSONResponse({"box": str(box)})

    async def export(self, request: Request) -> Response:
        """GET /v1/voicemail/export?person= or ?box=: a tar"""
        from pbxd.comms.tar import packed  # noqa: PLC0415
        from pbxd.voicemail.handover import files  # noqa: PLC0415

        only(request, "person", "box")
        mailboxes, who = self._asked(request)
        of, boxes = self._whose(request)
        found = await mailboxes.export(who, of, boxes)
        return StreamingResponse(packed(files(mailboxes, of, boxes, found)), media_type="application/x-tar")

    def _whose(self, request: Request) -> tuple[str, list[Box]]:
        from pbxd.voicemail.handover import own_boxes  # noqa: PLC0415

        name, wanted = request.query_params.get("person", ""), request.query_params.get("box", "")
        if bool(name) == bool(wanted):
            raise ControlError("say whose messages: person (a name of `people`) or box")
        if wanted:
            return wanted, [parse_box(wanted)]
        people = service_of(self._subject).store.access.people
        person = people.by_name(name)
        if person is None:
            raise ControlError(f"`people` names nobody {name}")
        own = own_boxes(people, person)
        if not own:
            raise ControlError(
                f"{name} has no mailbox of their own; one that several people have is exported by its name"
            )
        return name, own

    async def greetings(self, request: Request) -> Response:
        """GET /v1/voicemail/greetings/{box}: what for, and how large"""
        mailboxes, who = self._asked(request)
        box = parse_box(request.path_params["box"])
        return JSONResponse({"box": str(box), "greetings": await mailboxes.greetings(who, box)})

    async def greet(self, request: Request) -> Response:
        """PUT /v1/voicemail/greetings/{box}/{kind}: a sound file. DELETE: none any more"""
        from pbxd.voicemail.sounds import LARGEST_UPLOAD  # noqa: PLC0415

        mailboxes, who = self._asked(request)
        box, kind = parse_box(request.path_params["box"]), request.path_params["kind"]
        data = await _body(request, LARGEST_UPLOAD) if request.method == "PUT" else None
        return JSONResponse({"box": str(box), "greetings": await mailboxes.set_greeting(who, box, kind, data)})


def routes(subject: Subject) -> list[Route]:
    """All of them."""
    own = VoicemailRoutes(subject)
    message = "/v1/voicemail/messages/{box}/{id}"
    return [
        Route("/v1/voicemail/boxes", own.boxes),
        Route("/v1/voicemail/boxes/{box}/hold", own.hold_box, methods=["POST", "DELETE"]),
        Route("/v1/voicemail/export", own.export),
        Route("/v1/voicemail/messages", own.messages),
        Route(message, own.show),
        Route(message, own.delete, methods=["DELETE"]),
        Route(message + "/sound", own.sound),
        Route(message + "/{action}", own.act, methods=["POST"]),
        Route("/v1/voicemail/greetings/{box}", own.greetings),
        Route("/v1/voicemail/greetings/{box}/{kind}", own.greet, methods=["PUT", "DELETE"]),
    ]


def _named(request: Request) -> tuple[Box, str]:
    return parse_box(request.path_params["box"]), request.path_params["id"]


def _reason(request: Request) -> str:
    reason = request.query_params.get("reason", "").strip()
    if not reason:
        raise ControlError("a hold needs a reason: which case it is for")
    return reason


async def _body(request: Request, limit: int) -> bytes:
    """The body. ControlError if it is longer than `limit` bytes, as soon as that is known."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > limit:
            raise ControlError(f"the file has more than {limit // 1024**2} MiB")
    return bytes(data)
