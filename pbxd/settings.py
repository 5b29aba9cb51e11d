"""From the configuration to the settings of each part: no part but this knows the names of the keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

from pbxd.asterisk.manager import AmiSettings
from pbxd.calls.site import Site, dial_pattern
from pbxd.comms.store import CommsSettings
from pbxd.config.recording import RecordingRule
from pbxd.config.schema import Config
from pbxd.config.values import DAYS
from pbxd.ingest import IngestSettings
from pbxd.recording.monitor import MonitorSettings
from pbxd.recording.policy import Consent, Hours, Mode, Rule
from pbxd.recording.recorder import RecorderRules
from pbxd.recording.retention import Keep
from pbxd.recording.service import ArchiveSettings
from pbxd.stats.periods import local_zone
from pbxd.stats.question import ReportSettings
from pbxd.stats.retention import Keep as KeepFigures


def ami_settings(config: Config) -> AmiSettings:
    """The AMI session's settings, from the configuration."""
    ami = config.ami
    return AmiSettings(
        host=ami.host,
        port=ami.port,
        username=ami.username,
        secret=ami.secret.get_secret_value() if ami.secret else "",
        tls=ami.tls.enabled,
        ca_file=ami.tls.ca_file,
        verify=ami.tls.verify,
        connect_timeout=ami.connect_timeout,
        action_timeout=ami.action_timeout,
        ping_interval=ami.ping_interval,
        reconnect_longest=ami.reconnect_longest,
        refused_wait=ami.refused_wait,
        max_message=ami.max_message,
    )


def ingest_settings(config: Config) -> IngestSettings:
    """The journal readers' settings, from the configuration."""
    journal = config.journal
    return IngestSettings(
        journal.cel, journal.queue_log, journal.own, journal.keep, journal.rotate_at, journal.batch,
        journal.commit_interval, config.statistics.wrapup,
    )  # fmt: skip


def site_of(config: Config) -> Site:
    """The site's endpoints and numbers, from the configuration."""
    return Site(config.site.trunks, config.site.extensions, config.site.phones)


def report_settings(config: Config) -> ReportSettings:
    """What reports are made with, from the configuration."""
    statistics = config.statistics
    return ReportSettings(
        site=config.site.name,
        zone=zone_of(config),
        service_level=statistics.service_level,
        service_levels=statistics.service_levels,
        service_target=statistics.service_target,
        short_abandon=statistics.short_abandon,
        wrapup=statistics.wrapup,
    )


def zone_of(config: Config) -> str:
    """The zone in which reports are made, as an IANA name."""
    return config.site.time_zone or local_zone()


def site_time(config: Config) -> Callable[[int], datetime]:
    """From microseconds since the epoch to the site's own time."""
    zone = ZoneInfo(zone_of(config))
    return lambda at: datetime.fromtimestamp(at / 1_000_000, zone)


def keep_of(config: Config) -> KeepFigures:
    """How long calls and figures are kept."""
    return KeepFigures(config.statistics.keep_calls, config.statistics.keep_rollups)


def recorder_rules(config: Config) -> RecorderRules:
    """Which calls are recorded."""
    recording = config.recording
    return RecorderRules(
        tuple(map(_rule, recording.rules)),
        pause_on_digits=recording.pause_on_digits,
        digits_after=int(recording.digits_after * 1_000_000),
    )


def comms_settings(config: Config, credentials: Path | None) -> CommsSettings:
    """Where the store of communications is, and its key."""
    return CommsSettings(config.comms.folder, config.comms.key_file, credentials)


def archive_settings(config: Callable[[], Config]) -> ArchiveSettings:
    """How recordings are kept; what a reload changes is asked for each time."""

    def keep() -> Keep:
        recording = config().recording
        return Keep(recording.keep, recording.keep_classes, recording.keep_at_least)

    now = config().recording
    return ArchiveSettings(now.spool, now.codec, keep, lambda: config().recording.keep_free)


def _rule(rule: RecordingRule) -> Rule:
    return Rule(
        mode=Mode[rule.record.upper()],
        share=100.0 if rule.share is None else rule.share,
        consent=Consent[rule.consent.upper()],
        directions=frozenset(rule.direction),
        queues=frozenset(rule.queue),
        trunks=rule.trunk,
        extensions=tuple(map(dial_pattern, rule.extension)),
        numbers=tuple(map(dial_pattern, rule.number)),
        hours=tuple(map(hours_of, rule.hours)),
    )


def hours_of(text: str) -> Hours:
    """`mon-fri 08:00-18:00`, which was checked by `values.week_hours`."""
    days, start, end = re.split(r"\s+|(?<=\d)-", text)
    found: set[int] = set()
    for part in days.split(","):
        first, _, last = part.partition("-")
        begin = DAYS.index(first)
        length = (DAYS.index(last or first) - begin) % 7
        found |= {(begin + day) % 7 for day in range(length + 1)}
    return Hours(frozenset(found), _time(start), _time(end))


def _time(text: str) -> time:
    return time.max if text == "24:00" else time.fromisoformat(text)


def monitor_settings(config: Config) -> MonitorSettings:
    """Where recordings are made."""
    recording = config.recording
    return MonitorSettings(
        spool=recording.spool,
        spool_in_asterisk=recording.spool_in_asterisk or recording.spool,
        group=recording.spool_group,
        reserve=recording.spool_reserve,
        beep_every=max(1, round(recording.beep_every)),
    )
