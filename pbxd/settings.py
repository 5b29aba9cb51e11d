"""From the configuration to the settings of each part: no part but this knows the names of the keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, time
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pbxd.asterisk.manager import AmiSettings
from pbxd.calls.site import Site, dial_pattern
from pbxd.chat.rooms import Group, Plan
from pbxd.chat.settings import ChatSettings
from pbxd.comms.people import Directory
from pbxd.config.recording import RecordingRule
from pbxd.config.schema import Config
from pbxd.config.values import DAYS
from pbxd.ingest import IngestSettings
from pbxd.mail.server import described
from pbxd.recording.monitor import MonitorSettings
from pbxd.recording.places import Place
from pbxd.recording.policy import Consent, Hours, Mode, Rule
from pbxd.recording.recorder import RecorderRules
from pbxd.stats.periods import local_zone
from pbxd.stats.question import ReportSettings
from pbxd.stats.retention import Keep as KeepFigures
from pbxd.voicemail.rules import BoxRule
from pbxd.voicemail.rules import Rules as VoicemailRules

if TYPE_CHECKING:  # they bring the store of communications, which a daemon that keeps nothing does without
    from pbxd.comms.store import CommsSettings
    from pbxd.recording.service import ArchiveSettings


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
        kept={name: inf if seconds is None else seconds for name, seconds in recording.kept.items()},
    )


def comms_settings(config: Config, credentials: Path | None) -> CommsSettings:
    """Where the store of communications is, and its key."""
    from pbxd.comms.store import CommsSettings  # noqa: PLC0415

    return CommsSettings(config.comms.folder, config.comms.key_file, credentials)


def archive_settings(config: Callable[[], Config]) -> ArchiveSettings:
    """How recordings are kept; what a reload changes is asked for each time."""
    from pbxd.recording.retention import Keep  # noqa: PLC0415
    from pbxd.recording.service import ArchiveSettings  # noqa: PLC0415

    def keep() -> Keep:
        recording = config().recording
        return Keep(recording.keep, recording.keep_classes, recording.keep_at_least, frozenset(recording.kept))

    now = config().recording
    return ArchiveSettings(now.spools, now.codec, keep, lambda: config().recording.keep_free)


def voicemail_rules(config: Config) -> VoicemailRules:
    """How long voice messages stay where they are, and who is told of them."""
    voicemail, mail = config.voicemail, config.reports.mail
    general = BoxRule(archive_after=voicemail.archive_after, keep=voicemail.keep)
    boxes = {
        entry.box: BoxRule(
            mail=entry.mail,
            sound=entry.notice == "sound",
            archive_after=general.archive_after if entry.archive_after is None else entry.archive_after,
            keep=general.keep if entry.keep is None else entry.keep,
        )
        for entry in voicemail.boxes
    }
    return VoicemailRules(
        general, boxes, voicemail.archive_new, described(mail) if mail.host else None, mail.sender or "",
        config.site.name, zone_of(config),
    )  # fmt: skip


def chat_settings(config: Config) -> ChatSettings:
    """Rooms, phones and limits of chats, and the people."""
    chat = config.chat
    groups = tuple(
        Group(name, room.title, room.number or "", frozenset(room.members), frozenset(room.teams))
        for name, room in chat.rooms.items()
    )
    plan = Plan(groups, config.site.phones, frozenset(chat.mute), chat.phones)
    return ChatSettings(Directory(config.people), plan, chat.keep, chat.longest, chat.attachment)


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
        kind=rule.class_,
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
    first, *second = recording.spools
    places = Place(first, recording.spool_in_asterisk or first), *(Place(one, one) for one in second)
    return MonitorSettings(
        places=places,
        calls=recording.hours_wanted,
        group=recording.spool_group,
        reserve=recording.spool_reserve,
        beep_every=max(1, round(recording.beep_every)),
    )
