"""An exchange beside a spool, for each test its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.tree import environment


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[int]:
    """The port at which the other end of AMI listens; it works in `voicemail` of the test's folder."""
    command = [sys.executable, "-m", "tests.voicemail.exchange", str(tmp_path / "voicemail")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()
