"""Sound files for Asterisk: what was uploaded becomes a WAV that every Asterisk plays.

`python -m pbxd.voicemail.sound` is a process of its own, the file on standard input, the WAV on standard output: a decoder that a
strange file makes fail takes nothing with it, and the daemon never loads what it needs.
"""

from __future__ import annotations

import io
import sys

import numpy as np
import soundfile

from pbxd.errors import SpoolError

RATE = 8000  # Hz, of Asterisk's format `wav`
LONGEST = 180.0  # s of a greeting
HIGHEST_RATE = 192_000  # Hz


def greeting(data: bytes) -> bytes:
    """A WAV of 8 kHz, mono, 16 bits, from any file that libsndfile reads. SpoolError if it is none, or too long."""
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate = file.samplerate
            if not 0 < file.frames <= LONGEST * rate or not 0 < rate <= HIGHEST_RATE:
                raise SpoolError(f"a greeting has some sound, and at most {LONGEST:.0f} s of it")
            mono = file.read(dtype="float32", always_2d=True).mean(axis=1)
    except soundfile.SoundFileError as error:
        raise SpoolError(f"this is no sound file that can be read: {error}") from error
    made = io.BytesIO()
    soundfile.write(made, resampled(mono, rate), RATE, format="WAV", subtype="PCM_16")
    return made.getvalue()


def resampled(samples: np.typing.NDArray[np.float32], rate: int) -> np.typing.NDArray[np.float32]:
    """The same sound at `RATE`, without what it cannot carry: by its spectrum, over whole seconds, so that rates come out even."""
    if rate == RATE:
        return samples
    seconds = -(-len(samples) // rate)
    spectrum = np.fft.rfft(samples, seconds * rate)
    made = np.fft.irfft(spectrum[: seconds * RATE // 2 + 1], seconds * RATE) * (RATE / rate)
    return np.asarray(np.clip(made[: len(samples) * RATE // rate], -1.0, 1.0), dtype=np.float32)


def main() -> None:
    """Entry point: exit 65 (EX_DATAERR) and the reason on standard error if the file is none."""
    try:
        made = greeting(sys.stdin.buffer.read())
    except SpoolError as error:
        print(error, file=sys.stderr)
        sys.exit(65)
    sys.stdout.buffer.write(made)


if __name__ == "__main__":
    main()
