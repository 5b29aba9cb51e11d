"""What the doctor says of what was measured."""

from __future__ import annotations

from typing import Any

import pytest

from pbxd import doctor

AGI: dict[str, Any] = {
    "listening": ["127.0.0.1:4573"], "last_error": "", "running": 2, "limit": 2000, "sessions": 9, "cut": 0,
    "refused": 0, "last_refused": "", "outcomes": {"OK": 9},
}  # fmt: skip


@pytest.mark.parametrize(
    ("way", "state", "said"),
    [
        ("user", "ok", "as the user guest"),
        ("service", "ok", "pbxd-scripts.service"),
        ("own user", "warning", "as pbxd's own user"),
        ("none", "fault", "2 AGI scripts cannot run"),
    ],
)
def test_scripts(way: str, state: str, said: str) -> None:
    status = {"way": way, "user": "guest", "files": 2, "running": 1}
    (found,) = doctor.agi_scripts(status)
    assert (found.state, said in found.detail) == (state, True)
    assert doctor.agi_scripts(status | {"files": 0}) == []


@pytest.mark.parametrize(
    ("status", "state", "said"),
    [
        ({}, "ok", "2 sessions now, 9 since the start"),
        ({"listening": []}, "ok", "off: agi.listen is empty"),
        ({"listening": [], "last_error": "127.0.0.1:4573 is in use"}, "fault", "is in use"),
        (
            {"refused": 2, "last_refused": "user nobody"},
            "warning",
            "2 connections were refused since the start, the last of user",
        ),
        ({"cut": 1, "outcomes": {"OK": 9, "BUSY": 3}}, "warning", "4 sessions were too many"),
    ],
)
def test_agi(status: dict[str, Any], state: str, said: str) -> None:
    found = doctor.agi(AGI | status)
    assert (found.state, said in found.detail) == (state, True)
    assert (found.remedy == "") == (state == "ok")
