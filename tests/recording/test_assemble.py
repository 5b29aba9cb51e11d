"""Sound goes where it belongs, to the sample; gaps are silent, to the sample; memory does not grow with the length."""

from __future__ import annotations

import tracemalloc
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from pbxd.errors import RecordingDamaged
from pbxd.recording import assemble, encode
from pbxd.recording.manifest import parse
from tests.recording.spools import SECOND, START, ready, recording, strongest, tone, wav


def made(folder: Path) -> NDArray[Any]:
    manifest = parse((folder / "ready.json").read_bytes(), folder.name)
    return np.concatenate([*assemble.blocks(assemble.plan(manifest, folder)), np.zeros((0, 2), np.int16)])


def segment(at: float, left: str, right: str, **other: Any) -> dict[str, Any]:
    return {
        "at": START + round(at * SECOND),
        "left": left,
        "right": right,
        "left_party": "",
        "right_parties": [],
        **other,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "r1"
    place.mkdir()
    return place


def constant(value: int, frames: int) -> array[int]:
    return array("h", [value] * frames)


def test_left_and_right(tmp_path: Path) -> None:
    sound = made(recording(tmp_path, "r1", 3.0))
    assert sound.shape == (24_000, 2)
    assert strongest(sound[:, 0]) == pytest.approx(440, abs=1)
    assert strongest(sound[:, 1]) == pytest.approx(1000, abs=1)


def test_every_sample_is_where_it_belongs(folder: Path) -> None:
    wav(folder / "a.wav", constant(100, 4000))
    wav(folder / "b.wav", constant(7, 16_000))
    wav(folder / "c.wav", constant(1000, 4000))
    ready(
        folder, 3.0,
        segments=[segment(0.5, "a.wav", "none.wav"), segment(0.75, "b.wav", "c.wav", end=START + 2 * SECOND)],
        gaps=[[START + 600_000, START + 600_125], [START + 1_500_000, START + 1_600_000]],
    )  # fmt: skip
    expected = np.zeros((24_000, 2), np.int16)
    expected[4000:8000, 0] += 100
    expected[6000:16_000, 0] += 7  # ends where the segment ends
    expected[6000:10_000, 1] += 1000
    expected[4800:4801] = 0
    expected[12_000:12_800] = 0
    assert (made(folder) == expected).all()


def test_what_is_too_loud_together_is_cut_off(folder: Path) -> None:
    wav(folder / "a.wav", constant(30_000, 800))
    wav(folder / "b.wav", constant(-30_000, 800))
    ready(folder, 0.1, segments=[segment(0, "a.wav", "b.wav"), segment(0, "a.wav", "b.wav")])
    assert (made(folder) == [32767, -32768]).all()


def test_before_the_beginning_and_after_the_end(folder: Path) -> None:
    wav(folder / "a.wav", array("h", range(4000)))
    ready(folder, 0.25, segments=[segment(-0.1, "a.wav", "none.wav")])
    assert (made(folder)[:, 0] == np.arange(800, 2800)).all()


def test_two_rates(folder: Path) -> None:
    wav(folder / "a.wav", tone(440, 2, 16_000), 16_000)
    wav(folder / "b.wav", tone(1000, 2), 8000)
    ready(folder, 2.0, segments=[segment(0, "a.wav", "b.wav")])
    sound = made(folder)
    assert sound.shape == (32_000, 2)
    assert strongest(sound[:, 0], 16_000) == pytest.approx(440, abs=1)
    assert strongest(sound[:, 1], 16_000) == pytest.approx(1000, abs=1)
    whole = tone(1000, 2).tolist()
    assert (sound[::2, 1] == whole).all()


def test_a_file_that_was_never_closed(folder: Path) -> None:
    wav(folder / "a.wav", constant(5, 8000), closed=False)
    wav(folder / "b.wav", array("h"))
    (folder / "c.wav").write_bytes(b"RIFF")
    ready(folder, 1.0, segments=[segment(0, "a.wav", "b.wav"), segment(0, "c.wav", "c.wav")])
    assert (made(folder) == [5, 0]).all()


def test_nothing_at_all(folder: Path) -> None:
    ready(folder, 0.0, segments=[])
    assert made(folder).shape == (0, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2"),
        ({"id": "other"}, "is of 'other'"),
        ({"end": START - 1}, "no time of a call"),
        ({"end": START + 90_000 * SECOND}, "no time of a call"),
        ({"start": "then"}, "no whole number"),
        ({"segments": [{}]}, "has no 'at'"),
        ({"segments": "x"}, "no list"),
        ({"segments": [segment(0, "../../etc/passwd", "b.wav")]}, "no name of a sound file"),
        ({"segments": [segment(0, "a/b.wav", "b.wav")]}, "no name of a sound file"),
        ({"gaps": [[2, 1]]}, "gap ends before"),
        ({"parties": [{"endpoint": 1, "number": "", "name": ""}]}, "no text"),
        ({"queue": None}, "no text"),
    ],
)
def test_a_manifest_that_is_none(folder: Path, change: dict[str, Any], message: str) -> None:
    ready(folder, 1.0, **change)
    with pytest.raises(RecordingDamaged, match=message):
        made(folder)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b"null", b"[" * 100_000, b'{"version": 1}'])
