"""As many real calls open at once as this machine's Asterisk can have."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import load
from lab.asterisk import wait_until
from lab.box import Box
from tests.conftest import reachable, say

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
CALLS, RATE, TALK = 1900, 80.0, 45_000  # Asterisk needs ten descriptors a call, and 20,000 are what many machines have


def test_nineteen_hundred_at_once(tmp_path: Path) -> None:
    """Each of them becomes one right record, and pbxd knew of all of them while they were up."""
    box = Box(reachable(tmp_path), say)
    try:
        box.start()
        calls = load.place(box.phones, CALLS, RATE, TALK)
        wait_until(lambda: box.pbxd.status()["journal"]["open_calls"] == CALLS, "all calls to be open at once")
        calls.finish(180)
        box.wait_for_calls(CALLS, 120)
        assert load.wrong(box.pbxd.records(), CALLS) == []
    finally:
        box.stop()
