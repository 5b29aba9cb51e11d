"""From the configuration to the settings of each part: no part but this knows the names of the keys."""

from __future__ import annotations

from pbxd.asterisk.manager import AmiSettings
from pbxd.calls.site import Site
from pbxd.config.schema import Config
from pbxd.ingest import IngestSettings
from pbxd.stats.periods import local_zone
from pbxd.stats.question import ReportSettings
from pbxd.stats.retention import Keep


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


def keep_of(config: Config) -> Keep:
    """How long calls and figures are kept."""
    return Keep(config.statistics.keep_calls, config.statistics.keep_rollups)
