"""Routes of what the vendor may ask: support tickets, proposed changes, messages."""

from __future__ import annotations

import json
import pwd
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pbxd.control.caller import only, uid_of
from pbxd.errors import ControlError, SupportError

if TYPE_CHECKING:
    from pbxd.uplink.reception import Reception


class Subject(Protocol):
    """Who has it: the daemon."""

    @property
    def reception(self) -> Reception:
        """What the vendor may ask."""

    def whereabouts(self) -> dict[str, Any]:
        """`config` (file), `credentials` (folder or ""), `pid`, `kept` (whether there is a store of communications)."""


def caller(request: Request) -> str:
    """The user of this machine who asks."""
    uid = uid_of(request)
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


class SupportRoutes:
    """The routes."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    async def tickets(self, request: Request) -> Response:
        """GET /v1/support: all tickets. POST …?scope=&reason=&seconds=&note=: opens one"""
        desk = self._subject.reception.desk
        if request.method == "POST":
            only(request, "scope", "reason", "seconds", "note")
            query = request.query_params
            try:
                seconds = float(query.get("seconds", ""))
            except ValueError as error:
                raise ControlError("seconds is no number") from error
            ticket = await desk.open(
                query.get("scope", ""), query.get("reason", ""), query.get("note", ""), caller(request), seconds
            )
            return JSONResponse(desk.show(ticket.id) | {"status": desk.status(), "box": self._box()})
        names = list(desk.tickets.all())
        return JSONResponse({"tickets": [desk.show(name) for name in names]})

    def _box(self) -> dict[str, Any]:
        uplink = self._subject.reception.uplink
        enrolment = uplink.enrolment
        return {} if enrolment is None else {"id": enrolment.box, "hub": enrolment.hub, "on": uplink.on}

    async def ticket(self, request: Request) -> Response:
        """GET /v1/support/{ticket}"""
        return JSONResponse(self._subject.reception.desk.show(request.path_params["ticket"]))

    async def end(self, request: Request) -> Response:
        """POST /v1/support/{ticket}/end"""
        desk = self._subject.reception.desk
        ticket = await desk.end(request.path_params["ticket"], caller(request))
        return JSONResponse(desk.show(ticket.id))

    async def watch(self, request: Request) -> Response:
        """GET /v1/support/{ticket}/watch: a line for each line that is recorded, until the ticket ends"""
        from pbxd.uplink.support.watching import watch  # noqa: PLC0415 - nobody watches on most boxes

        desk, name = self._subject.reception.desk, request.path_params["ticket"]
        desk.tickets.find(name)

        async def lines() -> AsyncIterator[bytes]:
            async for line in watch(desk.tickets, name, lambda: desk.status()["ticket"] == name):
                yield json.dumps(line, ensure_ascii=False).encode() + b"\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def recording(self, request: Request) -> Response:
        """GET /v1/support/{ticket}/recordings/{session}: asciicast v2"""
        desk = self._subject.reception.desk
        number = request.path_params["session"]
        path = desk.tickets.recording(request.path_params["ticket"], int(number) if number.isdecimal() else 0)
        if not path.exists():
            raise SupportError("there is no such recording; `pbxctl support show TICKET` lists them")
        return FileResponse(path, media_type="application/x-asciicast")

    async def proposals(self, _request: Request) -> Response:
        """GET /v1/uplink/proposals"""
        found = self._subject.reception.administration.proposals.all()
        return JSONResponse({"proposals": [asdict(one) for one in found]})

    async def proposal(self, request: Request) -> Response:
        """GET /v1/uplink/proposals/{id}: one, and what it would change as things stand now"""
        administration = self._subject.reception.administration
        found = administration.proposals.find(request.path_params["id"])
        if found.state == "asked":
            found = await administration.look(found)
        return JSONResponse(asdict(found))

    async def answer(self, request: Request) -> Response:
        """POST /v1/uplink/proposals/{id}/{answer}: accept, refuse or undo"""
        administration, by = self._subject.reception.administration, caller(request)
        name, word = request.path_params["id"], request.path_params["answer"]
        match word:
            case "accept":
                found = await administration.accept(name, by)
            case "refuse":
                found = administration.refuse(name, by)
            case "undo":
                found = await administration.undo(name, by)
            case _:
                raise ControlError(f"{word}: a proposal is accepted, refused or undone")
        return JSONResponse(asdict(found))

    async def policy(self, _request: Request) -> Response:
        """GET /v1/policy: where to look, for `pbxctl policy verify`"""
        return JSONResponse(self._subject.whereabouts())

    async def messages(self, _request: Request) -> Response:
        """GET /v1/uplink/messages"""
        return JSONResponse({"messages": self._subject.reception.messages.all()})


def routes(subject: Subject) -> list[Route]:
    """All of them."""
    own = SupportRoutes(subject)
    return [
        Route("/v1/support", own.tickets, methods=["GET", "POST"]),
        Route("/v1/support/{ticket}", own.ticket),
        Route("/v1/support/{ticket}/end", own.end, methods=["POST"]),
        Route("/v1/support/{ticket}/watch", own.watch),
        Route("/v1/support/{ticket}/recordings/{session}", own.recording),
        Route("/v1/uplink/proposals", own.proposals),
        Route("/v1/uplink/proposals/{id}", own.proposal),
        Route("/v1/uplink/proposals/{id}/{answer}", own.answer, methods=["POST"]),
        Route("/v1/uplink/messages", own.messages),
        Route("/v1/policy", own.policy),
    ]
