"""Two spools, one of them a really small disk in memory: which is used first, where things go on, and that nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pbxd import doctor
from pbxd.config.recording import Recording as RecordingKeys
from pbxd.recording import spool as spools
from pbxd.recording import stage
from pbxd.recording.places import HOUR, Place, Rooms, chosen
from tests.recording.deciding import SECOND, Stage
from tests.recording.test_stage import contents, die_at, placed, recording, told, wav

RESERVE = 1024**2


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB, of its own."""
    folder = tmp_path / "memory"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "pbxd-test", folder], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def places(*folders: Path) -> list[Place]:
    for folder in folders:
        folder.mkdir(exist_ok=True)
    return [Place(folder, folder) for folder in folders]


def fill(memory: Path) -> Path:
    """Leave half of what is needed."""
    path = memory / ".filler"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(memory).free - RESERVE // 3)
    return path


@pytest.mark.parametrize(("calls", "first"), [(0, "memory"), (1, "disk"), (20, "disk")])
def test_which_is_used_first(memory: Path, tmp_path: Path, calls: int, first: str) -> None:
    found = chosen(places(memory, tmp_path / "disk"), RESERVE, calls)
    assert [place.folder.name for place in found.places] == [first, "disk" if first == "memory" else "memory"]
    assert (f"{memory} has room for 0.1 hours of calls, {calls} are wanted" in found.why) is (first == "disk")