def test_no_json(text: bytes) -> None:
    with pytest.raises(RecordingDamaged):
        parse(text, "r1")


def test_files_that_are_no_sound(folder: Path) -> None:
    ready(folder, 1.0)
    (folder / "0.rx.wav").write_bytes(b"this is no sound, it is text, and more of it" * 10)
    with pytest.raises(RecordingDamaged, match="no WAV"):
        made(folder)
    wav(folder / "0.rx.wav", constant(1, 100), 44_100)
    with pytest.raises(RecordingDamaged, match="44100 samples"):
        made(folder)
    stereo = bytearray((folder / "0.rx.wav").read_bytes())
    stereo[22] = 2
    (folder / "0.rx.wav").write_bytes(stereo)
    with pytest.raises(RecordingDamaged, match="2 channels"):
        made(folder)


def test_memory_does_not_grow_with_the_length(folder: Path) -> None:
    with (folder / "0.rx.wav").open("wb") as file:
        wav(folder / "0.rx.wav", constant(1, 8000))
        file.seek(0, 2)
        file.truncate(44 + 2 * 8000 * 3600)
    head = bytearray((folder / "0.rx.wav").read_bytes()[:44])
    head[40:44] = (2 * 8000 * 3600).to_bytes(4, "little")
    with (folder / "0.rx.wav").open("r+b") as file:
        file.write(head)
    ready(folder, 3600.0)
    manifest = parse((folder / "ready.json").read_bytes(), folder.name)
    plan = assemble.plan(manifest, folder)
    assert plan.frames == 8000 * 3600
    tracemalloc.start()
    frames = sum(len(block) for block in assemble.blocks(plan))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert frames == plan.frames
    assert most < 2_000_000


@pytest.mark.parametrize("codec", ["opus", "flac"])
def test_encoded_and_back(tmp_path: Path, codec: str) -> None:
    folder = recording(tmp_path, "r1", 3.0, gaps=[[START + SECOND, START + 2 * SECOND]])
    sound = made(folder)
    path = tmp_path / "encoded"
    encode.encode(path, 8000, codec, (sound[n : n + 4000] for n in range(0, len(sound), 4000)))
    assert encode.frames_of(path) == 24_000
    back, rate = soundfile.read(str(path), dtype="int16")
    assert rate == 8000
    for part in (back[:8000], back[16_000:]):
        assert strongest(part[:, 0]) == pytest.approx(440, abs=2)
        assert strongest(part[:, 1]) == pytest.approx(1000, abs=2)
    assert np.abs(back[8200:15_800]).max() <= (0 if codec == "flac" else 64)  # -54 dB of Opus' own
    if codec == "flac":
        assert (back == sound).all()
    with path.open("rb") as file:
        cut = b"".join(encode.wav(file.fileno(), 2.0))
    assert len(cut) == 44 + 2 * 2 * 8000
