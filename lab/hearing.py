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


def sharing(sound: Sound, rate: int, tone: int, least: float = 0.1) -> bool:
    """Whether a tone of `tone` Hz has a part in the sound: of several at once, at `least` so much of the power of the loudest."""
    if loudness(sound) < SILENCE:
        return False
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    hz = np.fft.rfftfreq(len(sound), 1 / rate)
    return float(power[np.abs(hz - tone) < 20].max()) > least * float(power.max())


def has_keys(sound: Sound, rate: int) -> bool:
    """Whether the two tones of a key (ITU-T Q.23) are in there together, in any 40 ms, above everything else."""
    length, step = rate // 25, rate // 100
    hz = np.fft.rfftfreq(8 * length, 1 / rate)
    for start in range(0, len(sound) - length + 1, step):
        part = sound[start : start + length]
        quarters = [loudness(quarter) for quarter in np.split(part[: length // 4 * 4], 4)]
        if min(quarters) < max(SILENCE, 0.3 * max(quarters)):
            continue  # silence, or the edge of a tone, that has all frequencies in it
        power = np.abs(np.fft.rfft(part * np.hanning(length), 8 * length)) ** 2
        low, high = (
            max(float(power[np.abs(hz - tone) < 20].max()) for tone in tones) for tones in (DTMF_HZ[:4], DTMF_HZ[4:])
        )
        if min(low, high) > 0.2 * float(power.max()):
            return True
    return False
