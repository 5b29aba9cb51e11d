"""The spool, with real files: what is written beside the sound, what a kill leaves, and what the pipeline is given."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pbxd.recording import spool as spools
from pbxd.recording import stage
from pbxd.recording.policy import Party
from pbxd.recording.segments import Recording, Segment

SECOND = 1_000_000
NOW = 1_795_000_000 * SECOND


def wav(path: Path, seconds: float, *, closed: bool = True) -> None:
    """A WAV file as Asterisk writes it; one that was not closed says in its header that it is empty."""
    sound = bytes(int(seconds * 8000) * 2)
    length = len(sound) if closed else 0
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16)
    path.write_bytes(
        b"RIFF" + struct.pack("<I", 36 + length) + b"WAVE" + fmt + b"data" + struct.pack("<I", length) + sound
    )


def recording(name: str = "1.1", *, segments: int = 1) -> Recording:
    made = Recording(
        name, name, NOW, channels={"1.1", "1.2"}, parties={"PJSIP/101": Party("PJSIP/101", "101", trunk=False)}
    )
    for number in range(segments):
        at = NOW + number * 10 * SECOND
        made.segments.append(
            Segment(name, number, "1.1", "PJSIP/101-0", at, at=at, end=at + 2 * SECOND, left="PJSIP/101")
        )
    made.end = NOW + segments * 10 * SECOND
    return made


def with_sound(spool: Path, made: Recording, seconds: float = 2.0, *, closed: bool = True) -> None:
    stage.write_state(spool, made)
    for segment in made.segments:
        (spool / segment.folder).mkdir(exist_ok=True)
        for name in stage.names(segment):
            wav(spool / segment.folder / name, seconds, closed=closed)
            last = (segment.end or NOW) * 1000
            os.utime(spool / segment.folder / name, ns=(last, last))


def placed(made: Recording, spool: Path) -> Recording:
    """The same, made in this spool."""
    segments = [replace(segment, place=str(spool)) for segment in made.segments]
    return replace(made, segments=segments, place=str(spool))


def told(spool: Path, name: str = "1.1") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((spool / name / stage.READY).read_text())
    return found


def test_handed_over(tmp_path: Path) -> None:
    made = recording(segments=2)
    with_sound(tmp_path, made)
    assert stage.complete([tmp_path], made)
    assert sorted(path.name for path in (tmp_path / "1.1").iterdir()) == [
        "0.rx.wav", "0.tx.wav", "1.rx.wav", "1.tx.wav", "ready.json",
    ]  # fmt: skip
    assert [segment["end"] - segment["at"] for segment in told(tmp_path)["segments"]] == [2 * SECOND] * 2
    assert told(tmp_path)["faults"] == []


def test_a_state_comes_back(tmp_path: Path) -> None:
    made = recording()
    made.pause("digits", NOW)
    stage.write_state(tmp_path, made)
    assert stage.left_behind(tmp_path) == [placed(made, tmp_path)]


def test_what_asterisk_never_closed_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "CLOSING", 0.1)
    made = recording()
    with_sound(tmp_path, made, 1.5, closed=False)
    assert stage.complete([tmp_path], made)
    header = (tmp_path / "1.1" / "0.rx.wav").read_bytes()[:44]
    assert struct.unpack("<I", header[40:])[0] == 24_000
    assert struct.unpack("<I", header[4:8])[0] == 24_036


def test_sound_that_is_missing_is_told(tmp_path: Path) -> None:
    made = recording()
    with_sound(tmp_path, made, 0.5)
    assert stage.complete([tmp_path], made)
    assert told(tmp_path)["faults"] == ["1.5 s of PJSIP/101-0 are missing"]


def test_no_sound_at_all_leaves_nothing(tmp_path: Path) -> None:
    made = recording()
    stage.write_state(tmp_path, made)
    assert not stage.complete([tmp_path], made)
    assert list(tmp_path.iterdir()) == []


def test_a_recording_without_length_leaves_nothing(tmp_path: Path) -> None:
    """The call was over before Asterisk had written anything but headers."""
    made = recording()
    made.segments[0].end = made.segments[0].at
    with_sound(tmp_path, made, 0)
    assert not stage.complete([tmp_path], made)
    assert list(tmp_path.iterdir()) == []


def test_a_recording_that_was_never_written_down(tmp_path: Path) -> None:
    """It was over before its state was saved."""
    assert not stage.complete([tmp_path], recording())


def test_an_answer_that_never_came(tmp_path: Path) -> None:
    """pbxd was killed between asking Asterisk and its answer: how long the sound is says when it began."""
    made = recording()
    made.segments[0].at = None
    with_sound(tmp_path, made, 1.5)
    assert stage.complete([tmp_path], made)
    (segment,) = told(tmp_path)["segments"]
    assert (segment["at"], segment["end"]) == (NOW + SECOND // 2, NOW + 2 * SECOND)


def test_an_end_that_nobody_saw(tmp_path: Path) -> None:
    """The call ended while pbxd was down: the recording ends where Asterisk wrote last, not where the next start noticed."""
    made = recording()
    with_sound(tmp_path, made)
    made.segments[0].end, made.end = NOW + 60 * SECOND, None
    assert stage.complete([tmp_path], made)
    assert told(tmp_path)["end"] == NOW + 2 * SECOND
    assert told(tmp_path)["faults"] == []


def test_a_folder_without_anything_in_it_goes(tmp_path: Path) -> None:
    """pbxd was killed between making the folder and writing the state."""
    (tmp_path / "1.1").mkdir()
    assert stage.left_behind(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_another_is_gathered(tmp_path: Path) -> None:
    first, second = recording("1.1"), recording("1.5")
    with_sound(tmp_path, first)
    with_sound(tmp_path, second)
    first.absorb(second)
    stage.write_state(tmp_path, first)
    assert stage.left_behind(tmp_path) == [placed(first, tmp_path)]
    assert stage.complete([tmp_path], first)
    assert [path.name for path in tmp_path.iterdir()] == ["1.1"]
    assert {segment["left"] for segment in told(tmp_path)["segments"]} == {"0.rx.wav", "1.5-0.rx.wav"}


def test_killed_at_each_step_and_done_again(tmp_path: Path) -> None:
    """Each system call that changes a file is once the last one; what is made again from what it left is the same."""
    whole = tmp_path / "whole"
    first, second = recording("1.1", segments=2), recording("1.5")
    for made in (first, second):
        whole.mkdir(exist_ok=True)
        with_sound(whole, made)
    first.absorb(second)
    stage.write_state(whole, first)
    shutil.copytree(whole, tmp_path / "expected")
    assert stage.complete([tmp_path / "expected"], recall(tmp_path / "expected"))
    expected = contents(tmp_path / "expected")
    for step in range(1, 40):
        spool = tmp_path / f"killed{step}"
        shutil.copytree(whole, spool)
        pid = os.fork()
        if pid == 0:
            die_at(step)
            stage.complete([spool], recall(spool))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        for left in stage.left_behind(spool):
            stage.complete([spool], left)
        spools.sweep([spool])
        assert contents(spool) == expected, step
        if os.waitstatus_to_exitcode(status) == 0:
            assert step > 5
            return
    pytest.fail("it never came to its end")


def recall(spool: Path) -> Recording:
    (found,) = stage.left_behind(spool)
    return found


def contents(spool: Path) -> dict[str, bytes]:
    return {str(path.relative_to(spool)): path.read_bytes() for path in spool.rglob("*") if path.is_file()}


def die_at(step: int) -> None:
    """End this process, as kill -9 would, before its `step`th rename, unlink, rmdir or fsync."""
    left = [step]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os._exit(9)
            return real(*args, **kwargs)

        return call

    for name in ("rename", "unlink", "rmdir", "fsync"):
        setattr(os, name, counted(getattr(os, name)))
