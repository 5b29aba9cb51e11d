"""From the spool into the vault, with real files, real keys, a real kill -9, and a real full disk's error."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import random
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lab.hearing import loudness, pitch
from lab.tree import environment
from pbxd.comms.people import ROOT, Directory, Person
from pbxd.comms.store import CommsSettings
from pbxd.config.people import PersonEntry
from pbxd.errors import AccessRefused, ObjectGone, RecordingDamaged
from pbxd.recording.assemble import encode
from pbxd.recording.service import Recordings

SECOND = 1_000_000
START = 1_795_000_000 * SECOND
RATE = 8000
PEOPLE = Directory(
    [
        PersonEntry(name="anna", extensions=("101",)),
        PersonEntry(name="carl", extensions=("103",)),
        PersonEntry(name="ada", role="admin"),
    ]
)
KILLS = 20  # the soak does more of them


def tone(path: Path, hz: int, seconds: float) -> None:
    time = np.arange(int(seconds * RATE)) / RATE
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hz * time), RATE, subtype="PCM_16")


def spooled(
    spool: Path,
    name: str = "1795000000.1",
    pieces: Sequence[tuple[float, float, int, int]] = ((0, 2, 500, 700),),
    gaps: Sequence[tuple[float, float]] = (),
    length: float = 2.0,
) -> Path:
    """A recording that is complete: pieces are (from, to, tone on the left, tone on the right), in seconds."""
    folder = spool / name
    folder.mkdir(parents=True)
    segments = []
    for number, (since, until, left, right) in enumerate(pieces):
        tone(folder / f"{number}.rx.wav", left, until - since)
        tone(folder / f"{number}.tx.wav", right, until - since)
        at, end = (START + int(second * SECOND) for second in (since, until))
        segments.append({"at": at, "end": end, "left": f"{number}.rx.wav", "right": f"{number}.tx.wav"})
    told = {
        "version": 1, "id": name, "call": name, "start": START, "end": START + int(length * SECOND), "class": "call",
        "direction": "internal", "caller": "101", "dialled": "102", "queue": "", "consent": "none", "faults": [],
        "parties": [{"endpoint": "PJSIP/101", "number": "101", "trunk": False, "name": "Zoë Canary"}],
        "segments": segments, "gaps": [[START + int(at * SECOND) for at in gap] for gap in gaps],
    }  # fmt: skip
    (folder / "ready.json").write_text(json.dumps(told))
    return folder


def told_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "ready.json").read_text())
    return found


@pytest.fixture
async def recordings(tmp_path: Path) -> AsyncIterator[Recordings]:
    made = await opened(tmp_path)
    yield made
    await made.close()


async def opened(folder: Path, codec: str = "opus") -> Recordings:
    settings = CommsSettings(folder / "comms", folder / "keys" / "comms.key")
    return await Recordings.open(settings, lambda: PEOPLE, folder / "spool", codec)


@pytest.mark.parametrize("codec", ["opus", "flac"])
def test_pieces_stand_at_their_times_and_pauses_are_silent(tmp_path: Path, codec: str) -> None:
    pieces = [(0, 2, 500, 700), (4, 6, 900, 1100), (5, 6, 1300, 1500)]
    folder = spooled(tmp_path, pieces=pieces, gaps=[(1, 1.5)], length=7)
    sound, rate = soundfile.read(encode(folder, told_of(folder), codec))
    assert len(sound) / rate == pytest.approx(7, abs=0.01)

    def at(since: float, until: float) -> tuple[int, int]:
        part = sound[int(since * rate) : int(until * rate)]
        return pitch(part[:, 0], rate), pitch(part[:, 1], rate)

    assert at(0.1, 0.9) == at(1.6, 1.9) == (500, 700)
    assert at(1.1, 1.4) == at(2.2, 3.8) == at(6.2, 6.9) == (0, 0)
    assert at(4.1, 4.9) == (900, 1100)
    both = np.abs(np.fft.rfft(sound[int(5.2 * rate) : int(5.8 * rate), 0]))
    assert {round(hz / 0.6 / 100) * 100 for hz in np.argsort(both)[-2:]} == {900, 1300}  # pieces that overlap are added


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "0.rx.wav").write_bytes(b"no sound"),
        lambda folder: (folder / "0.rx.wav").unlink(),
        lambda folder: soundfile.write(folder / "0.rx.wav", np.zeros(99), 16000),
    ],
)
def test_what_is_no_sound_is_told(tmp_path: Path, harm: Any) -> None:
    folder = spooled(tmp_path)
    harm(folder)
    with pytest.raises(RecordingDamaged):
        encode(folder, told_of(folder), "opus")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "sub/0.rx.wav"])
def test_no_file_outside_its_folder(tmp_path: Path, name: str) -> None:
    folder = spooled(tmp_path)
    told = told_of(folder)
    told["segments"][0]["left"] = name
    with pytest.raises(RecordingDamaged):
        encode(folder, told, "opus")


async def test_stored_and_heard_again(recordings: Recordings, tmp_path: Path) -> None:
    folder = spooled(tmp_path / "spool")
    await recordings.pipeline.take_in(folder)
    assert not folder.exists()
    (one,) = await recordings.listing(ROOT, 0, 1 << 62, 10)
    assert one["about"]["parties"][0]["name"] == "Zoë Canary"
    file, codec = await recordings.sound(ROOT, "1795000000.1")
    with file:
        sound, rate = soundfile.read(io.BytesIO(file.read()))
    assert codec == "opus"
    assert (pitch(sound[rate // 2 : rate, 0], rate), pitch(sound[rate // 2 : rate, 1], rate)) == (500, 700)
    stolen = b"".join(path.read_bytes() for path in (tmp_path / "comms").rglob("*") if path.is_file())
    for word in ("Canary", "PJSIP/101", "OggS", "OpusHead"):
        assert word.encode() not in stolen


async def test_who_may(recordings: Recordings, tmp_path: Path) -> None:
    await recordings.pipeline.take_in(spooled(tmp_path / "spool"))
    anna, carl, ada = (person for person in PEOPLE)
    assert len(await recordings.listing(anna, 0, 1 << 62, 10)) == 1
    assert await recordings.listing(carl, 0, 1 << 62, 10) == []
    (await recordings.sound(anna, "1795000000.1"))[0].close()
    for who, action in (
        (carl, recordings.sound),
        (ada, recordings.sound),
        (anna, recordings.delete),
        (carl, recordings.delete),
    ):
        with pytest.raises(AccessRefused):
            await action(who, "1795000000.1")
    await recordings.delete(ada, "1795000000.1")
    with pytest.raises(ObjectGone):
        await recordings.sound(ROOT, "1795000000.1")
    assert not list((tmp_path / "comms").rglob("*.age"))


async def test_nobody_gets_nothing(recordings: Recordings, tmp_path: Path) -> None:
    await recordings.pipeline.take_in(spooled(tmp_path / "spool"))
    assert await recordings.listing(Person("mallory", "nobody"), 0, 1 << 62, 10) == []


async def test_what_was_deleted_does_not_come_back(recordings: Recordings, tmp_path: Path) -> None:
    """Killed after it was stored and before the spool's folder went; deleted; then started again."""
    folder = spooled(tmp_path / "spool")
    shutil.copytree(folder, tmp_path / "copy")
    await recordings.pipeline.take_in(folder)
    await recordings.delete(ROOT, "1795000000.1")
    shutil.copytree(tmp_path / "copy", folder)
    await recordings.pipeline.take_in(folder)
    assert not folder.exists()
    assert await recordings.listing(ROOT, 0, 1 << 62, 10) == []


