"""What all tests share: the lab's boxes. A box is a real Asterisk with a pbxd beside it."""

from __future__ import annotations

import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from hypothesis import settings

from lab.box import Box
from tests.reports.postbox import Postbox, free_port
from tests.running import Running
from tests.stats.postgres import Server

settings.register_profile("pbxd", deadline=None)  # a busy machine is no fault
settings.load_profile("pbxd")


def say(text: str) -> None:
    """Progress of the lab."""
    print(text, file=sys.stderr)


def reachable(folder: Path) -> Path:
    """The folder, which Asterisk, as its own user, and other users of a test can get to.

    Opens the folders that pytest made for it, at whatever depth, and nothing above them; takes no right from anybody.
    """
    ours = folder.relative_to(tempfile.gettempdir())
    for parent in (folder, *folder.parents[: len(ours.parts) - 1]):
        parent.chmod(stat.S_IMODE(parent.stat().st_mode) | 0o055)
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server: one a run, with a database of its own for each who asks for one."""
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def postbox() -> Postbox:
    """What a mail server of the test is sent."""
    return Postbox()


@pytest.fixture
def port(postbox: Postbox) -> Iterator[int]:
    """The port of that mail server."""
    controller = Controller(postbox, "127.0.0.1", free_port())
    controller.start()
    yield controller.port
    postbox.may_answer.set()
    controller.stop()


@pytest.fixture
def new_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A box that is configured and not started; the test starts what it wants."""
    made = Box(reachable(tmp_path_factory.mktemp("box")), say)
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


@pytest.fixture
def pbxd(tmp_path: Path) -> Iterator[Running]:
    """A pbxd without an Asterisk."""
    running = Running(tmp_path)
    running.start()
    yield running
    running.kill()
