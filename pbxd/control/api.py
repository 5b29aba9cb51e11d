"""The local API: HTTP over a Unix socket, for pbxctl and later for the web page and support. docs/control.md lists it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pbxd.calls.record import as_json
from pbxd.comms.people import Directory
from pbxd.control import agi, chat, people, recorder, recordings, support, uplink, vault, voicemail
from pbxd.control.door import Door, asked_of
from pbxd.control.listing import lines, listing
from pbxd.control.roles import OWNERS, reads_all
from pbxd.control.views import short, verdicts
from pbxd.errors import ConfigError, ControlError, OutOfStep, PbxdError
from pbxd.importing import ImportBatch
from pbxd.reports.table import as_json as report_json
from pbxd.stats.queries import CallFilter, Queries
from pbxd.stats.question import Question
from pbxd.stats.report import Report
from pbxd.watchers import Watchers

LARGEST_LIMIT = 1_000_000_000  # "all": a listing is streamed, so its length costs no memory
SOURCE_ID = re.compile("[0-9a-f]{16,64}")
LONGEST_POSITION = 64  # characters: a time with its zone is the longest


class Communications(
    agi.Subject,
    chat.Subject,
    people.Subject,
    recorder.Subject,
    recordings.Subject,
    vault.Subject,
    voicemail.Subject,
    Protocol,
):
    """The services of what people say, leave and write."""

    @property
    def people(self) -> Directory:
        """Those that the configuration in force names."""


class Subject(support.Subject, uplink.Subject, Protocol):
    """What the API tells of and acts on: the daemon."""

    watchers: Watchers

    @property
    def communications(self) -> Communications:
        """Recording, voicemail, FastAGI and the store."""

    @property
    def queries(self) -> Queries:
        """The store, for reading."""

    def status(self) -> dict[str, Any]:
        """State of every part, as `pbxctl status` shows it."""

    def live(self, numbers: frozenset[str] | None = None, teams: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Calls in progress, queues and endpoints; with `numbers` those of these extensions, and of the queues of `teams`."""

    async def reload(self) -> list[str]:
        """Read the configuration again; the keys that changed. ConfigError if it has mistakes."""

    async def doctor(self) -> list[dict[str, str]]:
        """Findings: what was looked at, how it stands, and the remedy."""

    async def import_progress(self, source: str) -> dict[str, Any]:
        """How far a history from elsewhere has been read."""

    async def import_calls(self, batch: ImportBatch, body: AsyncIterator[bytes]) -> dict[str, Any]:
        """Read a batch of such a history into the store. OutOfStep if it does not follow what is committed."""

    async def report(self, question: Question) -> Report:
        """Make a report. ReportError if there is none such."""

    async def stats_status(self) -> dict[str, Any]:
        """Where the rollups stand."""

    async def stats_rebuild(self) -> dict[str, Any]:
        """Make all rollups again."""

    async def stats_purge(self, *, dry_run: bool) -> dict[str, Any]:
        """Delete what is older than it is to be kept, or say what would go."""

    def metrics(self) -> bytes:
        """All metrics in Prometheus' text format."""


