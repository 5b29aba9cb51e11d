"""The daemon: wires the parts, starts them in order, stops them in reverse, and takes signals.

running  -> draining (no new requests)  -> flushing (the writer commits what was read)  -> stopped
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog

from pbxd import __version__, logs, notify, overview
from pbxd.asterisk import events, snapshot
from pbxd.asterisk.manager import ManagerSession
from pbxd.asterisk.own_journal import OwnJournal
from pbxd.asterisk.wire import Message
from pbxd.calls.live import LiveState
from pbxd.communications import CommunicationServices
from pbxd.config.load import load_with_notes
from pbxd.config.schema import Config, changed, taken_up
from pbxd.control.api import ControlApi, metrics_app
from pbxd.control.server import ControlServer, bind, listening, server
from pbxd.errors import AmiError, ConfigError, ControlError, StoreError
from pbxd.figures import Figures
from pbxd.importing import ImportBatch, Imports
from pbxd.ingest import Ingest
from pbxd.reports.scheduler import Scheduler
from pbxd.settings import (
    ami_settings,
    ingest_settings,
    keep_of,
    report_settings,
    site_of,
    zone_of,
)
from pbxd.stats.queries import Queries
from pbxd.stats.question import Question, ReportSettings
from pbxd.stats.report import Report
from pbxd.stats.reports import Reports
from pbxd.stats.writer import Writer
from pbxd.supervise import supervise
from pbxd.uplink.reception import Reception
from pbxd.uplink.service import UplinkService
from pbxd.voice import VoiceQuality
from pbxd.watchers import Watchers

RECONCILE = 60.0  # s between looks for calls that nothing was heard of
FLUSH = 3.0  # s that the writer gets at a stop; what it cannot commit by then is read again at the next start
log = structlog.get_logger("pbxd.daemon")


class Daemon:
    """One running pbxd."""

    def __init__(self, path: Path, config: Config, credentials: Path | None) -> None:
        self.path = path
        self.config = config
        self.credentials = credentials
        self.started = time.time()
        self.state = "starting"
        self.watchers = Watchers()
        self.live_state = LiveState()
        self.asterisk = ""
        self._stop = asyncio.Event()
        self._queries: Queries | None = None
        self._writer: Writer | None = None
        self._ingest: Ingest | None = None
        self._imports: Imports | None = None
        self._figures: Figures | None = None
        self.scheduler = Scheduler(config.reports, zone_of(config), self._scheduled)
        self.voice = VoiceQuality(OwnJournal(config.journal.own), time.time)
        self.ami = ManagerSession(ami_settings(config), {}, self._connected, self._disconnected)
        self.communications = CommunicationServices(config, credentials, self.ami, self.live_state)
        self.ami.handlers = self._handlers()
        self.uplink = UplinkService(self)
        self.reception = Reception(self, self.uplink)
        self.uplink.tickets, self.uplink.messages = self.reception.desk.told, self.reception.messages.told

    def _handlers(self) -> dict[str, Callable[[Message], None]]:
        """What is done at each AMI event."""
        live = self.live_state.handlers(time.time)
        handlers: dict[str, Callable[[Message], None]] = {name: live[name] for name in events.LIVE}
        handlers |= dict.fromkeys(events.VOICE, self.voice.report)

        def hangup(event: Message) -> None:
            live["Hangup"](event)
            self.voice.hangup(event)

        handlers["Hangup"] = hangup
        for name, then in self.communications.handlers().items():
            handlers[name] = in_turn(handlers[name], then) if name in handlers else then
        return handlers

    @property
    def queries(self) -> Queries:
        """The store, for reading."""
        if self._queries is None:
            raise StoreError("the store is not open yet")
        return self._queries

    @property
    def ingest(self) -> Ingest:
        """The journals' reader."""
        if self._ingest is None:
            raise StoreError("the journals are not open yet")
        return self._ingest

    @property
    def imports(self) -> Imports:
        """Histories from elsewhere."""
        if self._imports is None:
            raise StoreError("the store is not open yet")
        return self._imports

    async def run(self) -> None:
        """Start everything, run until a signal, stop everything. StoreError, JournalError or ControlError if it cannot start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._hangup)
        async with contextlib.AsyncExitStack() as ladder:  # each step is undone in reverse
            await self._open_store(ladder)
            ladder.push_async_callback(self.communications.close)
            ladder.push_async_callback(self.uplink.close)
            server = await self._open_control(ladder)
            if self.config.metrics.listen is not None:
                await ladder.enter_async_context(listening(metrics_app(self), self.config.metrics.listen))
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self.ingest.run())
                parts: dict[str, Callable[[], Awaitable[None]]] = {}
                if self.config.ami.secret:
                    parts["ami"] = self.ami.run
                else:
                    self.ami.last_error = "no secret is set: see ami.secret_file"
                parts |= {"reconcile": self._reconcile, "rollups": self.figures.run, "reports": self.scheduler.run}
                parts |= self.uplink.parts() | self.communications.parts() | self.reception.parts()
                running = [tasks.create_task(supervise(name, run), name=name) for name, run in parts.items()]
                running.append(tasks.create_task(self._watchdog()))
                serving = tasks.create_task(self._until_stopped(server))
                self.state = "running"
                gc.freeze()  # what is there now is never garbage: collections need not look through it for each call
                notify.notify(f"READY=1\nSTATUS=running\nMAINPID={os.getpid()}")
                log.info("pbxd is running", version=__version__, site=self.config.site.name, pid=os.getpid())
                await self._stop.wait()
                self.state = "draining"
                notify.notify("STOPPING=1")
                self.watchers.close()
                server.should_exit = True
                await self.communications.drain()
                for task in running:
                    task.cancel()
                await asyncio.wait([serving])
                self.state = "flushing"
                self.ingest.stop()
                done, _ = await asyncio.wait([reading], timeout=FLUSH)
                if not done:
                    reading.cancel()
        self.state = "stopped"
        log.info("pbxd has stopped")

    async def _open_store(self, ladder: contextlib.AsyncExitStack) -> None:
        url = self.config.statistics.database
        resolution = int(self.config.statistics.resolution * 1_000_000)
        self._writer = await Writer.open(url, self.config.site.name, resolution)
        ladder.push_async_callback(self._writer.close)
        self._queries = Queries(url, self.config.site.name)
        ladder.push_async_callback(self._queries.close)
        self._ingest = Ingest(
            ingest_settings(self.config), site_of(self.config), self._writer, self._queries, self.watchers.publish
        )
        self.voice.journal.prepare()
        await self._ingest.open()
        imports = self._imports = Imports(self._queries, self._writer, lambda: self.ingest.site)
        self._figures = Figures(self._writer, lambda: keep_of(self.config), lambda: imports.under_way)

    async def _open_control(self, ladder: contextlib.AsyncExitStack) -> ControlServer:
        path = self.config.control.socket
        link = bind(path)
        ladder.callback(path.unlink, missing_ok=True)
        ladder.callback(link.close)
        self._control_socket = link
        return server(ControlApi(self).app(), lambda: self.config.control.group)

    async def _until_stopped(self, server: ControlServer) -> None:
        await server.serve(sockets=[self._control_socket])
        if not self._stop.is_set():
            raise ControlError("the control server ended by itself")

    async def _watchdog(self) -> None:
        """Tell systemd that the loop turns; one that hangs is then restarted."""
        interval = notify.watchdog_interval()
        while interval is not None:
            notify.notify("WATCHDOG=1")
            await asyncio.sleep(interval)

    async def _reconcile(self) -> None:
        """End calls whose end never reached the journal: now and then, when one is silent for long, Asterisk is asked for it."""
        while True:
            await asyncio.sleep(RECONCILE)
            if self.ami.connected and self.ingest.silent_calls(RECONCILE):
                asked = time.time()
                try:
                    rows = await self.ami.action_list("CoreShowChannels")
                except AmiError as error:
                    log.info("Asterisk cannot tell its channels now", error=str(error))
                    continue
                self.ingest.channels_alive([row.get("Uniqueid") for row in rows], int(asked * 1_000_000))

    @property
    def asterisk_connected(self) -> bool:
        """Whether the AMI session is up."""
        return self.ami.connected

    def whereabouts(self) -> dict[str, Any]:
        """Where who wants to look at this box finds what."""
        kept = self.communications.comms is not None
        return {"config": str(self.path), "credentials": str(self.credentials or ""), "pid": os.getpid(), "kept": kept}

    @property
    def writer(self) -> Writer:
        """The store, for writing."""
        if self._writer is None:
            raise StoreError("the store is not open yet")
        return self._writer

    @property
    def figures(self) -> Figures:
        """The rollups' keeper."""
        if self._figures is None:
            raise StoreError("the store is not open yet")
        return self._figures

    @property
    def report_settings(self) -> ReportSettings:
        """What reports are made with."""
        return report_settings(self.config)

    def trunks(self) -> dict[str, str]:
        """Reachability of each trunk, as AMI tells."""
        return overview.trunks(self.live_state, site_of(self.config))

    async def report(self, question: Question) -> Report:
        """Make a report. ReportError if there is none such."""
        return await Reports(self.queries, self.writer, self.report_settings).make(question)

    async def _scheduled(self, name: str, start: int, end: int, by: str) -> Report:
        return await self.report(Question(name, start, end, by))

    async def stats_status(self) -> dict[str, Any]:
        """Where the rollups stand."""
        return await self.figures.status()

    async def stats_rebuild(self) -> dict[str, Any]:
        """Make all rollups again."""
        return await self.figures.rebuild()

    async def stats_purge(self, *, dry_run: bool) -> dict[str, Any]:
        """Delete what is older than it is to be kept, or say what would go."""
        return await self.figures.purge(dry_run=dry_run)

    async def _connected(self, session: ManagerSession) -> None:
        """AMI is up: ask what is going on, and end the calls that Asterisk does not know any more."""
        asked = time.time()
        found = await snapshot.take(session)
        self.asterisk = found.version
        self.live_state.replace(found.channels, found.bridges, found.queues, found.endpoints, time.time())
        for what in found.missing:
            log.info("Asterisk cannot tell", what=what)
        alive = [row.get("Uniqueid") for row in found.channels]
        self.ingest.channels_alive(alive, int(asked * 1_000_000))
        self.voice.keep(alive)
        await self.communications.connected()

    def _disconnected(self) -> None:
        self.live_state.clear()
        self.communications.disconnected()

    def _hangup(self) -> None:
        """SIGHUP: reload, and say in the log how it went."""

        async def apply() -> None:
            notify.reloading()
            try:
                log.info("configuration reloaded", changed=await self.reload())
            except ConfigError as error:
                log.error("configuration refused, the old one runs on", problems=error.problems)
            finally:
                notify.notify("READY=1")

        self._reloading = asyncio.create_task(apply())

    async def reload(self) -> list[str]:
        """Read the configuration again; the keys that changed, those that wait for a restart marked. ConfigError if it is wrong."""
        loaded = await asyncio.to_thread(load_with_notes, self.path, credentials=self.credentials)
        now, later = changed(self.config, loaded.config)
        for warning in loaded.warnings:
            log.warning("configuration", warning=warning)
        self.config = taken_up(self.config, loaded.config)
        logs.configure(self.config.log.level, self.config.log.format)
        self.ingest.set_site(site_of(self.config))
        self.scheduler.configure(self.config.reports, zone_of(self.config))
        self.communications.configure(self.config)
        await self.uplink.reload()
        await self.reception.desk.review()
        return [*now, *(f"{key} (at the next start)" for key in later)]

    def status(self) -> dict[str, Any]:
        """State of every part, read from the parts."""
        return overview.status(self)

    def live(self, numbers: frozenset[str] | None = None, teams: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Calls in progress, queues and endpoints; with `numbers` those of these extensions, and of the queues of `teams`."""
        found = overview.live(self.live_state)
        return (
            found
            if numbers is None
            else overview.narrowed(found, self.live_state, site_of(self.config), numbers, teams)
        )

    async def doctor(self) -> list[dict[str, str]]:
        """Look for the usual faults."""
        return await overview.findings(self)

    def doctor_words(self) -> frozenset[str]:
        """Every word that is the doctor's own."""
        return overview.doctor_words()

    def metrics(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return overview.exposition(self)

    async def import_progress(self, source: str) -> dict[str, Any]:
        """How far a history from elsewhere has been read."""
        return await self.imports.progress(source)

    async def import_calls(self, batch: ImportBatch, body: AsyncIterator[bytes]) -> dict[str, Any]:
        """Read a batch of such a history into the store, through the one writer."""
        return await self.imports.take(batch, body)


def in_turn(first: Callable[[Message], None], then: Callable[[Message], None]) -> Callable[[Message], None]:
    """Both, one after the other."""

    def both(event: Message) -> None:
        first(event)
        then(event)

    return both