async def test_a_damaged_one_is_kept_and_stops_no_other(recordings: Recordings, tmp_path: Path) -> None:
    bad = spooled(tmp_path / "spool", "1795000000.1")
    (bad / "0.rx.wav").write_bytes(b"no sound")
    spooled(tmp_path / "spool", "1795000000.2")
    assert await recordings.pipeline._empty()
    assert [one["id"] for one in await recordings.listing(ROOT, 0, 1 << 62, 10)] == ["1795000000.2"]
    assert (bad / "damaged.json").exists()
    assert recordings.pipeline.status()["damaged"] == 1


async def test_a_full_disk_leaves_the_spool(tmp_path: Path) -> None:
    """On a disk that is really full; when it is not any more, it goes on by itself."""
    (tmp_path / "comms").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path / "comms")], check=True)
    try:
        recordings = await opened(tmp_path)
        folder = spooled(tmp_path / "spool")
        filler = tmp_path / "comms" / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        assert not await recordings.pipeline._empty()
        assert (folder / "ready.json").exists()
        assert recordings.pipeline.status()["last_error"]
        filler.unlink()
        assert await recordings.pipeline._empty()
        assert recordings.pipeline.status()["last_error"] == ""
        assert len(await recordings.listing(ROOT, 0, 1 << 62, 10)) == 1
        await recordings.close()
    finally:
        subprocess.run(["umount", str(tmp_path / "comms")], check=True)


PROGRAM = """
import asyncio, sys
from pathlib import Path
from tests.recording.test_pipeline import opened

async def main():
    recordings = await opened(Path(sys.argv[1]))
    print("open", flush=True)
    await recordings.pipeline._empty()
    await recordings.close()

asyncio.run(main())
"""


def killed_until_done(folder: Path) -> int:
    """Run the pipeline, killed and started again until nothing is in the spool; how often it was killed."""
    chance = random.Random(5)
    kills = 0
    while list((folder / "spool").iterdir()):
        command = [sys.executable, "-c", PROGRAM, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as process:
            assert process.stdout is not None
            while process.stdout.readline() != b"open\n":
                assert process.poll() is None
            if kills < KILLS:
                try:
                    process.wait(chance.uniform(0, 0.1))
                except subprocess.TimeoutExpired:
                    process.kill()
                    kills += 1
            process.stdout.read()
            assert process.wait() in (0, -9)
    return kills


async def test_killed_again_and_again(tmp_path: Path) -> None:
    """kill -9 at random moments: nothing is lost, doubled, or left in the clear."""
    spool = tmp_path / "spool"
    names = [f"1795000000.{n}" for n in range(40)]
    for n, name in enumerate(names):
        spooled(spool, name, [(0, 8, 400 + 10 * n, 700)], length=8)
    kills = await asyncio.to_thread(killed_until_done, tmp_path)
    recordings = await opened(tmp_path)
    try:
        found = {one["id"] for one in await recordings.listing(ROOT, 0, 1 << 62, 1000)}
        assert found == set(names)
        assert (recordings.store.recovered.unknown, recordings.store.recovered.missing) == ([], [])
        for n in (0, 17, 39):
            with (await recordings.sound(ROOT, names[n]))[0] as file:
                sound, rate = soundfile.read(io.BytesIO(file.read()))
            assert pitch(sound[:rate, 0], rate) == 400 + 10 * n
            assert loudness(sound[-rate:, 0]) > 0.1
        assert len(list((tmp_path / "comms" / "objects").rglob("*.age"))) == len(names)
        assert not [path for path in tmp_path.rglob("*") if path.suffix in (".wav", ".ogg", ".flac")]
    finally:
        await recordings.close()
    assert kills > KILLS // 2
