"""What all tests share: the lab's boxes. A box is a real Asterisk with a pbxd beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.box import Box


def say(text: str) -> None:
    """Progress of the lab."""
    print(text, file=sys.stderr)


@pytest.fixture
def new_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A box that is configured and not started; the test starts what it wants."""
    folder = tmp_path_factory.mktemp("box")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)  # Asterisk runs as its own user and must get here
    made = Box(folder, say)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def box(new_box: Box) -> Box:
    """A box with Asterisk and pbxd running."""
    new_box.start()
    return new_box


@pytest.fixture
def journals() -> Path:
    """CEL lines of real calls, a file a scenario of the lab."""
    return Path(__file__).parent / "calls" / "journals"
