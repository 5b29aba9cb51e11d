"""Routes of chats. The user at the other end of the socket asks; what they do with others' chats is in the audit log."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pbxd.comms.people import Person
from pbxd.control.caller import body, number, only, uid_of
from pbxd.control.listing import lines, listing
from pbxd.errors import ControlError

if TYPE_CHECKING:  # it brings the store, which a daemon that keeps nothing does without
    from pbxd.chat.message import Message
    from pbxd.chat.service import ChatService
    from pbxd.chat.watchers import Event

LONGEST_TEXT = 1024**2  # bytes of a request; what a message may have is chat.longest
FOREVER = 1 << 62


class Subject(Protocol):
    """Who has them."""

    @property
    def chat(self) -> ChatService | None:
        """None if there are no chats."""


class ChatRoutes:
    """The routes."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def _asked(self, request: Request, *known: str) -> tuple[ChatService, Person]:
        only(request, *known)
        if (service := self._subject.chat) is None:
            raise ControlError("there are no chats: chat.enabled is false")
        return service, service.caller(uid_of(request))

    async def rooms(self, request: Request) -> Response:
        """GET /v1/chat/rooms"""
        service, who = self._asked(request)
        return JSONResponse({"rooms": await service.rooms(who)})

    async def show(self, request: Request) -> Response:
        """GET /v1/chat/rooms/{room}"""
        service, who = self._asked(request)
        return JSONResponse(await service.show(who, request.path_params["room"]))

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/chat/rooms/{room}"""
        service, who = self._asked(request)
        await service.delete(who, request.path_params["room"])
        return JSONResponse({"deleted": request.path_params["room"]})

    async def history(self, request: Request) -> Response:
        """GET /v1/chat/rooms/{room}/messages?after=&before=&limit=&order=&count=: a line a message"""
        service, who = self._asked(request, "after", "before", "limit", "order", "count")
        room, limit = request.path_params["room"], number(request, "limit", 50)
        after, before = number(request, "after", 0), number(request, "before", FOREVER)
        newest_first = request.query_params.get("order", "newest") != "oldest"
        found = await service.history(who, room, after=after, before=before, limit=limit, newest_first=newest_first)
        return listing(request, _facts(found), limit, lambda: service.length(who, room, after=after, before=before))

    async def act(self, request: Request) -> Response:
        """POST /v1/chat/rooms/{room}/{read?upto= | hold?reason= | release}"""
        service, who = self._asked(request, "upto", "reason")
        room, what = request.path_params["room"], request.path_params["what"]
        if what == "read":
            await service.mark_read(who, room, number(request, "upto", FOREVER))
        elif what == "hold":
            reason = request.query_params.get("reason", "").strip()
            if not reason:
                raise ControlError("a hold needs a reason: which case it is for")
            await service.hold(who, room, reason)
        elif what == "release":
            await service.release(who, room)
        else:
            raise ControlError(f"{what!r} is nothing that can be done with a room: read, hold, release")
        return JSONResponse({what: room})

    async def send(self, request: Request) -> Response:
        """POST /v1/chat/messages?to=&token=: the body is the text"""
        service, who = self._asked(request, "to", "token")
        text = (await body(request, LONGEST_TEXT, "message")).decode("utf-8", "replace")
        query = request.query_params
        sent = await service.send(who, query.get("to", ""), text, token=query.get("token", ""))
        return JSONResponse(sent.as_json())

    async def delete_message(self, request: Request) -> Response:
        """DELETE /v1/chat/messages/{number}"""
        service, who = self._asked(request)
        await service.delete_message(who, request.path_params["number"])
        return JSONResponse({"deleted": request.path_params["number"]})

    async def attach(self, request: Request) -> Response:
        """POST /v1/chat/attachments?to=&name=&type=&text=&token=: the body is the file"""
        service, who = self._asked(request, "to", "name", "type", "text", "token")
        data = await body(request, service.settings().attachment, "attachment")
        query = request.query_params
        sent = await service.attach(
            who, query.get("to", ""), query.get("name", ""), query.get("type", ""), data, text=query.get("text", ""),
            token=query.get("token", ""),
        )  # fmt: skip
        return JSONResponse(sent.as_json())

    async def download(self, request: Request) -> Response:
        """GET /v1/chat/attachments/{id}"""
        service, who = self._asked(request)
        file, data = await service.download(who, request.path_params["id"])
        # Never as what its sender says that it is: a browser would run it.
        headers = {
            "X-Name": json.dumps(file.name),
            "Content-Disposition": "attachment",
            "X-Content-Type-Options": "nosniff",
        }
        return Response(data, media_type="application/octet-stream", headers=headers)

    async def watch(self, request: Request) -> Response:
        """GET /v1/chat/watch?room=: a line an event, as it happens"""
        service, who = self._asked(request, "room")
        return _streamed(await service.watch(who, request.query_params.get("room", "")))

    async def search(self, request: Request) -> Response:
        """GET /v1/chat/search?text=&room=&start=&end=: a line a message"""
        service, who = self._asked(request, "text", "room", "start", "end")
        query = request.query_params
        return _streamed(
            await service.search(
                who, query.get("text", ""), room=query.get("room", ""), start=number(request, "start", 0),
                end=number(request, "end", FOREVER),
            )
        )  # fmt: skip

    async def export(self, request: Request) -> Response:
        """GET /v1/chat/export?person= or ?room=: a zip"""
        from pbxd.chat import handover  # noqa: PLC0415
        from pbxd.comms.zipping import zipped  # noqa: PLC0415

        service, who = self._asked(request, "person", "room")
        person, room = request.query_params.get("person", ""), request.query_params.get("room", "")
        if bool(person) == bool(room):
            raise ControlError("say what: person (a name of `people`) or room")
        files = await (handover.of_person(service, who, person) if person else handover.of_room(service, who, room))
        return StreamingResponse(zipped(files), media_type="application/zip")


def routes(subject: Subject) -> list[Route]:
    """All of them."""
    own = ChatRoutes(subject)
    return [
        Route("/v1/chat/rooms", own.rooms),
        Route("/v1/chat/rooms/{room}", own.show),
        Route("/v1/chat/rooms/{room}", own.delete, methods=["DELETE"]),
        Route("/v1/chat/rooms/{room}/messages", own.history),
        Route("/v1/chat/rooms/{room}/{what}", own.act, methods=["POST"]),
        Route("/v1/chat/messages", own.send, methods=["POST"]),
        Route("/v1/chat/messages/{number:int}", own.delete_message, methods=["DELETE"]),
        Route("/v1/chat/attachments", own.attach, methods=["POST"]),
        Route("/v1/chat/attachments/{id}", own.download),
        Route("/v1/chat/watch", own.watch),
        Route("/v1/chat/search", own.search),
        Route("/v1/chat/export", own.export),
    ]


def _streamed(values: AsyncIterator[Message] | AsyncIterator[Event]) -> Response:
    return StreamingResponse(lines(_facts(values)), media_type="application/x-ndjson")


async def _facts(values: AsyncIterator[Message] | AsyncIterator[Event]) -> AsyncIterator[dict[str, Any]]:
    value: Any
    async for value in values:
        yield value.as_json()
