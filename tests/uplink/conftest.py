"""What tests of the uplink share: a real hub, and a box's end of the uplink in folders that the link's user can reach."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.conftest import hub, hub_template, new_hub, shared_hub
from tests.uplink.boxes import BoxEnd

__all__ = ["hub", "hub_template", "new_hub", "shared_hub"]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can get to. pytest's own are in one that each run of pytest makes private again."""
    with tempfile.TemporaryDirectory(prefix="pbxd-uplink-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def end(open_folder: Path) -> Iterator[BoxEnd]:
    """A box's end, not enrolled."""
    made = BoxEnd(open_folder)
    yield made
    made.close()
