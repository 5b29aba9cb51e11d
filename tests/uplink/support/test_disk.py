"""No recording, no session: the disk of the recordings is full before a session, and in the middle of one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.asterisk import wait_until
from tests.uplink.support.rig import Rig, read_until, say

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Rig]:
    """A box whose disk for tickets holds 2 MiB."""
    rig = Rig(tmp_path)
    disk = tmp_path / "support"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    try:
        rig.pbxd.start()
        yield rig
    finally:
        rig.pbxd.kill()
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(rig: Rig) -> Path:
    """Leave no byte."""
    path = rig.folder / "support" / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={path}", "bs=512"], capture_output=True, check=False)
    return path


def test_no_recording_no_session(small: Rig) -> None:
    with small.ticket("shell") as ticket:
        with small.shell(ticket) as person:
            read_until(person, b"COMMUNICATIONS")
            filler = fill(small)
            say(person, "yes canary-of-this-test | head -c 3000000")
            assert person.stdout is not None
            assert person.stderr is not None
            seen = person.stdout.read()
            assert b"cannot be recorded" in person.stderr.read()
            assert person.wait(60) == 74
            cast = small.folder / "support" / "tickets" / ticket / "001.cast"
            assert seen.count(b"canary-of-this-test\r\n") <= cast.read_text().count("canary-of-this-test\\r\\n")
        small.certify(ticket)
        with small.shell(ticket) as person:
            assert person.stdout is not None
            assert person.stderr is not None
            assert person.stdout.read() == b""
            assert b"pbxd: " in person.stderr.read()
            assert person.wait(60) != 0
        filler.unlink()
        with small.shell(ticket) as person:
            read_until(person, b"COMMUNICATIONS")
    wait_until(lambda: small.shown(ticket)["state"] == "ended", "the end")
