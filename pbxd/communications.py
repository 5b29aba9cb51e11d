"""What people say, leave and write: recording, the store, voicemail and the dialplan's applications, wired to one another.

A further service is made in `__init__`, is run if `parts` names it, is seen in `status`, and looked at in `findings`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import structlog

from pbxd import doctor
from pbxd.agi.service import AgiService
from pbxd.asterisk.manager import ManagerSession
from pbxd.asterisk.wire import Message
from pbxd.calls.live import LiveState
from pbxd.comms.people import Directory
from pbxd.config.schema import Config
from pbxd.recording.monitor import Monitor
from pbxd.recording.recorder import Recorder
from pbxd.settings import archive_settings, comms_settings, monitor_settings, recorder_rules, site_of, zone_of
from pbxd.voicemail.service import Voicemail

if TYPE_CHECKING:
    from pbxd.comms.host import CommsHost
    from pbxd.recording.service import RecordingService

log = structlog.get_logger("pbxd.communications")


class CommunicationServices:
    """The services that keep or carry what people say. Each is kept running by the daemon and takes no other with it."""

    def __init__(self, config: Config, credentials: Path | None, ami: ManagerSession, live: LiveState) -> None:
        self.config = config
        self._credentials = credentials
        self._ami = ami
        self.agi = AgiService(config.agi, zone_of(config))
        self.monitor = self._monitor(live) if config.recording.enabled else None
        self.agi.services.recorder, self.agi.services.announcement = self.monitor, config.recording.announcement
        self.comms, self.recordings = self._archive()
        self.voicemail = Voicemail(config.voicemail.spool, ami)

    def parts(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What is to be kept running, by name."""
        return {
            name: service.run
            for name, service in {
                "recorder": self.monitor,
                "communications": self.comms,
                "recordings": self.recordings,
                "agi": self.agi,
                "voicemail": self.voicemail,
            }.items()
            if service is not None
        }

    def handlers(self) -> dict[str, Callable[[Message], None]]:
        """What is done at each AMI event."""
        return dict(self.monitor.handlers()) if self.monitor is not None else {}

    def connected(self) -> None:
        """AMI is up, and the live state is what Asterisk says."""
        if self.monitor is not None:
            self.monitor.connected()

    def disconnected(self) -> None:
        """AMI is down."""
        if self.monitor is not None:
            self.monitor.disconnected()

    def configure(self, config: Config) -> None:
        """Take up a new configuration."""
        self.config = config
        self.agi.configure(config.agi, zone_of(config))

    async def drain(self) -> None:
        """Begin nothing new; what people are in the middle of gets a moment."""
        await self.agi.drain()

    async def close(self) -> None:
        """Close the store, when all parts have ended."""
        if self.comms is not None:
            await self.comms.close()

    def status(self) -> dict[str, Any]:
        """State of each service; None for those that are off."""
        return {
            "recording": None if self.monitor is None else self.monitor.status(),
            "recordings": None if self.recordings is None else self.recordings.status(),
            "comms": None if self.comms is None else self.comms.status(),
            "agi": self.agi.status(),
            "voicemail": self.voicemail.status(),
        }

    def findings(self, status: dict[str, Any]) -> list[doctor.Finding]:
        """What is wrong, and the remedy. `status` is that of `status()`."""
        return [
            doctor.recording(status["recording"]),
            *doctor.communications(status["comms"], status["recordings"], self.config.doctor.disk_low),
        ]

    def _monitor(self, live: LiveState) -> Monitor:
        """What records calls."""
        zone = ZoneInfo(zone_of(self.config))
        recorder = Recorder(
            site_of(self.config), recorder_rules(self.config), lambda at: datetime.fromtimestamp(at / 1_000_000, zone)
        )
        settings = monitor_settings(self.config)
        return Monitor(recorder, self._ami, live, settings, clock=time.time, on_ready=self._recorded)

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
            comms_settings(self.config, self._credentials),
            lambda: Directory(self.config.people),
            lambda: self.config.comms.keep_audit,
            [CATALOGUE],
        )
        return host, RecordingService(host, archive_settings(lambda: self.config))
