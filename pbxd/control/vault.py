"""Routes of the vault and the audit log."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pbxd.comms.people import Action, Kind, Thing
from pbxd.control.caller import number, only, uid_of
from pbxd.control.listing import listing
from pbxd.errors import CommsError

if TYPE_CHECKING:  # a daemon that keeps nothing does without
    from pbxd.comms.host import CommsHost
    from pbxd.comms.store import Communications

FOREVER = 1 << 62


class Subject(Protocol):
    """Who has the store."""

    @property
    def comms(self) -> CommsHost | None:
        """None if nothing is kept."""


class VaultRoutes:
    """The routes."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    async def _claimed(self, request: Request, action: Action, kind: Kind, what: str) -> Communications:
        """The store, when it is in the audit that `what` was asked for."""
        host = self._host()
        who = host.store.access.caller(uid_of(request))
        await host.store.access.claim(who, action, Thing(kind, what))
        return host.store

    def _host(self) -> CommsHost:
        if self._subject.comms is None:
            raise CommsError("nothing is kept: no service that keeps something is enabled")
        return self._subject.comms

    async def status(self, _request: Request) -> Response:
        """GET /v1/vault"""
        return JSONResponse(self._host().status())

    async def verify(self, request: Request) -> Response:
        """POST /v1/vault/verify"""
        from pbxd.comms import upkeep  # noqa: PLC0415

        store = await self._claimed(request, "run", "vault", "verify")
        return JSONResponse(asdict(await upkeep.verify(store)))

    async def rekey(self, request: Request) -> Response:
        """POST /v1/vault/rekey"""
        from pbxd.comms import upkeep  # noqa: PLC0415

        store = await self._claimed(request, "run", "vault", "rekey")
        return JSONResponse(await upkeep.rekey(store))

    async def export(self, request: Request) -> Response:
        """GET /v1/vault/export: a tar of everything, in the clear"""
        from pbxd.chat.handover import texts  # noqa: PLC0415
        from pbxd.comms.tar import packed  # noqa: PLC0415
        from pbxd.recording.catalogue import Catalogue  # noqa: PLC0415
        from pbxd.recording.handover import whole_vault  # noqa: PLC0415
        from pbxd.voicemail.archive import Archive  # noqa: PLC0415

        store = await self._claimed(request, "export", "vault", "export")
        facts = [Catalogue(store.database, store.vault).facts, Archive(store).facts]
        return StreamingResponse(packed(whole_vault(store, facts, texts(store))), media_type="application/x-tar")

    async def audit(self, request: Request) -> Response:
        """GET /v1/audit?start=&end=&who=&subject=&limit=&count=: a line a row, the newest last"""
        only(request, "start", "end", "who", "subject", "limit", "count")
        audit = (await self._claimed(request, "see", "audit", "")).audit
        query, limit = request.query_params, number(request, "limit", 100)
        start, end = number(request, "start", 0), number(request, "end", FOREVER)
        who, subject = query.get("who", ""), query.get("subject", "")
        rows = (
            asdict(entry) | {"detail": json.loads(entry.detail), "hash": written}
            async for entry, written in audit.entries(start=start, end=end, who=who, subject=subject, newest=limit)
        )
        return listing(request, rows, limit, lambda: audit.count(start=start, end=end, who=who, subject=subject))

    async def audit_verify(self, request: Request) -> Response:
        """POST /v1/audit/verify"""
        store = await self._claimed(request, "run", "audit", "verify")
        head, rows, faults = await store.audit.verify()
        return JSONResponse({"rows": rows, "seq": head.seq, "hash": head.hash, "faults": faults})


def routes(subject: Subject) -> list[Route]:
    """All of them."""
    own = VaultRoutes(subject)
    return [
        Route("/v1/vault", own.status),
        Route("/v1/vault/verify", own.verify, methods=["POST"]),
        Route("/v1/vault/rekey", own.rekey, methods=["POST"]),
        Route("/v1/vault/export", own.export),
        Route("/v1/audit", own.audit),
        Route("/v1/audit/verify", own.audit_verify, methods=["POST"]),
    ]
