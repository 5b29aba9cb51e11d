"""The FastAGI server: who may have a session, what serves it, when it has lasted too long, and what the dialplan is told.

Whatever happens, the dialplan goes on: at the end of each session `PBXD_STATUS` is set where the channel can take it, and
the connection is closed. Deadlines are looked at in one sweep over all connections, for a timer a command would cost a
tenth of a session.

    running -> draining (no new sessions; those that run get a moment) -> stopped
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from pbxd.agi.admission import Admission, Stranger
from pbxd.agi.application import Application, Services, Status
from pbxd.agi.link import AgiLink
from pbxd.agi.routes import Routes
from pbxd.agi.scripts import Scripts
from pbxd.agi.session import Request, Session, request_of
from pbxd.agi.wire import Environment, Wire, encode
from pbxd.backoff import backoff
from pbxd.errors import AGIBusy, AGIException, AGIHangup, AGIStopped, AGITimeout, AGIUnknownError, PbxdError

REFUSALS = 500  # connections beyond `agi.sessions` that are told BUSY; more are cut without a word
SWEEP = 0.5  # s between looks at the deadlines, at most
LAST_WORDS = 1.0  # s that sessions get to end when the drain is over
STRANGERS = 1000  # who were refused that we remember, so as to tell of each once
QUIET = 1.0  # s between two lines of the log about one kind of outcome: a peer that floods must not flood the log
FIRST, LONGEST = 1.0, 30.0  # s between tries to listen
BACKLOG = 1024  # connections that the kernel holds for us
log = structlog.get_logger("pbxd.agi")


@dataclass(slots=True)
class AgiCounters:
    """Since the start."""

    sessions: int = 0
    cut: int = 0  # connections beyond all limits
    refused: int = 0  # connections of those who may not speak AGI to us
    faults: int = 0  # peers that broke the protocol before they had a session
    quiet: int = 0  # lines that the log was spared
    outcomes: Counter[str] = field(default_factory=Counter)  # by Status
    routes: Counter[str] = field(default_factory=Counter)  # by route; unknown names are not counted one by one


class AgiServer:
    """Listens, and serves sessions."""

    def __init__(self, services: Services, routes: Routes, scripts: Scripts) -> None:
        self.services = services
        self.routes = routes
        self.scripts = scripts
        self.counters = AgiCounters()
        self.admission = Admission()
        self.last_error = ""
        self.last_refused = ""
        self.listening: list[str] = []
        self.draining = False
        self._links: set[AgiLink] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._strangers: set[int | str] = set()
        self._told: dict[str, float] = {}  # loop time of the last line about each kind of outcome

    @property
    def running(self) -> int:
        """Sessions in progress."""
        return len(self._tasks)

    @property
    def answer_time(self) -> float:
        """Seconds that a peer may owe an answer which needs no caller."""
        return self.services.config.answer_time

    async def run(self) -> None:
        """Listen and serve until cancelled. An address that cannot be had is tried again and again: nothing else waits for it."""
        try:
            await self._listen_in_the_end()
            while True:
                config = self.services.config
                await asyncio.sleep(min(SWEEP, self.answer_time / 4, config.session_time / 4))
                now = asyncio.get_running_loop().time()
                for link in list(self._links):
                    link.overdue(now)
        finally:
            self.close()

    async def _listen_in_the_end(self) -> None:
        for delay in backoff(FIRST, LONGEST):
            try:
                await self.listen()
            except (OSError, AGIUnknownError) as error:
                reason = (error.strerror if isinstance(error, OSError) else None) or error
                self.last_error = f"{self.services.config.listen or self.services.config.socket}: {reason}"
                log.error("FastAGI cannot listen", error=self.last_error)
                self._stop_listening()
                await asyncio.sleep(delay)
            else:
                self.last_error = ""
                return

    async def listen(self) -> None:
        """Open what the configuration names. OSError if it cannot be had, AGIUnknownError if we could not know who comes."""
        loop, config = asyncio.get_running_loop(), self.services.config

        def new_link(*, guarded: bool = True) -> AgiLink:
            return AgiLink(self, Wire(config.environment, config.reply), loop, guarded=guarded)

        if config.listen is not None:
            host, _, port = config.listen.rpartition(":")
            made = await loop.create_server(new_link, host.strip("[]"), int(port), backlog=BACKLOG)
            self._servers.append(made)
            for sock in made.sockets:
                self.admission.sockets.probe(sock.getsockname())
            self.listening += ["{}:{}".format(*sock.getsockname()[:2]) for sock in made.sockets]
        if config.socket is not None:
            config.socket.parent.mkdir(parents=True, exist_ok=True)
            by_file = partial(new_link, guarded=False)  # who may connect says the file's mode
            self._servers.append(await loop.create_unix_server(by_file, str(config.socket), backlog=BACKLOG))
            config.socket.chmod(0o660)
            self.listening.append(str(config.socket))

    def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        self.listening.clear()

    async def drain(self) -> None:
        """No new sessions; those in progress get `agi.drain`, then the dialplan is told STOPPED and goes on."""
        self.draining = True
        self._stop_listening()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.services.config.drain)
        for link in list(self._links):
            link.end(AGIStopped("pbxd stops"))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_WORDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                while any(link.finishing for link in self._links):  # noqa: ASYNC110 - what is waited for are peers
                    await asyncio.sleep(LAST_WORDS / 50)
        await self.scripts.close()

    def close(self) -> None:
        """Cut what is left."""
        self._stop_listening()
        for link in list(self._links):
            link.abort()
        self.admission.sockets.close()

    def arrived(self, link: AgiLink, transport: asyncio.BaseTransport) -> bool:
        """A connection; False if its peer may not speak, or there are too many even to be told so."""
        config = self.services.config
        if link.guarded and (stranger := self.admission.refuses(transport, config)) is not None:
            self._refused(stranger)
            return False
        if len(self._links) >= config.sessions + REFUSALS:
            self.counters.cut += 1
            return False
        self._links.add(link)
        return True

    def _refused(self, stranger: Stranger) -> None:
        """Count who may not speak; one line of the log for each."""
        self.counters.refused += 1
        self.last_refused = stranger.who
        if stranger.key not in self._strangers and len(self._strangers) < STRANGERS:
            self._strangers.add(stranger.key)
            log.warning("refused to speak AGI; see agi.users and agi.peers", who=stranger.who)

    def left(self, link: AgiLink) -> None:
        """A connection has ended."""
        self._links.discard(link)

    def failed(self, link: AgiLink, error: AGIException) -> None:
        """A peer that never had a session: it is told what can be told, and cut."""
        if not link.gone:
            self.counters.faults += 1
            self._tell("a peer of FastAGI broke the protocol", error=str(error))
        status = Status.TIMEOUT if isinstance(error, AGITimeout) else Status.ERROR
        link.close(TELL[status])

    def began(self, link: AgiLink, environment: Environment) -> asyncio.Task[None]:
        """A session: the task that serves it."""
        self.counters.sessions += 1
        link.deadline = link.loop.time() + self.services.config.session_time
        task = link.loop.create_task(self._serve(link, environment))
        self._tasks.add(task)
        return task

    def _application(self, request: Request) -> Application | Status:
        """What serves a request, or why nothing does."""
        if self.draining:
            return Status.STOPPED
        if len(self._tasks) > self.services.config.sessions:
            return Status.BUSY
        return self.routes.find(request.name) or self.scripts.find(request.name) or Status.NOROUTE

    async def _serve(self, link: AgiLink, environment: Environment) -> None:
        """One session, from its environment to its end. Nothing that happens in it goes further."""
        link.begun = True
        try:
            request = request_of(environment)
            status, reason = self._application(request), ""
            if link.error is not None:  # before the first step
                status, reason = status_of(link.error), str(link.error)
            elif not isinstance(status, Status):
                self.counters.routes[request.name] += 1
                status, reason = await self._run(status, link, request)
            self.counters.outcomes[status] += 1
            if status is not Status.OK and status is not Status.HANGUP:  # those two are not worth a line of the log
                uniqueid = environment.get("uniqueid")
                self._tell("AGI session", status=str(status), route=request.name[:80], uniqueid=uniqueid, error=reason)
            self._finish(link, status)
        finally:
            if link.task is not None:
                self._tasks.discard(link.task)
            link.forget()

    async def _run(self, application: Application, link: AgiLink, request: Request) -> tuple[Status, str]:
        """Let the application talk to the call; how it ended, and why."""
        try:
            await application(Session(link, request), request, self.services)
        except asyncio.CancelledError:
            if link.error is None:
                raise  # the server's own end
            return status_of(link.error), str(link.error)
        except (PbxdError, TimeoutError) as error:
            return status_of(error), str(error)
        except Exception as error:
            log.exception("an AGI application failed", route=request.name)
            return Status.ERROR, type(error).__name__
        return (Status.HANGUP if link.hung_up else Status.OK), ""

    def _finish(self, link: AgiLink, status: Status) -> None:
        """Tell the dialplan, and close."""
        if link.busy or isinstance(link.error, AGITimeout | AGIUnknownError):
            link.close(TELL[status])  # Asterisk reads it when it has done what it is at
        elif status is Status.OK:
            link.finish(TELL[status], TELL[Status.HANGUP])
        else:
            link.finish(TELL[status])

    def _tell(self, what: str, **values: object) -> None:
        """A line of the log, but not more than one of a kind at a time."""
        now = asyncio.get_running_loop().time()
        kind = what + str(values.get("status", ""))
        if now - self._told.get(kind, -QUIET) < QUIET:
            self.counters.quiet += 1
            return
        self._told[kind] = now
        log.warning(what, **values)

    def status(self) -> dict[str, Any]:
        """For `pbxctl agi status` and the metrics."""
        counters = self.counters
        return {
            "listening": list(self.listening),
            "last_error": self.last_error,
            "running": self.running,
            "limit": self.services.config.sessions,
            "connections": len(self._links),
            "sessions": counters.sessions,
            "cut": counters.cut,
            "refused": counters.refused,
            "last_refused": self.last_refused,
            "may_speak": self.admission.status(self.services.config),
            "faults": counters.faults,
            "quiet": counters.quiet,
            "outcomes": {str(status): counters.outcomes[status] for status in Status},
            "routes": dict(counters.routes),
            "scripts_running": self.scripts.running,
            "scripts": self.scripts.status(),
        }


# the command that tells the dialplan how it went
TELL = {status: encode("SET VARIABLE", "PBXD_STATUS", str(status)) for status in Status}


def status_of(error: BaseException) -> Status:
    """What an error means for the dialplan."""
    if isinstance(error, AGIStopped):
        return Status.STOPPED
    if isinstance(error, AGIHangup):
        return Status.HANGUP
    if isinstance(error, AGITimeout | TimeoutError):
        return Status.TIMEOUT
    if isinstance(error, AGIBusy):
        return Status.BUSY
    return Status.ERROR
