"""Routes of people: all that is kept of one, handed over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from pbxd.control.caller import only, uid_of
from pbxd.errors import CommsError

if TYPE_CHECKING:  # a daemon that keeps nothing does without
    from pbxd.comms.handover import Source
    from pbxd.comms.host import CommsHost


class Subject(Protocol):
    """Who keeps it."""

    @property
    def comms(self) -> CommsHost | None:
        """None if nothing is kept."""

    def sources(self) -> Mapping[str, Source | None]:
        """The stores; None for one that is off. CommsError if one is not open yet."""


def routes(subject: Subject) -> list[Route]:
    """The routes."""

    async def export(request: Request) -> Response:
        """GET /v1/people/{name}/export: a tar"""
        only(request)
        if subject.comms is None:
            raise CommsError("nothing is kept: neither recordings, voicemail nor chats are enabled")
        from pbxd.comms.handover import all_of  # noqa: PLC0415
        from pbxd.comms.tar import packed  # noqa: PLC0415

        store = subject.comms.store
        who = store.access.caller(uid_of(request))
        files = await all_of(store, who, request.path_params["name"], subject.sources())
        return StreamingResponse(packed(files), media_type="application/x-tar")

    return [Route("/v1/people/{name}/export", export)]
