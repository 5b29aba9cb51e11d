"""Prometheus metrics, read from the parts' own counters when somebody asks: between two scrapes they cost nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

COUNTERS = {  # in the status -> name, help
    ("journal", "lines"): ("pbxd_journal_lines", "journal lines read"),
    ("journal", "records"): ("pbxd_calls", "call records committed"),
    ("journal", "rejects"): ("pbxd_journal_rejects", "journal lines that could not be understood"),
    ("journal", "commits"): ("pbxd_store_commits", "transactions committed"),
    ("journal", "failed_commits"): ("pbxd_store_failed_commits", "transactions that the store did not take at first"),
    ("journal", "cut"): ("pbxd_calls_cut", "calls cut off by an end of Asterisk"),
    ("ami", "events"): ("pbxd_ami_events", "AMI events handled"),
    ("ami", "ignored"): ("pbxd_ami_events_ignored", "AMI events that nobody asked for"),
    ("ami", "handler_errors"): ("pbxd_ami_handler_errors", "AMI events whose handler failed"),
    ("agi", "sessions"): ("pbxd_agi_sessions", "FastAGI sessions"),
    ("agi", "cut"): ("pbxd_agi_cut", "FastAGI connections beyond all limits"),
    ("agi", "refused"): ("pbxd_agi_refused", "FastAGI connections of those who may not speak"),
    ("voice", "written"): ("pbxd_voice_reports", "reports of voice quality written into the journal"),
    ("voice", "failed"): ("pbxd_voice_reports_failed", "those that could not be written"),
    ("agi", "faults"): ("pbxd_agi_faults", "FastAGI peers that broke the protocol"),
    ("support", "refused"): ("pbxd_support_refused", "certificates that were refused at the door of support"),
    ("support", "alarms"): ("pbxd_support_alarms", "support tickets that were not what the ledger says of them"),
    ("support", "messages_refused"): ("pbxd_messages_refused", "messages of the vendor that were refused"),
    ("ami", "reconnects"): ("pbxd_ami_reconnects", "times that the AMI session was made again"),
}
GAUGES = {
    ("ami", "connected"): ("pbxd_ami_connected", "1 while the AMI session is up"),
    ("journal", "open_calls"): ("pbxd_open_calls", "calls whose end the journal does not have yet"),
    ("journal", "lag"): (
        "pbxd_commit_lag_seconds",
        "from hang-up to commit, of the call that waited longest in the last batch",
    ),
    ("live", "calls"): ("pbxd_live_calls", "calls in progress as AMI tells"),
    ("agi", "running"): ("pbxd_agi_running", "FastAGI sessions in progress"),
    ("agi", "scripts_running"): ("pbxd_agi_scripts_running", "AGI scripts in progress"),
    ("support", "open"): ("pbxd_support_open", "1 while a support ticket is open"),
    ("support", "sessions"): ("pbxd_support_sessions", "support sessions in progress"),
    ("support", "proposals_waiting"): ("pbxd_proposals_waiting", "proposed changes that nobody has answered"),
    ("disk", "free"): ("pbxd_disk_free_bytes", "free space where the store is"),
}


OPTIONAL = {  # where something is kept
    ("voicemail", "messages"): ("pbxd_voicemail_messages", "voice messages in all mailboxes"),
    ("voicemail", "new"): ("pbxd_voicemail_new", "voice messages that nobody has heard"),
    ("voicemail", "archived"): ("pbxd_voicemail_archived", "voice messages in the archive"),
    ("voicemail", "leaving"): ("pbxd_voicemail_leaving", "voice messages on their way there"),
    ("voicemail", "troubled"): ("pbxd_voicemail_troubled", "1 while messages are not where they should be"),
    ("voicemail", "untold"): ("pbxd_voicemail_untold", "1 while mails that tell of messages wait"),
    ("recording", "recording"): ("pbxd_recorder_running", "calls that are being recorded"),
    ("recording", "paused"): ("pbxd_recorder_paused", "those of them that are paused"),
    ("recording", "handed_over"): ("pbxd_recorder_handed_over", "recordings that were made since the start"),
    ("recording", "empty"): (
        "pbxd_recorder_empty",
        "recordings that ended before there was any sound, since the start",
    ),
    ("recording", "refused"): ("pbxd_recorder_refused", "recordings that Asterisk refused since the start"),
    ("recording", "failed"): ("pbxd_recorder_failed", "recordings that the spool did not take since the start"),
    ("recording", "without_consent"): (
        "pbxd_recorder_without_consent",
        "conversations not recorded since the start, for nobody heard the announcement",
    ),
    ("recordings", "recordings"): ("pbxd_recordings", "recordings in the vault"),
    ("recordings", "waiting"): ("pbxd_recordings_waiting", "recordings that wait in the spool"),
    ("recordings", "oldest"): ("pbxd_recordings_waiting_seconds", "how long the oldest of them has waited"),
    ("recordings", "blocked"): ("pbxd_recordings_blocked", "1 while no recording can be stored"),
    ("recordings", "spool_free"): (
        "pbxd_recordings_spool_free_bytes",
        "free space in the spool, or the roomier one of two",
    ),
    ("recording", "full"): ("pbxd_recording_spools_full", "spools without room, in which nothing is recorded"),
    ("recording", "short"): ("pbxd_recording_short", "1 while nothing is recorded for lack of room in the spool"),
    ("recordings", "failed"): ("pbxd_recordings_failed", "tries to store a recording that failed since the start"),
    ("recordings", "damaged"): ("pbxd_recordings_damaged", "recordings that could not be made, kept as they were"),
    ("chat", "messages"): ("pbxd_chat_messages", "chat messages that are kept"),
    ("chat", "rooms"): ("pbxd_chat_rooms", "chat rooms"),
    ("chat", "waiting"): ("pbxd_chat_waiting", "chat messages that wait for a phone"),
    ("chat", "watchers"): ("pbxd_chat_watchers", "people and programs that watch chats now"),
    ("chat", "from_phones"): ("pbxd_chat_from_phones", "chat messages that phones sent since the start"),
    ("chat", "to_phones"): ("pbxd_chat_to_phones", "chat messages that phones were handed since the start"),
    ("chat", "refused"): ("pbxd_chat_refused", "messages of phones that were not kept since the start"),
    ("chat", "phone_failures"): (
        "pbxd_chat_phone_failures",
        "tries to hand a message to a phone that failed since the start",
    ),
    ("comms", "open"): ("pbxd_comms_open", "1 while the store of communications is open"),
    ("comms", "free"): ("pbxd_comms_free_bytes", "free space where it is"),
    ("comms", "orphans"): ("pbxd_comms_orphans", "objects without a row that were set aside"),
    ("uplink", "on"): ("pbxd_uplink_on", "1 while the link to the vendor may run"),
    ("uplink", "connected"): ("pbxd_uplink_connected", "1 while it is up"),
    ("uplink", "waiting"): ("pbxd_uplink_waiting", "entries that were not sent yet"),
    ("uplink", "waiting_bytes"): ("pbxd_uplink_waiting_bytes", "their bytes"),
    ("uplink", "entries"): ("pbxd_uplink_entries", "entries of the ledger"),
}


class StatusCollector(Collector):
    """Turns the daemon's status into metrics."""

    def __init__(self, status: dict[str, Any]) -> None:
        self.status = status

    def collect(self) -> Iterable[Metric]:
        """One metric for each entry of the tables."""
        for (part, key), (name, text) in COUNTERS.items():
            yield CounterMetricFamily(name, text, value=float(self.status[part][key]))
        for (part, key), (name, text) in GAUGES.items():
            yield GaugeMetricFamily(name, text, value=float(self.status[part][key]))
        for (part, key), (name, text) in OPTIONAL.items():
            if (value := (self.status[part] or {}).get(key)) is not None:
                yield GaugeMetricFamily(name, text, value=float(value))
        ends = CounterMetricFamily("pbxd_agi_outcomes", "FastAGI sessions by PBXD_STATUS", labels=["status"])
        for status, count in self.status["agi"]["outcomes"].items():
            ends.add_metric([status], float(count))
        yield ends


def render(status: dict[str, Any]) -> bytes:
    """All metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(StatusCollector(status))
    return generate_latest(registry)
