"""Routes of recordings that are stored. The user at the other end of the socket asks; each use is in the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pbxd.comms.people import Person
from pbxd.control.caller import number, only, uid_of
from pbxd.control.listing import listing
from pbxd.errors import ControlError, RecordingError

if TYPE_CHECKING:  # it brings the store, which a daemon that keeps nothing does without
    from pbxd.recording.library import Library
    from pbxd.recording.service import RecordingService

MEDIA = {"opus": "audio/ogg", "flac": "audio/flac", "wav": "audio/wav"}
FORMAT = {"opus": "ogg", "flac": "flac", "wav": "wav"}
FOREVER = 1 << 62


class Subject(Protocol):
    """Who has them."""

    @property
    def recordings(self) -> RecordingService | None:
        """None if calls are not recorded."""


def service_of(subject: Subject) -> RecordingService:
    """The recordings. RecordingError if calls are not recorded."""
    if subject.recordings is None:
        raise RecordingError("calls are not recorded: recording.enabled is false")
    return subject.recordings


class RecordingRoutes:
    """The routes."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def _asked(self, request: Request) -> tuple[Library, Person]:
        service = service_of(self._subject)
        return service.library, service.store.access.caller(uid_of(request))

    async def listing(self, request: Request) -> Response:
        """GET /v1/recordings?start=&end=&number=&queue=&call=&class=&held=&limit=&order=&count=: a line a recording"""
        from pbxd.recording.catalogue import Filter  # noqa: PLC0415

        only(request, "start", "end", "number", "queue", "call", "class", "held", "limit", "order", "count")
        query = request.query_params
        library, who = self._asked(request)
        wanted = Filter(
            start=number(request, "start", 0), end=number(request, "end", FOREVER), number=query.get("number", ""),
            queue=query.get("queue", ""), call=query.get("call", ""), held=query.get("held") == "1",
            kind=query.get("class", ""),
            limit=number(request, "limit", 100), newest_first=query.get("order", "newest") != "oldest",
        )  # fmt: skip
        return listing(request, library.entries(who, wanted), wanted.limit, lambda: library.count(who, wanted))

    async def show(self, request: Request) -> Response:
        """GET /v1/recordings/{id}"""
        library, who = self._asked(request)
        return JSONResponse(await library.show(who, request.path_params["id"]))

    async def sound(self, request: Request) -> Response:
        """GET /v1/recordings/{id}/sound?from=&format=&download="""
        only(request, "from", "format", "download")
        query = request.query_params
        library, who = self._asked(request)
        start, kind = _seconds(query.get("from", "0")), query.get("format", "")
        if kind not in ("", "wav"):
            raise ControlError(f"format is {kind!r}; it is wav, or nothing for what is stored")
        action, detail = "download" if query.get("download") == "1" else "play", {"from": start} if start else {}
        entry, file = await library.open(who, request.path_params["id"], action, detail)  # type: ignore[arg-type]
        if start or kind:
            return StreamingResponse(library.wav(file, start), media_type=MEDIA["wav"], headers={"X-Format": "wav"})
        headers = {"X-Format": FORMAT[entry.codec]}
        return StreamingResponse(library.sound(file), media_type=MEDIA[entry.codec], headers=headers)

    async def export(self, request: Request) -> Response:
        """GET /v1/recordings/export?person= or ?number=: a zip"""
        from pbxd.comms.zipping import zipped  # noqa: PLC0415
        from pbxd.recording.handover import bundle, files  # noqa: PLC0415

        only(request, "person", "number")
        library, who = self._asked(request)
        of, numbers = self._whose(request)
        # What an outside caller says that its number is makes nothing a person's own; root looks for such a number by itself.
        found = await bundle(library, who, of, numbers, claimed=bool(request.query_params.get("number")))
        return StreamingResponse(zipped(files(library, found, of)), media_type="application/zip")

    def _whose(self, request: Request) -> tuple[str, frozenset[str]]:
        name, wanted = request.query_params.get("person", ""), request.query_params.get("number", "")
        if bool(name) == bool(wanted):
            raise ControlError("say whose recordings: person (a name of `people`) or number")
        if wanted:
            return wanted, frozenset({wanted})
        person = service_of(self._subject).store.access.people.by_name(name)
        if person is None:
            raise ControlError(f"`people` names nobody {name}")
        return name, person.extensions

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/recordings/{id}"""
        library, who = self._asked(request)
        await library.delete(who, request.path_params["id"])
        return JSONResponse({"deleted": request.path_params["id"]})

    async def hold(self, request: Request) -> Response:
        """POST /v1/recordings/{id}/hold?reason="""
        library, who = self._asked(request)
        reason = request.query_params.get("reason", "").strip()
        if not reason:
            raise ControlError("a hold needs a reason: which case it is for")
        await library.hold(who, request.path_params["id"], reason)
        return JSONResponse({"held": request.path_params["id"]})

    async def classify(self, request: Request) -> Response:
        """POST /v1/recordings/{id}/class?name="""
        library, who = self._asked(request)
        kind = request.query_params.get("name", "")
        await library.classify(who, request.path_params["id"], kind)
        return JSONResponse({"class": kind})

    async def release(self, request: Request) -> Response:
        """POST /v1/recordings/{id}/release"""
        library, who = self._asked(request)
        await library.release(who, request.path_params["id"])
        return JSONResponse({"released": request.path_params["id"]})


def routes(subject: Subject) -> list[Route]:
    """All of them."""
    own = RecordingRoutes(subject)
    return [
        Route("/v1/recordings", own.listing),
        Route("/v1/recordings/export", own.export),
        Route("/v1/recordings/{id}", own.show),
        Route("/v1/recordings/{id}", own.delete, methods=["DELETE"]),
        Route("/v1/recordings/{id}/sound", own.sound),
        Route("/v1/recordings/{id}/hold", own.hold, methods=["POST"]),
        Route("/v1/recordings/{id}/class", own.classify, methods=["POST"]),
        Route("/v1/recordings/{id}/release", own.release, methods=["POST"]),
    ]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError as error:
        raise ControlError(f"from is {text!r}, not a number of seconds") from error
    if not 0 <= seconds < 1e6:
        raise ControlError(f"from is {text!r}: seconds from the beginning")
    return seconds
