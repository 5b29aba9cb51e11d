"""What people say, leave and write: recording, the store, voicemail and the dialplan's applications, wired to one another.

A further service is made in `__init__`, is run if `parts` names it, is seen in `status`, and looked at in `findings`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from pbxd.settings import (
    archive_settings,
    chat_settings,
    comms_settings,
    monitor_settings,
    recorder_rules,
    site_of,
    site_time,
    voicemail_rules,
    zone_of,
)

if TYPE_CHECKING:
    from pbxd.chat.service import ChatService
    from pbxd.comms.handover import Source
    from pbxd.comms.host import CommsHost
    from pbxd.recording.service import RecordingService
    from pbxd.voicemail.service import Voicemail

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
        self.comms = self._store()
        self.recordings = self._recordings()
        self._chat_settings = chat_settings(config)
        self.chat = self.agi.services.chat = self._chat()
        self.voicemail = self._voicemail()

    @property
    def people(self) -> Directory:
        """Those that the configuration in force names."""
        return Directory(self.config.people)

    def sources(self) -> dict[str, Source | None]:
        """The stores that a request for access to one's data is answered from; None for those that are off."""
        from pbxd.chat.handover import ChatsOf  # noqa: PLC0415
        from pbxd.recording.handover import RecordingsOf  # noqa: PLC0415
        from pbxd.voicemail.handover import VoicemailOf  # noqa: PLC0415

        people, recordings, voicemail, chat = self.people, self.recordings, self.voicemail, self.chat
        return {
            "recordings": None if recordings is None else RecordingsOf(recordings.library),
            "voicemail": None if voicemail is None else VoicemailOf(voicemail.mailboxes, people),
            "chats": None if chat is None else ChatsOf(chat),
        }

    def parts(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What is to be kept running, by name."""
        return {
            name: service.run
            for name, service in {
                "recorder": self.monitor,
                "communications": self.comms,
                "recordings": self.recordings,
                "chat": self.chat,
                "agi": self.agi,
                "voicemail": self.voicemail,
            }.items()
            if service is not None
        }

    def handlers(self) -> dict[str, Callable[[Message], None]]:
        """What is done at each AMI event."""
        recording = self.monitor.handlers() if self.monitor is not None else {}
        return {**recording, **(self.chat.handlers() if self.chat is not None else {})}

    async def connected(self) -> None:
        """AMI is up, and the live state is what Asterisk says."""
        if self.monitor is not None:
            await self.monitor.connected()
        if self.chat is not None:
            self.chat.connected()

    def disconnected(self) -> None:
        """AMI is down."""
        if self.monitor is not None:
            self.monitor.disconnected()

    def configure(self, config: Config) -> None:
        """Take up a new configuration."""
        self.config = config
        self.agi.configure(config.agi, zone_of(config))
        self.agi.services.announcement = config.recording.announcement
        if self.monitor is not None:
            self.monitor.configure(site_of(config), recorder_rules(config), site_time(config))
        self._chat_settings = chat_settings(config)
        if self.voicemail is not None:
            self.voicemail.configure()

    async def drain(self) -> None:
        """Begin nothing new; what people are in the middle of gets a moment."""
        if self.chat is not None:
            self.chat.watchers.close()
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
            "chat": None if self.chat is None else self.chat.status(),
            "agi": self.agi.status(),
            "voicemail": None if self.voicemail is None else self.voicemail.status(),
        }

    def findings(self, status: dict[str, Any]) -> list[doctor.Finding]:
        """What is wrong, and the remedy. `status` is that of `status()`."""
        return [
            doctor.agi(status["agi"]),
            *doctor.agi_scripts(status["agi"]["scripts"]),
            doctor.recording(status["recording"]),
            *doctor.communications(status["comms"], status["recordings"], self.config.doctor.disk_low),
            *doctor.voicemail(status["voicemail"]),
            doctor.chat(status["chat"]),
        ]

    def _monitor(self, live: LiveState) -> Monitor:
        """What records calls."""
        recorder = Recorder(site_of(self.config), recorder_rules(self.config), site_time(self.config))
        settings = monitor_settings(self.config)
        return Monitor(recorder, self._ami, live, settings, clock=time.time, on_ready=self._recorded)

    def _recorded(self, name: str) -> None:
        log.info("a recording is complete", recording=name)
        if self.recordings is not None:
            self.recordings.notice(name)

    def _store(self) -> CommsHost | None:
        """The store of communications, where something is kept in it; nowhere else is it loaded, for it costs memory.

        It has the tables of all services, those that are off too: what was kept before is still in it, and a new key seals it anew.
        """
        config = self.config
        if not (config.recording.enabled or config.voicemail.enabled or config.chat.enabled):
            return None
        from pbxd.chat.schema import CHAT  # noqa: PLC0415
        from pbxd.comms.host import CommsHost  # noqa: PLC0415
        from pbxd.recording.catalogue import CATALOGUE  # noqa: PLC0415
        from pbxd.voicemail.archive import VOICEMAIL  # noqa: PLC0415

        return CommsHost(
            comms_settings(self.config, self._credentials),
            lambda: self.people,
            lambda: self.config.comms.keep_audit,
            [CATALOGUE, VOICEMAIL, CHAT],
        )

    def _recordings(self) -> RecordingService | None:
        if self.monitor is None or self.comms is None:
            return None
        from pbxd.recording.service import RecordingService  # noqa: PLC0415

        return RecordingService(self.comms, archive_settings(lambda: self.config))

    def _voicemail(self) -> Voicemail | None:
        voicemail = self.config.voicemail
        if not voicemail.enabled or self.comms is None:
            return None
        from pbxd.voicemail.service import Voicemail  # noqa: PLC0415

        return Voicemail(self.comms, voicemail.spool, self._ami, lambda: voicemail_rules(self.config))

    def _chat(self) -> ChatService | None:
        if not self.config.chat.enabled or self.comms is None:
            return None
        from pbxd.chat.service import ChatService  # noqa: PLC0415

        return ChatService(self.comms, lambda: self._chat_settings, self._ami)