def test_memory_that_has_room(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    if free < 2 * HOUR:
        pytest.skip("this disk has no room for an hour of a call")
    found = chosen(places(tmp_path / "memory", tmp_path / "disk"), RESERVE, 1)
    assert found.places[0].folder.name == "memory"


def test_what_an_earlier_run_left_does_not_count(memory: Path, tmp_path: Path) -> None:
    """A start in the middle of many calls chooses as one without calls does."""
    before = chosen(places(memory, tmp_path / "disk"), RESERVE, 1).why
    with (memory / "sound").open("wb") as file:
        file.write(bytes(3 * 1024**2))
    assert chosen(places(memory, tmp_path / "disk"), RESERVE, 1).why == before


def test_one_is_full_and_has_room_again(memory: Path, tmp_path: Path) -> None:
    rooms = Rooms(chosen(places(memory, tmp_path / "disk"), RESERVE, 0), RESERVE)
    rooms.look()
    assert (rooms.place, rooms.full, rooms.why) == (str(memory), frozenset(), "")
    filler = fill(memory)
    rooms.look()
    assert (rooms.place, rooms.full, rooms.why) == (str(tmp_path / "disk"), frozenset({str(memory)}), "")
    told = doctor.recording(status(rooms))
    assert told is not None
    assert told.state == "warning"
    assert f"{memory} is full" in told.detail
    assert f"recorded in {tmp_path / 'disk'}" in told.detail
    assert doctor.recording(status(rooms) | {"without_consent": 2}).detail == told.detail
    filler.unlink()
    rooms.look()
    assert (rooms.place, rooms.full) == (str(memory), frozenset())
    (only,) = Rooms(chosen(places(memory), RESERVE, 0), RESERVE).status()
    assert only["folder"] == str(memory)


def status(rooms: Rooms, wanted: int = 0) -> dict[str, Any]:
    return {
        "last_error": "", "without_consent": 0, "recording": 0, "handed_over": 0, "calls_wanted": wanted,
        "spool": rooms.place, "spools": rooms.status(),
    }  # fmt: skip


def test_too_little_room_in_all_of_them_is_told(memory: Path) -> None:
    rooms = Rooms(chosen(places(memory), RESERVE, 20), RESERVE)
    rooms.look()
    told = doctor.recording(status(rooms, 20))
    assert (told.state, "0.1 hours of calls" in told.detail, "20 are wanted" in told.detail) == ("warning", True, True)
    assert "recording.spool_on_disk" in told.remedy
    assert "nobody heard" in doctor.recording(status(rooms, 20) | {"without_consent": 2}).detail
    assert doctor.recording(status(rooms)).state == "ok"


@pytest.mark.parametrize(
    ("text", "folders", "wanted"),
    [
        ("", ["/run/pbxd/spool", "/var/spool/pbxd"], 20),
        ("spool_on_disk: /srv/spool", ["/run/pbxd/spool", "/srv/spool"], 20),
        ("spool_calls: 4", ["/run/pbxd/spool", "/var/spool/pbxd"], 4),
        ("spool: /srv/spool", ["/srv/spool"], 0),
        ("spool_in_asterisk: /spool", ["/run/pbxd/spool"], 20),
        ("{spool: /srv/spool, spool_on_disk: /srv/disk, spool_calls: 2}", ["/srv/spool", "/srv/disk"], 2),
        ("{spool: /srv/spool, spool_on_disk: /srv/spool}", ["/srv/spool"], 0),
    ],
)
def test_what_the_configuration_means(text: str, folders: list[str], wanted: int) -> None:
    keys = RecordingKeys.model_validate(yaml.safe_load(text) or {})
    assert ([str(folder) for folder in keys.spools], keys.hours_wanted) == (folders, wanted)


def test_a_call_goes_on_in_the_other_one() -> None:
    stage = Stage()
    recorder = stage.recorder
    stage.do(recorder.room(stage.now, short=False, place="/memory", full=frozenset()))
    stage.new(1, "PJSIP/101", exten="102")
    stage.new(2, "PJSIP/102", linked=1)
    stage.call()
    stage.now += 5 * SECOND
    stage.do(recorder.room(stage.now, short=False, place="/disk", full=frozenset({"/memory"})))
    stage.do(recorder.room(stage.now, short=False, place="/memory", full=frozenset()))
    stage.hang_up(1, 2)
    (made,) = stage.done
    assert made.place == "/memory"
    assert [segment.place for segment in made.segments] == ["/memory", "/disk"]
    assert made.segments[0].end == made.segments[1].at
    assert made.faults == []


def in_both(memory: Path, disk: Path) -> None:
    """A recording that began in memory and went on on the disk."""
    made = placed(recording(segments=3), memory)
    made.segments[1].place = str(disk)
    made.segments[1].end = None
    stage.write_state(memory, made)
    made.segments[1].end = made.segments[1].asked_at + 2 * SECOND
    stage.write_state(memory, made)
    for segment in made.segments:
        for name in stage.names(segment):
            path = Path(segment.place) / segment.folder / name
            wav(path, 2.0 - segment.number / 100)
            os.utime(path, ns=((segment.end or 0) * 1000,) * 2)


def test_brought_together_and_killed_at_each_step(tmp_path: Path) -> None:
    """What is in two spools is in the disk's when it is complete, whichever was the last system call before a kill."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as shm:
        if Path(shm).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is one disk here")
        made: dict[str, bytes] = {}
        for step in range(99):  # the first one is not killed
            memory, disk = Path(shm) / f"memory{step}", tmp_path / f"disk{step}"
            memory.mkdir()
            disk.mkdir()
            in_both(memory, disk)
            both = [memory, disk]
            pid = os.fork()
            if pid == 0:
                die_at(step)
                stage.complete(both, *stage.left_behind(*both))
                os._exit(0)
            _, ended = os.waitpid(pid, 0)
            for left in stage.left_behind(*both):
                assert stage.complete(both, left)
            spools.sweep(both)
            assert (contents(memory), [path.name for path in memory.iterdir()]) == ({}, []), step
            assert [found.name for found in spools.look(both).ready] == ["1.1"], step
            found = contents(disk)
            assert (made or found) == found, step
            made = found
            if step and os.waitstatus_to_exitcode(ended) == 0:
                assert step > 10
                assert len(told(disk)["segments"]) == 3
                return
        pytest.fail("it never came to its end")


def test_what_goes_on_in_the_other_one_is_found_and_left(tmp_path: Path) -> None:
    """A folder without a state of its own is no rubbish while another spool has its state."""
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    for folder in (memory, disk):
        folder.mkdir()
    in_both(memory, disk)
    (found,) = stage.left_behind(disk, memory)
    assert found.place == str(memory)
    assert (disk / "1.1" / "1.rx.wav").exists()
    assert spools.look([memory, disk]).unfinished == 1


def test_the_spool_that_systemd_made_is_taken_as_it_is(tmp_path: Path) -> None:
    """In the unit's sandbox pbxd may set neither owners nor set-group-ID bits: who does not own the spool can do as little."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    group, nobody = 4321, 65534
    spool = tmp_path / "spool"
    spool.mkdir()
    os.chown(spool, 0, group)
    spool.chmod(0o2770)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o011)
    (spool / stage.NOWHERE).symlink_to("/dev/null")
    pid = os.fork()
    if pid == 0:
        os.setgroups([group])
        os.setresgid(nobody, nobody, nobody)
        os.setresuid(nobody, nobody, nobody)
        os.umask(0o027)
        stage.open_spool(spool, str(group))
        stage.write_state(spool, recording())
        os._exit(0)
    _, ended = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(ended) == 0
    made = (spool / "1.1").stat()
    assert (made.st_gid, made.st_mode & 0o777) == (group, 0o770)  # Asterisk may write there
