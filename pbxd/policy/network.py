"""Which sockets a process holds (proc(5)): TCP that listens, TCP that is connected, UDP."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from pbxd.policy.facts import Process

LISTEN = "0A"
FAMILIES = (("tcp", 4), ("tcp6", 16), ("udp", 4), ("udp6", 16))


def process(pid: int) -> Process | None:
    """A process and its sockets; None if it is gone."""
    home = Path("/proc") / str(pid)
    try:
        uid = home.stat().st_uid
        held = _held(home)
    except OSError:
        return None
    listening, connected, udp = [], [], []
    for kind, local, remote, state, inode in _sockets(home):
        if inode not in held:
            continue
        if kind.startswith("udp"):
            udp.append(local)
        elif state == LISTEN:
            listening.append(local)
        else:
            connected.append(remote)
    return Process(pid, uid, tuple(listening), tuple(connected), tuple(udp))


def _held(home: Path) -> set[str]:
    """Inodes of the sockets that it has open."""
    found = set()
    for entry in (home / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = str(entry.readlink())
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found


def _sockets(home: Path) -> Iterator[tuple[str, str, str, str, str]]:
    """All sockets of its network: kind, local and other end, state, inode."""
    for kind, size in FAMILIES:
        with contextlib.suppress(FileNotFoundError):
            for line in (home / "net" / kind).read_text().splitlines()[1:]:
                fields = line.split()
                yield kind, _address(fields[1], size), _address(fields[2], size), fields[3], fields[9]


def _address(text: str, size: int) -> str:
    """`0100007F:13C4` as host:port; words of four bytes are in the machine's order."""
    host, _, port = text.partition(":")
    raw = bytes.fromhex(host)
    turned = b"".join(raw[n : n + 4][::-1] for n in range(0, size, 4))
    name = socket.inet_ntop(socket.AF_INET if size == 4 else socket.AF_INET6, turned)
    return f"[{name}]:{int(port, 16)}" if size == 16 else f"{name}:{int(port, 16)}"


def named(*words: str) -> list[int]:
    """Processes whose arguments have these words one after the other."""
    wanted = [word.encode() for word in words]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                given = (entry / "cmdline").read_bytes().split(b"\0")
                if any(given[n : n + len(wanted)] == wanted for n in range(len(given))):
                    found.append(int(entry.name))
    return sorted(found)
