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
    ("agi", "faults"): ("pbxd_agi_faults", "FastAGI peers that broke the protocol"),
    ("support", "refused"): ("pbxd_support_refused", "certificates that were refused at the door of support"),
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
    ("voicemail", "messages"): ("pbxd_voicemail_messages", "voice messages in all mailboxes"),
    ("voicemail", "new"): ("pbxd_voicemail_new", "voice messages that nobody has heard"),
    ("support", "open"): ("pbxd_support_open", "1 while a support ticket is open"),
    ("support", "sessions"): ("pbxd_support_sessions", "support sessions in progress"),
    ("support", "proposals_waiting"): ("pbxd_proposals_waiting", "proposed changes that nobody has answered"),
    ("disk", "free"): ("pbxd_disk_free_bytes", "free space where the store is"),
}


OPTIONAL = {  # where calls are recorded
    ("recordings", "recordings"): ("pbxd_recordings", "recordings in the vault"),
    ("recordings", "waiting"): ("pbxd_recordings_waiting", "recordings that wait in the spool"),
    ("recordings", "oldest"): ("pbxd_recordings_waiting_seconds", "how long the oldest of them has waited"),
    ("recordings", "failed"): ("pbxd_recordings_failed", "tries to store a recording that failed since the start"),
    ("recordings", "damaged"): ("pbxd_recordings_damaged", "recordings that could not be made, kept as they were"),
    ("comms", "open"): ("pbxd_comms_open", "1 while the store of communications is open"),
    ("comms", "free"): ("pbxd_comms_free_bytes", "free space where it is"),
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
