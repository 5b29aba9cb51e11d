"""What can be heard in a sound file: which phone's tone, when; and whether there is anything at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

SILENCE = 0.003  # of full scale; a phone's tone is at 0.27
DTMF_HZ = (697, 770, 852, 941, 1209, 1336, 1477, 1633)
Sound = npt.NDArray[np.float64]


def heard(path: Path) -> tuple[Sound, int]:
    """The samples of a file, a column a channel, and its rate."""
    sound, rate = soundfile.read(path, always_2d=True)
    return np.asarray(sound, dtype=np.float64), int(rate)


def loudness(sound: Sound) -> float:
    """Root mean square of some samples; 0 for none."""
    return float(np.sqrt(np.mean(sound**2))) if len(sound) else 0.0


def pitch(sound: Sound, rate: int) -> int:
    """The strongest frequency in Hz, to about 10; 0 for silence."""
    if loudness(sound) < SILENCE:
        return 0
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return round(float(np.fft.rfftfreq(len(sound), 1 / rate)[int(spectrum.argmax())]), -1).__int__()


def has_keys(sound: Sound, rate: int) -> bool:
    """Whether the two tones of a key (ITU-T Q.23) are in there together, in any 50 ms, above everything else."""
    length = rate // 20
    for start in range(0, len(sound) - length + 1, length):
        part = sound[start : start + length]
        if loudness(part) < SILENCE:
            continue
        power = np.abs(np.fft.rfft(part * np.hanning(length), 8 * length)) ** 2
        hz = np.fft.rfftfreq(8 * length, 1 / rate)
        low, high = (
            max(float(power[np.abs(hz - tone) < 20].max()) for tone in tones) for tones in (DTMF_HZ[:4], DTMF_HZ[4:])
        )
        if min(low, high) > 0.2 * float(power.max()):
            return True
    return False
