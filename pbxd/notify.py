"""What systemd is told of us: ready, reloading, stopping, alive. Source: sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time


def notify(message: str) -> bool:
    """Send `message` to systemd; whether there was one to tell."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
        link.connect("\0" + address[1:] if address.startswith("@") else address)
        link.sendall(message.encode())
    return True


def reloading() -> bool:
    """Say that a reload has begun; systemd wants the monotonic time with it."""
    return notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def watchdog_interval() -> float | None:
    """Seconds between signs of life, half of what systemd allows; None if it watches nobody."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    watched = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not microseconds.isdecimal() or watched != str(os.getpid()):
        return None
    return int(microseconds) / 2_000_000