def call_filter(query: Mapping[str, str]) -> CallFilter:
    """The filter that a query string names. ControlError says which parameter is wrong."""
    known = {"start", "end", "number", "extension", "queue", "disposition", "direction", "limit", "order", "count"}
    unknown = sorted(set(query) - known)
    if unknown:
        raise ControlError(f"unknown parameter {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    values: dict[str, Any] = {name: query[name] for name in known & set(query) - {"order", "count"}}
    for name in ("start", "end", "limit"):
        if name in values:
            if not values[name].lstrip("-").isdecimal():
                raise ControlError(f"{name} is {values[name]!r}, not a whole number")
            values[name] = int(values[name])
    values["limit"] = min(LARGEST_LIMIT, values.get("limit", CallFilter().limit))
    return CallFilter(**values, newest_first=query.get("order", "newest") != "oldest")


def import_batch(query: Mapping[str, str]) -> ImportBatch:
    """The batch of an import that a query string names. ControlError says which parameter is wrong."""
    source, after, position = (query.get(name, "") for name in ("source", "after", "position"))
    if not SOURCE_ID.fullmatch(source):
        raise ControlError("source is missing, or is no hash: 16 to 64 hexadecimal digits")
    if max(len(after), len(position)) > LONGEST_POSITION:
        raise ControlError(f"a position has more than {LONGEST_POSITION} characters")
    return ImportBatch(source, after, position, query.get("last") == "1", query.get("again") == "1")


def question_of(name: str, query: Mapping[str, str]) -> Question:
    """The question that a query string asks. ControlError says which parameter is wrong."""
    times = {}
    for key in ("start", "end"):
        if not query.get(key, "").isdecimal():
            raise ControlError(f"{key} is {query.get(key)!r}, not microseconds since the epoch")
        times[key] = int(query[key])
    filters = {key: value for key, value in query.items() if key not in ("start", "end", "by")}
    return Question(name, times["start"], times["end"], query.get("by", ""), filters)


class ControlApi:
    """The routes."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/v1/status", self.status),
            Route("/v1/live", self.live),
            Route("/v1/doctor", self.doctor),
            Route("/v1/reload", self.reload, methods=["POST"]),
            Route("/v1/calls", self.calls),
            Route("/v1/calls/watch", self.watch),
            Route("/v1/calls/import", self.import_calls, methods=["GET", "POST"]),
            Route("/v1/calls/{id}", self.call),
            Route("/v1/reports/{name}", self.report),
            Route("/v1/stats", self.stats),
            Route("/v1/stats/rebuild", self.stats_rebuild, methods=["POST"]),
            Route("/v1/stats/purge", self.stats_purge, methods=["POST"]),
            *recorder.routes(self.subject.communications),
            *recordings.routes(self.subject.communications),
            *vault.routes(self.subject.communications),
            Route("/metrics", self.metrics),
            *agi.routes(self.subject.communications),
            *voicemail.routes(self.subject.communications),
            *chat.routes(self.subject.communications),
            *people.routes(self.subject.communications),
            *support.routes(self.subject),
            *uplink.routes(self.subject),
        ]
        kept = self.subject.communications
        door = Middleware(Door, routes=routes, people=lambda: kept.people, audit=lambda: kept.comms)
        return Starlette(routes=routes, middleware=[door], exception_handlers={PbxdError: refuse})

    async def status(self, request: Request) -> Response:
        """GET /v1/status"""
        found = self.subject.status()
        return JSONResponse(found if reads_all(asked_of(request).who) else short(found))

    async def live(self, request: Request) -> Response:
        """GET /v1/live"""
        who = asked_of(request).who
        if who.role in OWNERS or who.role == "admin":
            return JSONResponse(self.subject.live())
        people = self.subject.communications.people
        return JSONResponse(self.subject.live(people.numbers(who.supervises) | who.extensions, who.supervises))

    async def doctor(self, request: Request) -> Response:
        """GET /v1/doctor"""
        found = await self.subject.doctor()
        return JSONResponse({"findings": found if reads_all(asked_of(request).who) else verdicts(found)})

    async def reload(self, _request: Request) -> Response:
        """POST /v1/reload"""
        return JSONResponse({"changed": await self.subject.reload()})

    async def calls(self, request: Request) -> Response:
        """GET /v1/calls?start=&end=&number=&extension=&queue=&disposition=&direction=&limit=&order=&count=: a line a call"""
        wanted, queries = call_filter(request.query_params), self.subject.queries
        found = (as_json(record) async for record in queries.calls(wanted))
        return listing(request, found, wanted.limit, lambda: queries.count(wanted))

    async def call(self, request: Request) -> Response:
        """GET /v1/calls/{id}"""
        found = await self.subject.queries.call(request.path_params["id"])
        if found is None:
            return JSONResponse({"error": f"no call {request.path_params['id']} in the store"}, status_code=404)
        return JSONResponse(as_json(found))

    async def watch(self, _request: Request) -> Response:
        """GET /v1/calls/watch: a line for each call, as it is committed"""
        return StreamingResponse(lines(self._watched()), media_type="application/x-ndjson")

    async def _watched(self) -> AsyncIterator[dict[str, Any]]:
        queue = self.subject.watchers.join()
        try:
            while (record := await queue.get()) is not None:
                yield as_json(record)
        finally:
            self.subject.watchers.leave(queue)

    async def import_calls(self, request: Request) -> Response:
        """GET /v1/calls/import?source=: how far it is. POST …?source=&after=&position=&last=&again=: the lines between"""
        wanted = import_batch(request.query_params)
        if request.method != "POST":
            return JSONResponse(await self.subject.import_progress(wanted.source))
        try:
            return JSONResponse(await self.subject.import_calls(wanted, request.stream()))
        except OutOfStep as error:
            return JSONResponse({"error": str(error), "position": error.position}, status_code=409)

    async def report(self, request: Request) -> Response:
        """GET /v1/reports/{name}?start=&end=&by=&queue=&…: see docs/statistics.md"""
        question = question_of(request.path_params["name"], request.query_params)
        return JSONResponse(report_json(await self.subject.report(question)))

    async def stats(self, _request: Request) -> Response:
        """GET /v1/stats"""
        return JSONResponse(await self.subject.stats_status())

    async def stats_rebuild(self, _request: Request) -> Response:
        """POST /v1/stats/rebuild"""
        return JSONResponse(await self.subject.stats_rebuild())

    async def stats_purge(self, request: Request) -> Response:
        """POST /v1/stats/purge?dry_run=1"""
        return JSONResponse(await self.subject.stats_purge(dry_run=request.query_params.get("dry_run") == "1"))

    async def metrics(self, _request: Request) -> Response:
        """GET /metrics"""
        return PlainTextResponse(self.subject.metrics())


async def refuse(_request: Request, error: Exception) -> Response:
    """An error of ours, as the answer."""
    problems = error.problems if isinstance(error, ConfigError) else [str(error)]
    return JSONResponse({"error": "\n".join(problems)}, status_code=400)


def metrics_app(subject: Subject) -> Starlette:
    """The metrics alone, for a TCP port."""
    return Starlette(routes=[Route("/metrics", ControlApi(subject).metrics)])
