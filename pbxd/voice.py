"""Voice quality of calls in progress: takes AMI's RTCP reports, and writes a line to pbxd's own journal when a channel is gone."""

from __future__ import annotations

from collections.abc import Callable, Collection

import structlog

from pbxd.asterisk.own_journal import OwnJournal
from pbxd.asterisk.wire import Message
from pbxd.calls.quality import ChannelQuality
from pbxd.calls.voice import quality_line
from pbxd.errors import JournalError

MOST = 20_000  # channels at once; those beyond have no quality in their record
log = structlog.get_logger("pbxd.voice")


class VoiceQuality:
    """What each channel's reports say so far."""

    def __init__(self, journal: OwnJournal, now: Callable[[], float]) -> None:
        self.journal = journal
        self.now = now
        self.written = 0
        self.failed = 0
        self._channels: dict[str, ChannelQuality] = {}

    def report(self, event: Message) -> None:
        """RTCPSent or RTCPReceived."""
        uniqueid = event.get("Uniqueid")
        channel = self._channels.get(uniqueid)
        if channel is None:
            if not uniqueid or len(self._channels) >= MOST:
                return
            channel = self._channels[uniqueid] = ChannelQuality()
        channel.take(event.get("Event"), event.get)

    def hangup(self, event: Message) -> None:
        """A channel is gone: its line is written."""
        uniqueid = event.get("Uniqueid")
        channel = self._channels.pop(uniqueid, None)
        if channel is None:
            return
        at = int(self.now() * 1_000_000)
        line = quality_line(at, event.get("Channel"), uniqueid, event.get("Linkedid"), channel.quality())
        if line is None:
            return
        try:
            self.journal.append(line)
            self.written += 1
        except JournalError as error:
            self.failed += 1
            if self.failed == 1:
                log.error("voice quality of calls is lost", error=str(error))

    def keep(self, alive: Collection[str]) -> None:
        """Asterisk has these channels (uniqueids): what is known of others, whose end AMI missed, is forgotten."""
        for gone in self._channels.keys() - set(alive):
            del self._channels[gone]
