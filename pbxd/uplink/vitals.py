"""Measures the box for `health`: load, memory, disks, temperatures, versions; and reads the rest from pbxd's own status.

The daemon's sandbox hides /proc but for processes, so the kernel is asked by system calls.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pbxd.uplink import gate
from pbxd.uplink.bodies import CHECKS, OTHER
from pbxd.uplink.vocabulary import time_text

HWMON = Path("/sys/class/hwmon")
CHIPS = {
    "coretemp": "cpu",
    "k10temp": "cpu",
    "cpu_thermal": "cpu",
    "acpitz": "board",
    "nvme": "disk",
    "drivetemp": "disk",
}
MOST_SENSORS = 32
LOAD_UNIT = 65536  # sysinfo(2): loads are fixed-point numbers of 16 bits behind the point
REACHABLE = {"reachable": "online", "unreachable": "offline"}


class _SysInfo(ctypes.Structure):
    """struct sysinfo of sysinfo(2)."""

    _fields_ = (
        ("uptime", ctypes.c_long), ("loads", ctypes.c_ulong * 3), ("totalram", ctypes.c_ulong), ("freeram", ctypes.c_ulong),
        ("sharedram", ctypes.c_ulong), ("bufferram", ctypes.c_ulong), ("totalswap", ctypes.c_ulong), ("freeswap", ctypes.c_ulong),
        ("procs", ctypes.c_ushort), ("pad", ctypes.c_ushort), ("totalhigh", ctypes.c_ulong), ("freehigh", ctypes.c_ulong),
        ("mem_unit", ctypes.c_uint), ("spare", ctypes.c_char * 64),
    )  # fmt: skip


def measure(
    status: Mapping[str, Any],
    findings: Iterable[Mapping[str, str]],
    trunks: Mapping[str, str],
    folders: Mapping[str, Path],
    usage: Mapping[str, str],
) -> dict[str, Any]:
    """The content of `health`. `trunks`: endpoint -> reachable, unreachable, unknown; `folders`: by the words of `bodies.DISKS`;
    `usage`: coarse counts, from `gate.usage`.
    """
    info = _SysInfo()
    ctypes.CDLL(None).sysinfo(ctypes.byref(info))
    loads = [round(load / LOAD_UNIT, 2) for load in info.loads]
    processors = os.cpu_count() or 1
    asterisk = status["ami"]["asterisk"]
    return {
        "at": time_text(datetime.now(UTC)),
        "uptime": int(info.uptime),
        "versions": {
            "pbxd": gate.numeric(status["version"]),
            "python": gate.numeric(platform.python_version()),
            "kernel": gate.numeric(platform.release()),
            **({"asterisk": gate.numeric(asterisk)} if asterisk else {}),
        },
        "cpu": {"count": processors, "load": loads, "busy": round(min(100.0, 100 * loads[0] / processors), 1)},
        "memory": {
            "total": info.totalram * info.mem_unit,
            "available": (info.freeram + info.bufferram) * info.mem_unit,
            "pbxd": status["rss"],
        },
        "disks": {name: _disk(folder) for name, folder in folders.items() if folder.exists()},
        "temperatures": list(temperatures(HWMON)),
        "asterisk": {
            "connected": status["ami"]["connected"],
            "calls": status["live"]["calls"],
            "open_calls": status["journal"]["open_calls"],
        },
        "trunks": [
            {"trunk": gate.trunk(name), "state": REACHABLE.get(state, "unknown")}
            for name, state in sorted(trunks.items())
        ],
        "doctor": [
            {"check": one["check"] if one["check"] in CHECKS else OTHER, "state": one["state"]} for one in findings
        ],
        "usage": dict(usage),
    }


def _disk(folder: Path) -> dict[str, int]:
    usage = shutil.disk_usage(folder)
    return {"size": usage.total, "free": usage.free}


def temperatures(hwmon: Path) -> Iterable[dict[str, Any]]:
    """What the sensors say (kernel: Documentation/hwmon/sysfs-interface); those that cannot be read are left out."""
    for sensor in sorted(hwmon.glob("hwmon*/temp*_input"))[:MOST_SENSORS]:
        try:
            chip = (sensor.parent / "name").read_text().strip()
            celsius = int(sensor.read_text()) / 1000
        except (OSError, ValueError):
            continue  # a disk that sleeps, a sensor that is not there
        yield {"sensor": CHIPS.get(chip, OTHER), "celsius": celsius}
