"""Recordings from the spool into the vault, beside `opusenc | age` with the same sound.

    python -m bench.vault [--calls N] [--seconds N] [--long] [--json]

The peer is Debian's opus-tools and age; it gets the two sides put together already. pbxd's figure has everything: reading the
pieces, putting them together, encoding, reading back, encrypting, fsyncs, rows. Exit 1 below half of the peer. `--long` makes a
recording of two hours and measures how long it takes until one hears it from its middle.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from bench.table import show
from pbxd.comms import age
from pbxd.comms.people import ROOT
from pbxd.comms.priority import NICE
from pbxd.recording.library import Library
from pbxd.recording.retention import Keep
from tests.recording.ingesting import opened
from tests.recording.spools import recording

TARGET = 0.5
RATE = 8000
LOW = ("nice", "-n", str(NICE))  # pbxd's worker steps behind other work; so must the tools, to be compared


def make(spool: Path, calls: int, seconds: int) -> None:
    """Calls with speech-like sound: noise in the band of a voice, in words, one side at a time."""
    chance = np.random.default_rng(4)
    smooth = np.hanning(8) / 4
    for n in range(calls):
        folder = recording(spool, f"r{n:04}", 0.01)
        shutil.rmtree(folder)
        folder = recording(spool, f"r{n:04}", float(seconds))
        for side, name in enumerate(("0.rx.wav", "0.tx.wav")):
            noise = np.convolve(chance.normal(0, 6000, seconds * RATE), smooth, "same")
            words = np.repeat(chance.random(seconds * 4) < 0.6, RATE // 4)
            turns = np.repeat(np.arange(seconds) // 5 % 2 == side, RATE)
            soundfile.write(folder / name, (noise * words * turns).astype(np.int16), RATE, subtype="PCM_16")


def stereo(spool: Path, folder: Path) -> list[Path]:
    """The same sound for the peer, in stereo already."""
    found = []
    for place in sorted(spool.iterdir()):
        sides = [soundfile.read(place / name, dtype="int16")[0] for name in ("0.rx.wav", "0.tx.wav")]
        path = folder / f"{place.name}.wav"
        soundfile.write(path, np.stack(sides, 1), RATE, subtype="PCM_16")
        found.append(path)
    return found


def children() -> float:
    """Processor time of processes that have ended, in s."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def own() -> float:
    """Processor time of this process, in s."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peer(files: list[Path], target: Path) -> tuple[float, float, int]:
    """Encode and encrypt each file: wall time, processor time, bytes."""
    recipient = age.recipient_of(age.new_identity())
    began, used = time.monotonic(), children()
    for file in files:
        out = target / f"{file.stem}.age"
        with subprocess.Popen([*LOW, "opusenc", "--quiet", str(file), "-"], stdout=subprocess.PIPE) as encoder:
            subprocess.run([*LOW, "age", "-r", recipient, "-o", str(out)], stdin=encoder.stdout, check=True)
        assert encoder.returncode == 0
    return time.monotonic() - began, children() - used, sum(path.stat().st_size for path in target.iterdir())


async def ours(folder: Path, codec: str, calls: int) -> tuple[float, float, int]:
    """Empty the spool: wall time, processor time, bytes."""
    async with opened(folder, codec) as (_, catalogue, pipeline):
        began, used = time.monotonic(), own() + children()
        assert await pipeline.empty()
        wall = time.monotonic() - began
        await pipeline.close()
        assert (await catalogue.totals())["recordings"] == calls
        return wall, own() + children() - used, pipeline.counters.bytes


async def from_the_middle(folder: Path) -> tuple[float, float, int]:
    """Two hours of Opus: time to decrypt it, time to the first sound from the middle, in s, and its bytes in the vault."""
    make(folder / "spool", 1, 7200)
    async with opened(folder) as (store, catalogue, pipeline):
        assert await pipeline.empty()
        library = Library(store, catalogue, Keep)
        began = time.monotonic()
        _, file = await library.open(ROOT, "r0000", "play", {})
        decrypted = time.monotonic() - began
        await anext(library.wav(file, 3600.0))
        return decrypted, time.monotonic() - began, pipeline.counters.bytes


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not (shutil.which("opusenc") and shutil.which("age")):
        subprocess.run(["apt-get", "install", "-y", "-q", "opus-tools", "age"], check=True, stdout=subprocess.DEVNULL)
    sound = arguments.calls * arguments.seconds
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made = {}
        for codec in ("opus", "flac"):
            make(folder / codec / "spool", arguments.calls, arguments.seconds)
        for name in ("stereo", "out"):
            (folder / name).mkdir()
        made["opusenc | age"] = peer(stereo(folder / "opus" / "spool", folder / "stereo"), folder / "out")
        made["pbxd, Ogg Opus"] = asyncio.run(ours(folder / "opus", "opus", arguments.calls))
        made["pbxd, FLAC"] = asyncio.run(ours(folder / "flac", "flac", arguments.calls))
    base = made["opusenc | age"][0]
    for name, (wall, used, size) in made.items():
        rows.append((name, round(sound / wall), round(sound / used), size * 8 / sound / 1000, base / wall))
    title = f"{arguments.calls} recordings of {arguments.seconds} s, 8 kHz stereo"
    show(title, ("what", "s of sound/s", "of CPU", "kbit/s", "ratio to the tools"), rows, as_json=arguments.json)
    if arguments.long:
        with tempfile.TemporaryDirectory() as place:
            decrypted, heard, size = asyncio.run(from_the_middle(Path(place)))
        title = "Two hours of Opus, played from the middle"
        show(
            title,
            ("MB", "s to decrypt", "s to first sound"),
            [(f"{size / 1e6:.1f}", decrypted, heard)],
            as_json=arguments.json,
        )
    return 0 if rows[1][4] >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
