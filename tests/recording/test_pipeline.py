"""From the spool into the vault, whatever happens on the way."""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from lab.asterisk import wait_until
from pbxd.comms import upkeep
from pbxd.comms.store import Communications
from pbxd.errors import CommsFull
from pbxd.recording import foreman
from pbxd.recording import spool as spools
from pbxd.recording.catalogue import Filter
from pbxd.recording.pipeline import Pipeline
from tests.recording.ingesting import ingest_forever, opened
from tests.recording.spools import recording, strongest

KILLS, RECORDINGS = 200, 20


def sound_of(data: bytes) -> Any:
    return soundfile.read(io.BytesIO(data), dtype="int16")[0]


async def test_a_recording_goes_into_the_vault(tmp_path: Path) -> None:
    recording(tmp_path / "spool", "r1", 2.0)
    going_on = tmp_path / "spool" / "r2"
    going_on.mkdir()
    async with opened(tmp_path) as (store, catalogue, pipeline):
        assert [one.name for one in spools.look(pipeline.spools).ready] == ["r1"]
        assert await pipeline.empty()
        sound = sound_of(await store.vault.read("r1"))
        entry = await catalogue.find("r1")
    assert len(sound) == 16_000
    assert strongest(sound[:, 0]) == pytest.approx(440, abs=2)
    assert strongest(sound[:, 1]) == pytest.approx(1000, abs=2)
    assert entry is not None
    assert (entry.call, entry.frames, entry.rate, entry.codec) == ("call-r1", 16_000, 8000, "opus")
    assert entry.extensions == {"101"}
    assert list((tmp_path / "spool").iterdir()) == [going_on]
    assert spools.look([tmp_path / "spool"]) == spools.Waiting((), 0.0, 1)
    assert pipeline.counters.ingested == 1


async def test_the_same_one_twice_is_one(tmp_path: Path) -> None:
    async with opened(tmp_path, "flac") as (store, catalogue, pipeline):
        for _ in range(2):
            recording(tmp_path / "spool", "r1", 0.5)
            assert await pipeline.empty()
        assert (await catalogue.totals())["recordings"] == 1
        await store.vault.shred("r1", lambda connection: catalogue.strike(connection, "r1"))
        recording(tmp_path / "spool", "r1", 0.5)  # as if it came back from somewhere
        assert await pipeline.empty()
        assert (await catalogue.totals())["recordings"] == 0
        assert not (tmp_path / "spool" / "r1").exists()


