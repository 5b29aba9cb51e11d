"""From the pieces in the spool to one stereo sound: each at its time, pauses silent to the sample.

Streams: a second is held at a time. On the left is the recorded party, on the right what it heard. Pieces that overlap are added.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from pbxd.errors import RecordingDamaged

Block = npt.NDArray[np.float32]
LONGEST = 7 * 86_400  # s; a time in `ready.json` that is beyond any call
FORMATS = {"opus": ("OGG", "OPUS"), "flac": ("FLAC", "PCM_16")}
SUFFIX = {"opus": ".ogg", "flac": ".flac"}


@dataclass(frozen=True, slots=True)
class _Piece:
    """One side of a segment: samples of `file` from `start` to `end` of the result."""

    file: soundfile.SoundFile
    side: int
    start: int
    end: int


def encode(folder: Path, told: dict[str, Any], codec: str) -> Path:
    """Put a recording together, as a file beside its pieces, and look at it again. Blocks; for a thread of its own.

    RecordingDamaged if its pieces are no sound, or not of one rate; OSError if the spool is full.
    """
    target = folder / f"result{SUFFIX[codec]}"
    kind, subtype = FORMATS[codec]
    try:
        with ExitStack() as stack:
            rate, pieces = _open(stack, folder, told)
            length = _samples(told["end"] - told["start"], rate)
            out = stack.enter_context(
                soundfile.SoundFile(target, "w", samplerate=rate, channels=2, format=kind, subtype=subtype)
            )
            for block in _blocks(told, rate, length, pieces):
                out.write(block)
        with soundfile.SoundFile(target) as made:
            if made.channels != 2 or abs(made.frames - length * made.samplerate // rate) > made.samplerate:
                raise RecordingDamaged(f"{told['id']}: {made.frames} samples were made, not {length}")
    except soundfile.LibsndfileError as error:
        raise RecordingDamaged(f"{told['id']}: {error}") from error
    return target


def _samples(micros: int, rate: int) -> int:
    return round(micros * rate / 1_000_000)


def _open(stack: ExitStack, folder: Path, told: dict[str, Any]) -> tuple[int, list[_Piece]]:
    begin = told["start"]
    if not 0 <= told["end"] - begin <= LONGEST * 1_000_000:
        raise RecordingDamaged(f"{told['id']}: it is said to last {(told['end'] - begin) / 1_000_000} s")
    rates: set[int] = set()
    pieces = []
    for segment in told["segments"]:
        for side, name in enumerate((segment["left"], segment["right"])):
            if Path(name).name != name:
                raise RecordingDamaged(f"{told['id']}: {name} leads out of its folder")
            file = stack.enter_context(soundfile.SoundFile(folder / name))
            rates.add(file.samplerate)
            start, end = (_samples(segment[key] - begin, file.samplerate) for key in ("at", "end"))
            pieces.append(_Piece(file, side, start, end))
    if len(rates) != 1:
        raise RecordingDamaged(f"{told['id']}: its pieces have the rates {sorted(rates)}")
    return rates.pop(), pieces


def _blocks(told: dict[str, Any], rate: int, length: int, pieces: list[_Piece]) -> Iterator[Block]:
    gaps = [tuple(_samples(at - told["start"], rate) for at in gap) for gap in told["gaps"]]
    for start in range(0, length, rate):
        end = min(start + rate, length)
        block: Block = np.zeros((end - start, 2), np.float32)
        for piece in pieces:
            first, last = max(start, piece.start), min(end, piece.end)
            if first < last and first - piece.start < piece.file.frames:
                piece.file.seek(first - piece.start)
                sound = piece.file.read(last - first, dtype="float32")
                block[first - start : first - start + len(sound), piece.side] += sound
        for since, until in gaps:
            if since < end and until > start:
                block[max(since, start) - start : min(until, end) - start] = 0
        yield np.clip(block, -1, 1)
