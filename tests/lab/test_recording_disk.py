"""Disks that are full while calls are recorded: calls go on, what is stored stays as it is, and it goes on by itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.asterisk import owner, wait_until
from lab.box import Box
from lab.desk import Desk, Line
from lab.transfers import connect
from pbxd.calls.cel import id_order
from tests.conftest import reachable, say

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
TONES = {"121": 500, "122": 700, "123": 900, "124": 1100}
PATIENCE = 120.0  # s; tries that failed are made again every 20 s


@dataclass(frozen=True, slots=True)
class Disks:
    """A box whose spool and store are small disks of their own."""

    box: Box
    desk: Desk
    spool: Path
    comms: Path

    def configure(self, more: str = "") -> None:
        """Write pbxd's configuration, with `more` keys of recording."""
        group = owner(self.box.asterisk.tree)[1]
        self.box.pbxd.configure(
            more=f"comms: {{folder: {self.comms}, key_file: {self.box.folder}/keys/comms.key}}\n"
            f"recording: {{enabled: true, spool: {self.spool}, spool_in_asterisk: /lab/spool/recordings, spool_group: '{group}', "
            f"spool_reserve: 4MiB, rules: [{{record: always, consent: none}}]{more}}}"
        )

    def fill(self, disk: Path, left: int = 0) -> Path:
        """Fill a disk to its last byte, or but for `left` bytes; the file that does it."""
        path = disk / ".filler"
        if left:
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - left)
            return path
        with path.open("wb", buffering=0) as file:
            try:
                while True:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), 4096)
            except OSError:
                pass
        return path

    def status(self, part: str) -> dict[str, Any]:
        found: dict[str, Any] = self.box.pbxd.status()[part]
        return found

    def recordings(self) -> set[str]:
        return {one["id"] for one in json.loads(self.box.pbxd.ctl("recordings", "list", "--json").stdout)}

    def details(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.box.pbxd.ctl("recordings", "show", name).stdout)
        return found

    def alarm(self, check: str) -> str:
        """What doctor says of something."""
        told = json.loads(self.box.pbxd.ctl("doctor", "--json", check=False).stdout)
        return next(str(one["state"]) for one in told if one["check"] == check)

    def metric(self, name: str) -> str:
        text = self.box.pbxd.ctl("metrics").stdout
        return next(line.split()[1] for line in text.splitlines() if line.startswith(name + " "))

    def objects(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.comms.glob("objects/*/*")}

    def call(self, caller: str, called: str) -> Line:
        """Two talk, and are recorded."""
        before = len(list(self.spool.glob("*/*.rx.wav")))
        line, _ = connect(self.desk, caller, called)
        wait_until(lambda: len(list(self.spool.glob("*/*.rx.wav"))) > before, "the recording")
        self.desk.pause(1)
        return line

    def stored(self, count: int) -> None:
        wait_until(lambda: len(self.recordings()) == count, f"{count} recordings in the store", PATIENCE)


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disks]:
    box = Box(reachable(tmp_path_factory.mktemp("disk")), say)
    desk = Desk(box.asterisk)
    made = Disks(box, desk, box.asterisk.folder / "spool" / "recordings", box.folder / "comms")
    mounted = []
    try:
        for place, size in ((made.spool, "24m"), (made.comms, "4m")):
            place.mkdir(mode=0o700)
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "pbxd-test", place], check=False)
            if done.returncode:
                pytest.skip("nothing can be mounted here")
            mounted.append(place)
        made.configure()
        box.start()
        for number, tone in TONES.items():
            desk.phone(number, tone=tone)
        yield made
    finally:
        desk.close()
        for place in mounted:
            subprocess.run(["umount", "-l", place], check=True)
        box.stop()


def test_the_stores_disk_full(disks: Disks) -> None:
    known = len(disks.recordings())
    disks.call("121", "122").hang_up()
    disks.stored(known + 1)
    before = disks.objects()
    going_on = disks.call("121", "122")
    filler = disks.fill(disks.comms)
    disks.call("123", "124").hang_up()
    wait_until(lambda: disks.status("recordings")["blocked"], "the alarm")
    assert disks.alarm("recordings") == "fault"
    assert disks.metric("pbxd_recordings_blocked") == "1.0"
    assert "disk is full" in disks.box.pbxd.ctl("status").stdout
    assert not going_on.over
    going_on.hang_up()
    wait_until(lambda: disks.status("recordings")["waiting"] == 2, "both to wait")
    assert disks.objects() == before
    filler.unlink()
    disks.stored(known + 3)
    assert disks.objects().items() >= before.items()
    wait_until(lambda: not disks.status("recordings")["blocked"], "the end of the alarm")
    assert disks.alarm("recordings") == "ok"
    disks.box.pbxd.ctl("vault", "verify")


