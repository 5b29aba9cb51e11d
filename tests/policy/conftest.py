"""A box that is enrolled, with its ledger, whose folders other users can get to as far as their modes let them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbxd.config.schema import Config
from pbxd.policy.facts import Evidence, LedgerFacts, Process, Searched
from tests.uplink.support.rig import Rig


@pytest.fixture(scope="package")
def rig() -> Iterator[Rig]:
    with tempfile.TemporaryDirectory(prefix="pbxd-policy-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        rig = Rig(folder)
        rig.pbxd.config.chmod(0o640)
        rig.pbxd.journal.parent.chmod(0o750)
        rig.pbxd.start()
        yield rig
        rig.pbxd.kill()


@pytest.fixture
def good() -> Evidence:
    """A box on which every clause is kept."""
    return Evidence(
        config=Config.model_validate({"uplink": {"hub": "hub:22", "host_keys": ["ssh-ed25519 " + "A" * 68]}}),
        enrolled=True,
        core=Process(1, 100),
        links=(Process(2, 200, connected=("192.0.2.1:22",)),),
        locked=True,
        support=(),
        switched_off=False,
        eyes="pbxd-uplink",
        opened={"/comms": "", "/spool": "absent"},
        modes=(),
        control="",
        ledger=LedgerFacts(3, (), {"config": 1, "stats": 1, "health": 1}),
        searched=Searched(1, 0, read=("the log",)),
        audit=(),
        objects=2,
        columns=("calls.id",),
    )
