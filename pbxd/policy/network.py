"""What a process is and which sockets it holds (proc(5)): TCP that listens, TCP that is connected, UDP, UDP-Lite and raw ones."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from pbxd.policy.facts import Process

LISTEN = "0A"
TCP = (("tcp", 4), ("tcp6", 16))
DATAGRAMS = (("udp", 4), ("udp6", 16), ("udplite", 4), ("udplite6", 16), ("raw", 4), ("raw6", 16))


def process(pid: int) -> Process | None:
    """A process and its sockets; None if it is gone."""
    home = Path("/proc") / str(pid)
    try:
        said = dict(line.split(":", 1) for line in (home / "status").read_text().splitlines() if ":" in line)
        inodes = held(home)
    except OSError:
        return None
    listening, connected, datagrams = [], [], []
    for kind, local, remote, state, inode in _sockets(home):
        if inode not in inodes:
            continue
        if not kind.startswith("tcp"):
            datagrams.append(f"{kind} {local}")
        elif state == LISTEN:
            listening.append(local)
        else:
            connected.append(remote)
    uids, gids = said["Uid"].split(), said["Gid"].split()
    groups = tuple(sorted({int(group) for group in (*gids, *said["Groups"].split())}))
    return Process(
        pid, int(uids[1]), tuple(listening), tuple(connected), groups, tuple(_powers(uids, said)), tuple(datagrams)
    )


def _powers(uids: list[str], said: dict[str, str]) -> Iterator[str]:
    """What lets it past the rights of files, or may let it: a real, effective or saved id of root's, a permitted capability."""
    if "0" in uids:
        yield "the id of root"
    if int(said["CapPrm"], 16):
        yield f"the capabilities {said['CapPrm'].strip()}"


def held(home: Path) -> set[str]:
    """Inodes of the sockets that a process has open; `home` is its folder in /proc. OSError if it is gone."""
    found = set()
    for entry in (home / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = str(entry.readlink())
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found


def _sockets(home: Path) -> Iterator[tuple[str, str, str, str, str]]:
    """All sockets of its network: kind, local and other end, state, inode."""
    for kind, size in (*TCP, *DATAGRAMS):
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