async def test_it_wakes_up(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    async with opened(tmp_path, "flac") as (_, catalogue, pipeline):
        running = asyncio.create_task(pipeline.run())
        await asyncio.sleep(0)
        recording(tmp_path / "spool", "r1", 0.2)
        pipeline.notice("r1")
        await asyncio.to_thread(wait_until, lambda: not (tmp_path / "spool" / "r1").exists(), "the spool to be empty")
        assert (await catalogue.totals())["recordings"] == 1
        running.cancel()
        await asyncio.wait([running])


class TestDamage:
    """What cannot be made into a recording is kept as it is, and told."""

    async def test_it_is_kept(self, tmp_path: Path) -> None:
        spool = tmp_path / "spool"
        recording(spool, "good", 0.2)
        (recording(spool, "bad", 0.2) / "0.rx.wav").write_bytes(b"no sound, but perhaps somebody can make sense of it")
        (recording(spool, "worse", 0.2) / "ready.json").write_text("{")
        async with opened(tmp_path, "flac") as (store, catalogue, pipeline):
            assert await pipeline.empty()
            assert {row["id"]: row["reason"].split(":")[0] for row in await catalogue.damage()} == {
                "bad": "0.rx.wav is no WAV file",
                "worse": "ready.json",
            }
            assert [entry.id async for entry in catalogue.entries(Filter())] == ["good"]
            with tarfile.open(fileobj=io.BytesIO(await store.vault.read("bad"))) as tar:
                assert {"bad/0.rx.wav", "bad/0.tx.wav", "bad/ready.json"} <= set(tar.getnames())
            assert (await upkeep.verify(store)).faults == []
        assert list(spool.iterdir()) == []

    async def test_a_folder_that_is_no_recording_stays(self, tmp_path: Path) -> None:
        recording(tmp_path / "spool", "r 1", 0.2)
        async with opened(tmp_path, "flac") as (_, _, pipeline):
            assert not await pipeline.empty()
            assert "no id of a recording" in pipeline.troubles.of["r 1"]
        assert (tmp_path / "spool" / "r 1").is_dir()

    async def test_sound_that_kills_the_worker(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        recording(tmp_path / "spool", "r1", 0.2)
        recording(tmp_path / "spool", "r2", 0.2)
        async with opened(tmp_path, "flac") as (_, catalogue, pipeline):
            do = pipeline._foreman.do

            async def kills(job: dict[str, Any]) -> dict[str, Any]:
                if job["folder"].endswith("r1"):
                    process = await pipeline._foreman._start()
                    process.send_signal(signal.SIGSEGV)
                return await do(job)

            monkeypatch.setattr(pipeline._foreman, "do", kills)
            for last in (False, False, True):
                assert await pipeline.empty() == last
                assert (await catalogue.totals())["recordings"] == 1  # the other one does not wait for it
            assert (await catalogue.damage())[0]["reason"].endswith("3 times")


async def test_the_worker_is_at_low_priority_and_goes(tmp_path: Path) -> None:
    recording(tmp_path / "spool", "r1", 0.2)
    async with opened(tmp_path, "flac") as (_, _, pipeline):
        await pipeline.empty()
        pid = pipeline._foreman.pid
        assert pid is not None
        assert os.getpriority(os.PRIO_PROCESS, pid) >= 15
    assert not Path(f"/proc/{pid}").exists()


async def test_a_worker_that_was_killed_while_it_was_idle(tmp_path: Path) -> None:
    """The next recording has another one, and nothing fails."""
    async with opened(tmp_path, "flac") as (_, _, pipeline):
        for name in ("r1", "r2"):
            recording(tmp_path / "spool", name, 0.2)
            assert await pipeline.empty()
            pid = pipeline._foreman.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            process = pipeline._foreman._process
            assert process is not None
            await process.wait()
        assert pipeline.counters.failed == 0


async def test_a_recording_without_length_is_kept_as_it_is(tmp_path: Path) -> None:
    recording(tmp_path / "spool", "r1", 0)
    async with opened(tmp_path, "opus") as (_, catalogue, pipeline):
        assert await pipeline.empty()
        assert [row["reason"] for row in await catalogue.damage()] == ["it has no length"]


async def test_the_worker_has_no_key(tmp_path: Path) -> None:
    """It is told whom to encrypt to, and nothing with which one could decrypt."""
    recording(tmp_path / "spool", "r1", 0.2)
    async with opened(tmp_path, "flac") as (_, _, pipeline):
        seen = []
        do = pipeline._foreman.do

        async def look(job: dict[str, Any]) -> dict[str, Any]:
            seen.append(job)
            return await do(job)

        pipeline._foreman.do = look  # type: ignore[method-assign]
        await pipeline.empty()
    assert "AGE-SECRET" not in str(seen)
    assert seen[0]["recipient"].startswith("age1")


WITHOUT_NEW_CODE = """
import asyncio, ctypes, sys
# PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN (prctl(2)): what the unit forbids; children inherit it.
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit(77)
from pathlib import Path
from tests.recording.ingesting import opened

async def main():
    async with opened(Path(sys.argv[1]), "opus") as (store, catalogue, pipeline):
        assert await pipeline.empty()
        entry = await catalogue.find("r1")
        from pbxd.recording.library import Library
        from pbxd.recording.retention import Keep
        sound = Library(store, catalogue, Keep).wav(await store.vault.open("r1"), 0.1)
        print(len(b"".join([part async for part in sound])))

asyncio.run(main())
"""


def test_it_works_where_no_code_may_be_made(tmp_path: Path) -> None:
    """The unit has MemoryDenyWriteExecute."""
    recording(tmp_path / "spool", "r1", 0.5)
    command = [sys.executable, "-c", WITHOUT_NEW_CODE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("this kernel cannot forbid it")
    assert done.stdout.splitlines()[-1:] == [str(44 + 3200 * 4)], done.stderr


def plain_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def check(folder: Path, names: set[str]) -> None:
    """Each recording is in the vault once, whole; nothing else is anywhere."""
    async with opened(folder, "flac") as (store, catalogue, pipeline):
        assert store.recovered.unknown == []
        assert store.recovered.missing == []
        assert await pipeline.empty()
        assert sorted([entry.id async for entry in catalogue.entries(Filter())]) == sorted(names)
        assert (await upkeep.verify(store)).faults == []
        assert (await catalogue.totals())["damaged"] == 0
        for name in names:
            assert len(sound_of(await store.vault.read(name))) == 1600
    assert sorted(path.stem for path in (folder / "comms" / "objects").rglob("*") if path.is_file()) == sorted(names)
    assert list((folder / "spool").iterdir()) == []


def run(folder: Path, *, limit: float | None) -> float:
    """The pipeline in a process of its own, a fork of this one, until the spool is empty or `limit` s have passed; then kill -9.

    How long it ran, in s.
    """
    began = time.monotonic()
    child = os.fork()
    if not child:
        try:
            ingest_forever(folder)
        finally:
            os._exit(1)
    while limit is None and any((folder / "spool").iterdir()):
        time.sleep(0.001)
    time.sleep(limit or 0)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL  # it did not end by itself
    return time.monotonic() - began


def killing(folder: Path, kills: int, names: list[str], seed: int) -> None:
    """Kill as often as that, at random moments of what one whole run takes; there is always a recording in the spool."""
    chance = random.Random(seed)
    (folder / "spool").mkdir(parents=True)
    canary = recording(folder / "canary", "c", 0.2)
    pieces = [(canary / "0.rx.wav").read_bytes()[at : at + 32] for at in range(100, 3000, 400)]
    waiting = list(names)
    recording(folder / "spool", waiting.pop(), 0.2)
    whole = run(folder, limit=None)
    for n in range(kills - 1):
        if not any((folder / "spool").iterdir()):
            # when all are there: one that is there already, as if it had not been taken out of the spool
            recording(folder / "spool", waiting.pop() if waiting else names[n % len(names)], 0.2)
        run(folder, limit=chance.uniform(0, 1.1 * whole))
        assert not any(piece in plain_of(folder / "comms") for piece in pieces)
    for name in waiting:
        recording(folder / "spool", name, 0.2)
    asyncio.run(check(folder, set(names)))


@pytest.mark.parametrize("seed", range(4))
def test_killed_200_times_nothing_is_lost_or_doubled(tmp_path: Path, seed: int) -> None:
    """kill -9 at random moments, 4 times 50, over 20 recordings; each run finds what the one before left."""
    killing(tmp_path, KILLS // 4, [f"r{n:02}" for n in range(RECORDINGS // 4)], seed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB where the store is."""
    place = tmp_path / "comms"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "pbxd-test", str(place)], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


async def filled(pipeline: Pipeline, store: Communications, place: Path) -> None:
    """Fill the disk, and see that recordings wait and that the status tells."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    assert not await pipeline.empty()
    assert "disk is full" in pipeline.troubles.alarm
    assert [one.name for one in spools.look(pipeline.spools).ready] == ["r2"]
    with pytest.raises(CommsFull):
        await store.vault.put("big", "recording", bytes(100_000))
    assert list(place.rglob("*.half")) == []
    ballast.unlink()


async def test_a_full_disk_loses_nothing_and_mends_itself(tmp_path: Path, small_disk: Path) -> None:
    async with opened(tmp_path, "flac") as (store, catalogue, pipeline):
        recording(tmp_path / "spool", "r1", 2.0)
        assert await pipeline.empty()
        recording(tmp_path / "spool", "r2", 2.0)
        await filled(pipeline, store, small_disk)
        assert await pipeline.empty()
        assert pipeline.troubles.alarm == ""
        assert sorted([entry.id async for entry in catalogue.entries(Filter())]) == ["r1", "r2"]
        assert (await upkeep.verify(store)).faults == []


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    recording(tmp_path / "spool", "r1", 600.0)
    command = [sys.executable, "-m", "tests.recording.ingesting", str(tmp_path), "opus"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_until(lambda: bool(children.read_text().split()), "the worker")
    worker = Path("/proc") / children.read_text().split()[0]
    process.kill()
    process.wait()
    wait_until(lambda: not worker.exists() or "Z" in (worker / "stat").read_text(), "the end of the worker")


def test_a_worker_whose_parent_reads_no_more_ends_without_a_word(tmp_path: Path) -> None:
    """A killed pbxd's pipes close a moment before its children are told: what a worker has to say just then is nobody's."""
    command = [sys.executable, "-m", "pbxd.recording.worker", str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdout.close()
        job = foreman.job(recording(tmp_path / "spool", "r1", 0.1), "flac", "age1", tmp_path / "r1.age")
        worker.stdin.write(json.dumps(job).encode() + b"\n")
        worker.stdin.flush()
        worker.stdout = None
        assert worker.communicate()[1] == b""
        assert worker.returncode == 0
