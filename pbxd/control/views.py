"""What of the daemon's state is shown to those who do not look after the box: that it works, and nothing of people. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def short(status: dict[str, Any]) -> dict[str, Any]:
    """A status for everybody: `short` says that there is more."""
    ami, live = status["ami"], status["live"]
    return {
        **{name: status[name] for name in ("version", "site", "time_zone", "state", "uptime")},
        "short": True,
        "ami": {name: ami[name] for name in ("state", "connected", "asterisk")},
        "live": {"calls": live["calls"]},
    }


def verdicts(findings: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Findings for everybody: what was looked at and how it stands; the details may name people's mailboxes and calls."""
    return [one | {"detail": "details are for the roles admin and auditor", "remedy": ""} for one in findings]
