"""Makes spool folders as the recorder leaves them: tones in WAV files, and ready.json."""

from __future__ import annotations

import json
import math
import struct
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

START = 1_795_615_200_000_000  # µs
SECOND = 1_000_000


def tone(hertz: float, seconds: float, rate: int = 8000, level: int = 8000) -> array[int]:
    return array("h", (round(level * math.sin(2 * math.pi * hertz * n / rate)) for n in range(round(seconds * rate))))


def wav(path: Path, samples: array[int], rate: int = 8000, *, closed: bool = True) -> None:
    """As Asterisk writes it; one that was never closed says that it is empty."""
    data = samples.tobytes()
    size = len(data) if closed else 0
    kind = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    head = struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + kind + struct.pack("<4sI", b"data", size)
    path.write_bytes(head + data)


def ready(folder: Path, seconds: float, **other: Any) -> dict[str, Any]:
    """Write ready.json; what it says."""
    said = {
        "version": 1, "id": folder.name, "call": f"call-{folder.name}", "start": START, "end": START + round(seconds * SECOND),
        "class": "call", "caller": "101", "dialled": "+49301234567", "direction": "outbound", "queue": "",
        "parties": [
            {"endpoint": "PJSIP/101", "number": "101", "name": "Anna", "trunk": False},
            {"endpoint": "PJSIP/trunk-a", "number": "+49301234567", "name": "Kanarienvogel", "trunk": True},
        ],
        "consent": "announcement",
        "segments": [
            {"at": START, "left": "0.rx.wav", "right": "0.tx.wav", "left_party": "PJSIP/101", "right_parties": ["PJSIP/trunk-a"]}
        ],
        "gaps": [], "faults": [],
    } | other  # fmt: skip
    half = folder / "ready.half"
    half.write_text(json.dumps(said))
    half.rename(folder / "ready.json")
    return said


def recording(
    spool: Path, name: str, seconds: float = 2.0, left: float = 440, right: float = 1000, **other: Any
) -> Path:
    """A whole one, of two tones."""
    folder = spool / name
    folder.mkdir(parents=True)
    wav(folder / "0.rx.wav", tone(left, seconds))
    wav(folder / "0.tx.wav", tone(right, seconds))
    ready(folder, seconds, **other)
    return folder


def strongest(samples: NDArray[Any], rate: int = 8000) -> float:
    """The frequency of the loudest tone."""
    spectrum = np.abs(np.fft.rfft(samples.astype(float) * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))
