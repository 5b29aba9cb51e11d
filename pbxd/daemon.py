"""The daemon: wires the parts, starts them in order, stops them in reverse, and takes signals.

running  -> draining (no new requests)  -> flushing (the writer commits what was read)  -> stopped
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn

from pbxd import __version__, doctor, logs, metrics, notify
from pbxd.agi.service import AgiService
from pbxd.asterisk import events, snapshot
from pbxd.asterisk.manager import ManagerSession
from pbxd.asterisk.own_journal import OwnJournal
from pbxd.asterisk.wire import Message
from pbxd.calls.live import LiveState
from pbxd.comms.people import Directory
from pbxd.config.load import load_with_notes
from pbxd.config.schema import Config, changed, taken_up
from pbxd.control.api import ControlApi, metrics_app
from pbxd.control.server import ControlServer, bind, server
from pbxd.errors import AmiError, ConfigError, ControlError, StoreError
from pbxd.importing import ImportBatch, Imports
from pbxd.ingest import Ingest
from pbxd.recording.monitor import Monitor
from pbxd.recording.recorder import Recorder
from pbxd.reports.scheduler import Scheduler
from pbxd.settings import (
    ami_settings,
    archive_settings,
    comms_settings,
    ingest_settings,
    keep_of,
    monitor_settings,
    recorder_rules,
    report_settings,
    site_of,
    site_time,
    zone_of,
)
from pbxd.stats import retention
from pbxd.stats.engine import database_path
from pbxd.stats.queries import Queries
from pbxd.stats.question import Question
from pbxd.stats.report import Report
from pbxd.stats.reports import Reports
from pbxd.stats.retention import purge
from pbxd.stats.rollup import rebuild, roll_up
from pbxd.stats.writer import Writer
from pbxd.supervise import supervise
from pbxd.voice import VoiceQuality
from pbxd.voicemail.service import Voicemail
from pbxd.watchers import Watchers

if TYPE_CHECKING:
    from pbxd.comms.host import CommsHost
    from pbxd.recording.service import RecordingService

RECONCILE = 60.0  # s between looks for calls that nothing was heard of
ROLL_UP = 5.0  # s between looks for quarters of an hour that have to be rolled up
ROLL_UP_DAYS = 3600.0  # s between making hours and days; a report that needs them makes them at once
PURGE = 86_400.0  # s between looks for what is too old
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
        self.scheduler = Scheduler(config.reports, zone_of(config), self._scheduled)
        self.agi = AgiService(config.agi, zone_of(config))
        self.voice = VoiceQuality(OwnJournal(config.journal.own), time.time)
        self.ami = ManagerSession(ami_settings(config), {}, self._connected, self._disconnected)
        self.monitor = self._monitor() if config.recording.enabled else None
        self.agi.services.recorder, self.agi.services.announcement = self.monitor, config.recording.announcement
        self.ami.handlers = self._handlers()
        self.comms, self.recordings = self._archive()
        self.voicemail = Voicemail(config.voicemail.spool, self.ami)

    def _monitor(self) -> Monitor:
        """What records calls."""
        recorder = Recorder(site_of(self.config), recorder_rules(self.config), site_time(self.config))
        settings = monitor_settings(self.config)
        return Monitor(recorder, self.ami, self.live_state, settings, clock=time.time, on_ready=self._recorded)

    def _recorded(self, name: str) -> None:
        log.info("a recording is complete", recording=name)
        if self.recordings is not None:
            self.recordings.notice(name)

    def _archive(self) -> tuple[CommsHost | None, RecordingService | None]:
        """The store of communications, where calls are recorded; nowhere else is it loaded, for it costs memory."""
        if self.monitor is None:
            return None, None
        from pbxd.comms.host import CommsHost  # noqa: PLC0415
        from pbxd.recording.catalogue import CATALOGUE  # noqa: PLC0415
        from pbxd.recording.service import RecordingService  # noqa: PLC0415

        host = CommsHost(
            comms_settings(self.config, self.credentials),
            lambda: Directory(self.config.people),
            lambda: self.config.comms.keep_audit,
            [CATALOGUE],
        )
        return host, RecordingService(host, archive_settings(lambda: self.config))

    def _handlers(self) -> dict[str, Callable[[Message], None]]:
        """What is done at each AMI event."""
        live = self.live_state.handlers(time.time)
        handlers: dict[str, Callable[[Message], None]] = {name: live[name] for name in events.LIVE}
        handlers |= dict.fromkeys(events.VOICE, self.voice.report)

        def hangup(event: Message) -> None:
            live["Hangup"](event)
            self.voice.hangup(event)

        handlers["Hangup"] = hangup
        if self.monitor is not None:
            for name, then in self.monitor.handlers().items():
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
            if self.comms is not None:
                ladder.push_async_callback(self.comms.close)
            server = await self._open_control(ladder)
            await self._open_metrics(ladder)
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self.ingest.run())
                ami = tasks.create_task(supervise("ami", self.ami.run)) if self.config.ami.secret else None
                watchdog = tasks.create_task(self._watchdog())
                reconcile = tasks.create_task(supervise("reconcile", self._reconcile))
                rolling = tasks.create_task(supervise("rollups", self._roll_up))
                recording = tasks.create_task(supervise("recorder", self.monitor.run)) if self.monitor else None
                comms = tasks.create_task(supervise("communications", self.comms.run)) if self.comms else None
                storing = tasks.create_task(supervise("recordings", self.recordings.run)) if self.recordings else None
                mailing = tasks.create_task(supervise("reports", self.scheduler.run))
                agi = tasks.create_task(supervise("agi", self.agi.run))
                voicemail = tasks.create_task(supervise("voicemail", self.voicemail.run))
                serving = tasks.create_task(self._until_stopped(server))
                if ami is None:
                    self.ami.last_error = "no secret is set: see ami.secret_file"
                self.state = "running"
                gc.freeze()  # what is there now is never garbage: collections need not look through it for each call
                notify.notify(f"READY=1\nSTATUS=running\nMAINPID={os.getpid()}")
                log.info("pbxd is running", version=__version__, site=self.config.site.name, pid=os.getpid())
                await self._stop.wait()
                self.state = "draining"
                notify.notify("STOPPING=1")
                self.watchers.close()
                server.should_exit = True
                await self.agi.drain()
                for task in (agi, ami, recording, storing, comms, reconcile, rolling, mailing, voicemail, watchdog):
                    if task is not None:
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
        self._imports = Imports(self._queries, self._writer, lambda: self.ingest.site)

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

    async def _open_metrics(self, ladder: contextlib.AsyncExitStack) -> None:
        """Offer the metrics on a TCP port too, if the configuration says so."""
        if self.config.metrics.listen is None:
            return
        host, _, port = self.config.metrics.listen.rpartition(":")
        app = metrics_app(self)
        settings = uvicorn.Config(
            app, host=host.strip("[]"), port=int(port), log_config=None, lifespan="off", access_log=False
        )
        server = ControlServer(settings)
        task = asyncio.create_task(server.serve())

        async def close() -> None:
            server.should_exit = True
            await asyncio.wait([task])

        ladder.push_async_callback(close)

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

    async def _roll_up(self) -> None:
        """Keep the rollups near the calls: quarters of an hour soon, days now and then; once a day, delete what is old."""
        whole = purged = 0.0
        while True:
            await asyncio.sleep(ROLL_UP)
            if self.imports.under_way:
                continue  # it makes each quarter once, when no more of its calls can be in it; a report does not wait for that
            now = time.monotonic()
            days = now - whole >= ROLL_UP_DAYS
            try:
                await roll_up(self.writer, days=days)
                whole = now if days else whole
                if now - purged >= PURGE or not purged:
                    await purge(self.writer, keep_of(self.config), int(time.time() * 1_000_000))
                    purged = now
            except StoreError as error:
                log.error("rollups wait for the store", error=str(error))

    @property
    def writer(self) -> Writer:
        """The store, for writing."""
        if self._writer is None:
            raise StoreError("the store is not open yet")
        return self._writer

    async def report(self, question: Question) -> Report:
        """Make a report. ReportError if there is none such."""
        return await Reports(self.queries, self.writer, report_settings(self.config)).make(question)

    async def _scheduled(self, name: str, start: int, end: int, by: str) -> Report:
        return await self.report(Question(name, start, end, by))

    async def stats_status(self) -> dict[str, Any]:
        """Where the rollups stand."""
        return await retention.status(self.writer)

    async def stats_rebuild(self) -> dict[str, Any]:
        """Make all rollups again."""
        return {"quarters": await rebuild(self.writer)}

    async def stats_purge(self, *, dry_run: bool) -> dict[str, Any]:
        """Delete what is older than it is to be kept, or say what would go."""
        return await purge(self.writer, keep_of(self.config), int(time.time() * 1_000_000), dry_run=dry_run)

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
        if self.monitor is not None:
            self.monitor.connected()

    def _disconnected(self) -> None:
        self.live_state.clear()
        if self.monitor is not None:
            self.monitor.disconnected()

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
        self.agi.configure(self.config.agi, zone_of(self.config))
        self.agi.services.announcement = self.config.recording.announcement
        if self.monitor is not None:
            self.monitor.configure(site_of(self.config), recorder_rules(self.config), site_time(self.config))
        return [*now, *(f"{key} (at the next start)" for key in later)]

    def status(self) -> dict[str, Any]:
        """State of every part, read from the parts."""
        ami = self.ami.counters
        ingest = self.ingest
        path = database_path(self.config.statistics.database) or Path("/")
        return {
            "version": __version__,
            "site": self.config.site.name,
            "time_zone": zone_of(self.config),
            "state": self.state,
            "pid": os.getpid(),
            "uptime": time.time() - self.started,
            "rss": rss(),
            "cpu_seconds": sum(resource.getrusage(resource.RUSAGE_SELF)[:2]),
            "ami": {
                "state": str(self.ami.state),
                "connected": self.ami.connected,
                "peer": f"{self.config.ami.host}:{self.config.ami.port}",
                "asterisk": self.asterisk,
                "since": self.ami.since,
                "last_error": self.ami.last_error,
                **asdict(ami),
                "reconnects": max(0, ami.connects - 1),
            },
            "live": {"calls": len(self.live_state.calls()), "channels": len(self.live_state.channels)},
            "journal": {
                **asdict(ingest.counters),
                "open_calls": ingest.open_calls,
                "path": str(self.config.journal.cel),
            },
            "reports": self.scheduler.status(),
            "recording": self.monitor.status() if self.monitor is not None else None,
            "recordings": self.recordings.status() if self.recordings is not None else None,
            "comms": self.comms.status() if self.comms is not None else None,
            "agi": self.agi.status(),
            "voicemail": self.voicemail.status(),
            "voice": {"written": self.voice.written, "failed": self.voice.failed},
            "store": {"calls": self.writer.calls, "path": str(path)},
            "disk": {"free": shutil.disk_usage(path.parent).free, "path": str(path.parent)},
        }

    def live(self) -> dict[str, Any]:
        """Calls in progress, queues and endpoints."""
        now = time.time()
        calls = [{**asdict(call), "seconds": max(0.0, now - call.since)} for call in self.live_state.calls()]
        queues = [
            {"name": queue.name, "waiting": len(queue.waiting), "members": len(queue.members), "member": queue.members}
            for queue in self.live_state.queues.values()
        ]
        return {"calls": calls, "queues": queues, "endpoints": dict(self.live_state.endpoints)}

    async def doctor(self) -> list[dict[str, str]]:
        """Look for the usual faults."""
        status = self.status()
        folder = Path(status["disk"]["path"])
        rejected = (await self.queries.counts())["journal_rejects"]
        findings = [
            doctor.ami(status["ami"]),
            doctor.cel(self.config.journal.cel, time.time(), status["live"]["calls"]),
            doctor.rotation(self.config.journal.cel),
            doctor.rejects(rejected, self.ingest.counters.fragments),
            doctor.store(status["journal"], folder),
            doctor.recording(status["recording"]),
            *doctor.communications(status["comms"], status["recordings"], self.config.doctor.disk_low),
            doctor.disk(folder, self.config.doctor.disk_low),
            doctor.clock(self.ami.clock_offset, self.config.doctor.clock_offset),
        ]
        return doctor.as_dicts(findings)

    async def import_progress(self, source: str) -> dict[str, Any]:
        """How far a history from elsewhere has been read."""
        return await self.imports.progress(source)

    async def import_calls(self, batch: ImportBatch, body: AsyncIterator[bytes]) -> dict[str, Any]:
        """Read a batch of such a history into the store, through the one writer."""
        return await self.imports.take(batch, body)

    def metrics(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return metrics.render(self.status())


def in_turn(first: Callable[[Message], None], then: Callable[[Message], None]) -> Callable[[Message], None]:
    """Both, one after the other."""

    def both(event: Message) -> None:
        first(event)
        then(event)

    return both


def rss() -> int:
    """Memory of this process that is resident, in bytes (proc_pid_statm(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
