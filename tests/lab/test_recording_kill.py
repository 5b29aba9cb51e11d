"""A few kills of pbxd and of its encoder under real calls; `python -m tests.soak.kill_recording` does it at length."""

from __future__ import annotations

import random

import pytest

from tests.conftest import reachable
from tests.soak.kill_recording import run

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


def test_killed_at_steps_and_at_random(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Six kills while six calls are up at any time: see `tests.soak.verdict` for what must be true afterwards."""
    seed = random.randrange(1000)
    assert run(reachable(tmp_path_factory.mktemp("kill")), 6, 6, seed, talk=(2.0, 6.0)) == [], f"seed {seed}"