def test_the_spool_full_to_the_last_byte(disks: Disks) -> None:
    """What has ended leaves it all the same; what goes on is recorded again when there is room."""
    known = disks.recordings()
    ended, going_on = disks.call("121", "122"), disks.call("123", "124")
    before = disks.objects()
    filler = disks.fill(disks.spool)
    wait_until(lambda: disks.status("recording")["short"], "the alarm")
    assert disks.alarm("recording") == "fault"
    assert disks.metric("pbxd_recording_short") == "1.0"
    assert "is full" in disks.box.pbxd.ctl("status").stdout
    assert not going_on.over
    ended.hang_up()
    disks.stored(len(known) + 1)  # it is full still
    assert filler.exists()
    disks.desk.pause(0.5)
    filler.unlink()
    wait_until(lambda: not disks.status("recording")["short"], "the end of the alarm")
    wait_until(lambda: any(disks.spool.glob("*/1.rx.wav")), "the recording to go on")
    disks.desk.pause(1)
    assert not going_on.over
    going_on.hang_up()
    disks.stored(len(known) + 2)
    second = disks.details(max(disks.recordings() - known, key=id_order))
    assert len(second["segments"]) == 2
    assert "the spool had no room" in second["faults"][0]
    assert disks.objects().items() >= before.items()
    assert disks.alarm("recording") == "ok"
    disks.box.pbxd.ctl("vault", "verify")


@pytest.fixture
def second(disks: Disks) -> Iterator[Path]:
    """A second spool, on another disk, which the lab's Asterisk sees too; pbxd was started anew with it."""
    folder = Path(tempfile.mkdtemp(prefix="pbxd-lab-", dir="/dev/shm"))
    try:
        folder.chmod(0o755)
        disks.configure(f", spool_on_disk: {folder / 'spool'}")
        disks.box.pbxd.restart()
        wait_until(lambda: disks.status("recording")["spools"], "the spools")
        yield folder / "spool"
        disks.configure()
        disks.box.pbxd.restart()
    finally:
        shutil.rmtree(folder)


def test_calls_are_recorded_on_the_disk_when_memory_is_short(disks: Disks, second: Path) -> None:
    """A call that goes on, and one that begins then; pbxd is killed while they are up. Nothing of either is lost."""
    wait_until(lambda: not disks.status("recordings")["error"], "the store")
    known = disks.recordings()
    first = disks.call("121", "122")
    filler = disks.fill(disks.spool, 1024**2)
    wait_until(lambda: any(second.glob("*/1.rx.wav")), "the first call to go on on the disk")
    assert disks.status("recording")["short"] is False
    assert disks.alarm("recording") == "warning"
    assert disks.metric("pbxd_recording_spools_full") == "1.0"
    assert f"in {second} now" in disks.box.pbxd.ctl("status").stdout
    other, _ = connect(disks.desk, "123", "124")
    wait_until(lambda: any(second.glob("*/0.rx.wav")), "the second call to be recorded on the disk")
    disks.desk.pause(1)
    disks.box.pbxd.kill()
    disks.box.pbxd.start()
    wait_until(lambda: disks.status("recording")["recording"] == 2, "both to be taken over")
    disks.desk.pause(1)
    first.hang_up()
    other.hang_up()
    disks.stored(len(known) + 2)  # with the one spool full
    made = [disks.details(name) for name in sorted(disks.recordings() - known, key=id_order)]
    assert [len(one["segments"]) for one in made] == [2, 1]
    assert [one["faults"] for one in made] == [[], []]
    assert not [path for spool in (disks.spool, second) for path in spool.rglob("*.wav")]
    filler.unlink()
    wait_until(lambda: disks.status("recording")["spool"] == str(disks.spool), "memory to be used again")
    disks.call("121", "122").hang_up()
    disks.stored(len(known) + 3)
    disks.box.pbxd.ctl("vault", "verify")
