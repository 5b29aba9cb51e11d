"""Puts the sound of a recording together: files at their times, the two sides left and right, gaps silent.

It goes block by block; memory does not grow with the recording's length. Runs in the worker only: it needs numpy.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pbxd.errors import RecordingDamaged
from pbxd.recording.manifest import Manifest

Samples: TypeAlias = NDArray[np.int16]
BLOCK = 8000  # frames; half a second to a second. Ogg encoders of libsndfile are known to overflow their stack on very long ones
RATES = (8000, 16000)
LOWEST, HIGHEST = -32768, 32767


@dataclass(frozen=True, slots=True)
class Wav:
    """A file of 16-bit mono sound."""

    path: Path
    rate: int
    offset: int  # bytes to the first sample
    frames: int


@dataclass(frozen=True, slots=True)
class Placed:
    """A file, and where its sound is in the result; in frames of the result."""

    wav: Wav
    channel: int  # 0 left, 1 right
    first: int  # may be before the beginning
    last: int  # what comes after it is left out


@dataclass(frozen=True, slots=True)
class Plan:
    """What the result will be."""

    rate: int
    frames: int
    placed: tuple[Placed, ...]
    gaps: tuple[tuple[int, int], ...]  # frames


def read_header(path: Path) -> Wav | None:
    """What kind of file it is; None for one that is missing or has no sound. RecordingDamaged if it is no such file.

    A file that was never closed says 0 or too much of its length; what is there counts.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            head = file.read(12)
            if len(head) < 12:
                return None
            if head[:4] != b"RIFF" or head[8:] != b"WAVE":
                raise RecordingDamaged(f"{path.name} is no WAV file")
            rate = 0
            while len(chunk := file.read(8)) == 8:
                name, length = struct.unpack("<4sI", chunk)
                if name == b"data":
                    there = size - file.tell()
                    length = min(length, there) if length else there
                    return Wav(path, _checked(path, rate), file.tell(), length // 2) if length > 1 else None
                body = file.read(min(length + length % 2, 64))
                if name == b"fmt ":
                    rate = _rate(path, body)
                file.seek(max(0, length + length % 2 - len(body)), 1)
    except FileNotFoundError:
        return None
    return None


def _rate(path: Path, body: bytes) -> int:
    if len(body) < 16:
        raise RecordingDamaged(f"{path.name} has no format")
    kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
    if (kind, channels, bits) != (1, 1, 16):
        raise RecordingDamaged(f"{path.name} is not plain 16-bit mono: format {kind}, {channels} channels, {bits} bits")
    return int(rate)


def _checked(path: Path, rate: int) -> int:
    if rate not in RATES:
        raise RecordingDamaged(f"{path.name} has {rate} samples a second; {RATES[0]} or {RATES[1]} are expected")
    return rate


def plan(manifest: Manifest, folder: Path) -> Plan:
    """Look at the files and say where each goes. RecordingDamaged if one is not sound."""
    found = []
    for piece in manifest.pieces:
        for channel, name in enumerate((piece.left, piece.right)):
            wav = read_header(folder / name)
            if wav is not None:
                found.append((piece, channel, wav))
    rate = max((wav.rate for _, _, wav in found), default=RATES[0])

    def frame(at: int) -> int:
        return round((at - manifest.start) * rate / 1_000_000)

    total = frame(manifest.end)
    placed = [
        Placed(wav, channel, frame(piece.at), min(frame(piece.end), frame(piece.at) + wav.frames * (rate // wav.rate)))
        for piece, channel, wav in found
    ]
    # A gap takes the samples that it touches, whole.
    gaps = [
        ((start - manifest.start) * rate // 1_000_000, -((manifest.start - end) * rate // 1_000_000))
        for start, end in manifest.gaps
    ]
    return Plan(rate, total, tuple(placed), tuple(gaps))


def blocks(made: Plan) -> Iterator[Samples]:
    """The result, in blocks of at most BLOCK frames of two samples. OSError if a file cannot be read."""
    for start in range(0, made.frames, BLOCK):
        length = min(BLOCK, made.frames - start)
        here = [placed for placed in made.placed if placed.first < start + length and placed.last > start]
        mixed = np.zeros((length, 2), np.int32)
        for placed in here:
            first, last = max(placed.first, start), min(placed.last, start + length)
            sound = _read(placed.wav, made.rate, first - placed.first, last - first)
            mixed[first - start : first - start + len(sound), placed.channel] += sound
        result = mixed.clip(LOWEST, HIGHEST).astype(np.int16)
        _silence(result, start, made.gaps)
        yield result


def _silence(block: Samples, start: int, gaps: Sequence[tuple[int, int]]) -> None:
    for first, last in gaps:
        if first < start + len(block) and last > start:
            block[max(0, first - start) : last - start] = 0


def _read(wav: Wav, rate: int, first: int, length: int) -> Samples:
    """`length` frames from `first` on, in frames of the result. A slower file's samples are joined by straight lines."""
    step = rate // wav.rate
    begin, end = first // step, -(-(first + length) // step) + (step > 1)
    with wav.path.open("rb") as file:
        file.seek(wav.offset + 2 * begin)
        sound = np.frombuffer(file.read(2 * (min(end, wav.frames) - begin)), "<i2")
    if step == 1 or not len(sound):
        return sound[:length]
    places = np.arange(first, first + length) / step - begin
    joined: Samples = np.interp(places, np.arange(len(sound)), sound).round().astype(np.int16)
    return joined
