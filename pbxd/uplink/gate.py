"""The one door out of the box: whatever may leave is built here, from what the parts measured, and checked by `bodies`.

What does not fit is refused with an error; nothing is dropped without a word. A queue, trunk or extension whose name is not of the
narrow form of `bodies` is counted under `other`, so that sums stay right.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pbxd.config.schema import Config, keys, value_of
from pbxd.config.shown import is_plain
from pbxd.errors import GateRefused
from pbxd.stats.layout import CALLS, EACH, EXTENSION, QUEUES, TRUNK, Layout, Row
from pbxd.stats.outgoing import Quarter
from pbxd.stats.question import ReportSettings
from pbxd.uplink import bodies
from pbxd.uplink.bodies import OTHER, Entry, is_queue, is_site, is_trunk

Own = Callable[[str], bool]  # whether a number is one of the site's own


def stats(quarter: Quarter, own: Own) -> Entry:
    """A quarter of an hour. `own`: an extension that it does not hold for might be an outside number, and counts as `other`."""
    tables = {layout.table: _rows(layout, rows, own) for layout, rows in quarter.rows.items()}
    levels: dict[tuple[int, str], int] = {}
    for kind, key, level in quarter.levels:
        place = kind, _key(CALLS, kind, key, own)
        levels[place] = levels.get(place, 0) + level
    content = {"slot": quarter.slot, "tables": tables, "levels": [[*place, level] for place, level in levels.items()]}
    return Entry("stats", bodies.body_of("stats", content), quarter.slot)


def _rows(layout: Layout, rows: Iterable[Row], own: Own) -> list[list[Any]]:
    """The rows as they go up; those under one name are one row."""
    named = [(0, kind, _key(layout, kind, key, own), *values) for kind, key, *values in rows]
    return [
        [base64.b64encode(one).decode() if isinstance(one, bytes) else one for one in row[1:]]
        for row in layout.merged(0, named)
    ]


def _key(layout: Layout, kind: int, key: str, own: Own) -> str:
    """A key that may be told."""
    if layout is QUEUES:
        return key if kind != EACH or is_queue(key) else OTHER
    if kind == TRUNK:
        return key if is_trunk(key) else OTHER
    if kind == EXTENSION:
        return key if bodies.is_extension(key) and own(key) else OTHER
    return key


def config(
    settings: Config, report: ReportSettings, version: str, *, tickets: Sequence[Any] = (), messages: Sequence[Any] = ()
) -> Entry:
    """How the box is set up, without secrets, names, numbers, addresses and paths. `report`: what reports are made with here."""
    values, counts = _settings(settings)
    content = {
        "site": report.site if is_site(report.site) else "pbx",
        "zone": report.zone,
        "version": numeric(version),
        "share_statistics": settings.uplink.share_statistics,
        "report": {
            "service_level": report.service_level,
            "service_levels": {name: level for name, level in report.service_levels.items() if is_queue(name)},
            "service_target": report.service_target,
            "short_abandon": report.short_abandon,
            "wrapup": report.wrapup,
        },
        "config": values,
        "counts": counts,
        "tickets": list(tickets),
        "messages": list(messages),
    }
    return Entry("config", bodies.body_of("config", content))


def _settings(settings: Config) -> tuple[dict[str, Any], dict[str, int]]:
    """Values of keys whose kind leaves no room for a name; and of lists and maps, how many there are in them."""
    values: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for key, info in keys().items():
        value = value_of(settings, key)
        if isinstance(value, tuple | list | dict):
            counts[key] = len(value)
        elif is_plain(info):
            values[key] = value
    return values, counts


def health(content: Mapping[str, Any]) -> Entry:
    """How the box is; pbxd.uplink.vitals measures it."""
    return Entry("health", bodies.body_of("health", content))


def usage(counts: Mapping[str, int], least: int) -> dict[str, str]:
    """Counts of use in coarse buckets; those of a bucket below `least` are left out. GateRefused if it is below k."""
    if least < bodies.K:
        raise GateRefused(f"health: counts of use below {bodies.K} are not told, whatever the configuration says")
    found = {name: bodies.bucket(count, least) for name, count in counts.items()}
    return {name: bucket for name, bucket in found.items() if bucket is not None}


def trunk(endpoint: str) -> str:
    """The name under which a trunk is told."""
    return endpoint if is_trunk(endpoint) else OTHER


def numeric(version: str) -> str:
    """The numbers at the beginning of a version: 22.10.1 of `22.10.1~dfsg`. `0.0` if there are none."""
    found = bodies.VERSION.match(version)
    return found[0] if found else "0.0"
