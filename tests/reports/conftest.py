"""Reports to draw: one of each shape."""

from __future__ import annotations

import pytest

from pbxd.stats.report import Chart, Column, Report

DAY = 86_400_000_000
MONDAY = 1_763_938_800_000_000  # 2025-11-24 00:00 in Berlin


def agents() -> Report:
    """Names as callers and admins may choose them."""
    return Report(
        name="agents",
        title="Agents",
        site="Praxis Łódź",
        zone="Europe/Berlin",
        start=MONDAY,
        end=MONDAY + 7 * DAY,
        by="agent",
        columns=(
            Column("agent", "Agent", "text"),
            Column("calls", "Calls", "count"),
            Column("talk_time", "Talk time", "seconds"),
            Column("occupancy", "Occupancy", "share"),
            Column("mos", "MOS", "number"),
        ),
        rows=(
            ("Zoë", 1204, 43_482.4, 0.1234, 4.209),
            ("Łukasz Wójcik", 7, 59.6, None, None),
            ("=cmd|' /C calc'!A0", 0, None, 0.0, 1.0),
            ("<script>alert(1)</script>", 3, 10.0, 1.0, 3.0),
            ("$x_1$ & \x1b[31mred\u202e", 2, 11.0, 0.5, 3.5),
        ),
        total=("All", 1216, 43_563.0, 0.35, None),
        charts=(
            Chart("bar", "Calls by agent", "agent", ("calls",)),
            Chart("stacked", "Time", "agent", ("talk_time", "calls")),
        ),
        notes=("Values of < 5 calls are not shown.",),
    )


def days() -> Report:
    """Two weeks, a line with gaps."""
    return Report(
        "calls", "Calls", "pbx", "Europe/Berlin", MONDAY, MONDAY + 14 * DAY, "day",
        (Column("day", "Day", "text"), Column("calls", "Calls", "count"), Column("level", "Service level", "share")),
        tuple((f"2025-11-{day:02}", day * 3, None if day % 5 == 0 else 0.8) for day in range(1, 15)),
        charts=(Chart("bar", "Calls a day", "day", ("calls",)), Chart("line", "Service level", "day", ("level",))),
    )  # fmt: skip


def heatmap() -> Report:
    """A row a weekday and hour."""
    return Report(
        "heatmap", "Calls by hour", "pbx", "Europe/Berlin", MONDAY, MONDAY + DAY, "hour",
        (Column("weekday", "Weekday", "text"), Column("hour", "Hour", "text"), Column("calls", "Calls", "count")),
        tuple((day, f"{hour:02}", hour if day == "Mon" else None) for day in ("Mon", "Tue") for hour in range(24)),
        charts=(Chart("heatmap", "Calls", "hour", ("weekday",), "calls"),),
    )  # fmt: skip


def nothing() -> Report:
    """No call came."""
    found = days()
    return Report(
        found.name, found.title, found.site, found.zone, found.start, found.end, found.by, found.columns, (),
        charts=found.charts,
    )  # fmt: skip


@pytest.fixture(params=[agents, days, heatmap, nothing], ids=lambda made: made.__name__)
def report(request: pytest.FixtureRequest) -> Report:
    """Each of them in turn."""
    made: Report = request.param()
    return made
