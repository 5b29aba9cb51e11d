"""Turns sound into Ogg Opus or FLAC and back into WAV, by libsndfile. Runs in processes of their own only: it needs numpy.

Files are named by path or descriptor, never as Python objects: for those soundfile would make code at run time, which the unit
forbids (MemoryDenyWriteExecute).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import soundfile

from pbxd.errors import RecordingError
from pbxd.recording.assemble import Samples

Codec = Literal["opus", "flac"]
FORMATS: dict[str, tuple[str, str, str]] = {  # libsndfile's format and subtype, and the kind of file
    "opus": ("OGG", "OPUS", "audio/ogg"),
    "flac": ("FLAC", "PCM_16", "audio/flac"),
}
SUFFIX = {"opus": "ogg", "flac": "flac"}
DECODED = 16_000  # frames that are decoded at a time


def encode(path: Path, rate: int, codec: str, blocks: Iterable[Samples]) -> None:
    """Write a file of two channels. RecordingError if it cannot be encoded; OSError if it cannot be written."""
    kind, subtype, _ = FORMATS[codec]
    try:
        with soundfile.SoundFile(str(path), "w", rate, 2, subtype, format=kind) as file:
            for block in blocks:
                file.write(block)
    except soundfile.LibsndfileError as error:
        raise RecordingError(f"{path} cannot be encoded: {error}") from error


def frames_of(path: Path) -> int:
    """How many frames an encoded file has, by its own account. RecordingError if it is none."""
    try:
        return int(soundfile.info(str(path)).frames)
    except soundfile.LibsndfileError as error:
        raise RecordingError(f"{path} does not read back: {error}") from error


def wav(descriptor: int, start: float) -> Iterator[bytes]:
    """The file behind a descriptor as WAV, from `start` seconds on. RecordingError if it does not decode."""
    try:
        with soundfile.SoundFile(descriptor, "r", closefd=False) as file:
            first = min(file.frames, round(start * file.samplerate))
            file.seek(first)
            yield wav_header(file.samplerate, file.channels, file.frames - first)
            while len(block := file.read(DECODED, dtype="int16", always_2d=True)):
                yield block.astype("<i2").tobytes()
    except soundfile.LibsndfileError as error:
        raise RecordingError(f"it does not decode: {error}") from error


def wav_header(rate: int, channels: int, frames: int) -> bytes:
    """The header of a plain 16-bit WAV file."""
    size = frames * channels * 2
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, channels, rate, rate * channels * 2,
        channels * 2, 16, b"data", size,
    )  # fmt: skip
