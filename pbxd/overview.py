"""What a running pbxd tells of itself: its status, the calls in progress, its findings and metrics, read from the parts."""

from __future__ import annotations

import os
import resource
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from pbxd import __version__, doctor, metrics
from pbxd.asterisk.manager import ManagerSession
from pbxd.calls.live import LiveState
from pbxd.calls.site import Site
from pbxd.communications import CommunicationServices
from pbxd.config.schema import Config
from pbxd.ingest import Ingest
from pbxd.reports.scheduler import Scheduler
from pbxd.settings import zone_of
from pbxd.spoken import words_of
from pbxd.stats.engine import database_path
from pbxd.stats.queries import Queries
from pbxd.stats.writer import Writer
from pbxd.uplink.reception import Reception
from pbxd.uplink.service import UplinkService
from pbxd.voice import VoiceQuality


class Parts(Protocol):
    """What is told of: the daemon's parts."""

    config: Config
    started: float  # epoch seconds
    state: str
    asterisk: str  # its version, while AMI is up
    ami: ManagerSession
    live_state: LiveState
    scheduler: Scheduler
    voice: VoiceQuality
    communications: CommunicationServices
    reception: Reception
    uplink: UplinkService

    @property
    def ingest(self) -> Ingest:
        """The journals' reader. StoreError if it is not open yet."""

    @property
    def writer(self) -> Writer:
        """The store, for writing. StoreError if it is not open yet."""

    @property
    def queries(self) -> Queries:
        """The store, for reading. StoreError if it is not open yet."""


def status(parts: Parts) -> dict[str, Any]:
    """State of every part, read from the parts."""
    config, ami = parts.config, parts.ami
    path = database_path(config.statistics.database) or Path("/")
    return {
        "version": __version__,
        "site": config.site.name,
        "time_zone": zone_of(config),
        "state": parts.state,
        "pid": os.getpid(),
        "uptime": time.time() - parts.started,
        "rss": rss(),
        "cpu_seconds": sum(resource.getrusage(resource.RUSAGE_SELF)[:2]),
        "ami": {
            "state": str(ami.state),
            "connected": ami.connected,
            "peer": f"{config.ami.host}:{config.ami.port}",
            "asterisk": parts.asterisk,
            "since": ami.since,
            "last_error": ami.last_error,
            **asdict(ami.counters),
            "reconnects": max(0, ami.counters.connects - 1),
        },
        "live": {"calls": len(parts.live_state.calls()), "channels": len(parts.live_state.channels)},
        "journal": {
            **asdict(parts.ingest.counters),
            "open_calls": parts.ingest.open_calls,
            "path": str(config.journal.cel),
        },
        "reports": parts.scheduler.status(),
        **parts.communications.status(),
        "support": parts.reception.status(),
        "uplink": parts.uplink.status(),
        "voice": {"written": parts.voice.written, "failed": parts.voice.failed},
        "store": {"calls": parts.writer.calls, "path": str(path)},
        "disk": {"free": shutil.disk_usage(path.parent).free, "path": str(path.parent)},
    }


def live(state: LiveState) -> dict[str, Any]:
    """Calls in progress, queues and endpoints."""
    now = time.time()
    calls = [{**asdict(call), "seconds": max(0.0, now - call.since)} for call in state.calls()]
    queues = [
        {"name": queue.name, "waiting": len(queue.waiting), "members": len(queue.members), "member": queue.members}
        for queue in state.queues.values()
    ]
    return {"calls": calls, "queues": queues, "endpoints": dict(state.endpoints)}


def narrowed(
    live: dict[str, Any], state: LiveState, site: Site, numbers: frozenset[str], teams: frozenset[str]
) -> dict[str, Any]:
    """Of `live` what concerns these extensions, and the queues that are called as these teams."""

    queues = {channel.name: channel.queue for channel in state.channels.values()}

    def concerns(channel: str) -> bool:
        endpoint = channel.rpartition("-")[0]
        own = not site.is_trunk(endpoint) and site.number_of(endpoint, "") in numbers
        return own or queues.get(channel, "") in teams - {""}

    return {
        "calls": [call for call in live["calls"] if any(map(concerns, call["channels"]))],
        "queues": [queue for queue in live["queues"] if queue["name"] in teams],
        "endpoints": {
            name: reach
            for name, reach in live["endpoints"].items()
            if not site.is_trunk(f"PJSIP/{name}") and site.number_of(f"PJSIP/{name}", "") in numbers
        },
    }


def trunks(state: LiveState, site: Site) -> dict[str, str]:
    """Endpoint -> reachable, unreachable or unknown, of each trunk."""
    return {name: reach for name, reach in state.endpoints.items() if site.is_trunk(f"PJSIP/{name}")}


async def findings(parts: Parts) -> list[dict[str, str]]:
    """The usual faults, looked for."""
    config, found = parts.config, status(parts)
    folder = Path(found["disk"]["path"])
    rejected = (await parts.queries.counts())["journal_rejects"]
    return doctor.as_dicts(
        [
            doctor.ami(found["ami"]),
            doctor.cel(config.journal.cel, time.time(), found["live"]["calls"]),
            doctor.rotation(config.journal.cel),
            doctor.rejects(rejected, parts.ingest.counters.fragments),
            doctor.store(found["journal"], folder),
            *parts.communications.findings(found),
            doctor.support(found["support"]),
            doctor.uplink(found["uplink"]),
            doctor.disk(folder, config.doctor.disk_low),
            doctor.clock(parts.ami.clock_offset, config.doctor.clock_offset),
        ]
    )


def doctor_words() -> frozenset[str]:
    """Every word that is the doctor's own: a finding's others are names, paths and errors."""
    return words_of(doctor)


def exposition(parts: Parts) -> bytes:
    """All metrics in Prometheus' text format."""
    return metrics.render(status(parts))


def rss() -> int:
    """Memory of this process that is resident, in bytes (proc_pid_statm(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
