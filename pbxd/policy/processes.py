"""Finds the processes of a box's link and of its support sessions, by what they hold and not by a program's name alone (proc(5)).

The link holds a lock on its file of results so long as it runs: whoever holds that is a link, whatever it is called. Beside that
count whoever was started with the outbox and the link's folder one after the other, whoever was started with the outbox under one
of the link's names, and whoever was started with the outbox and holds a socket of the network.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from pbxd.policy import network
from pbxd.policy.facts import Process
from pbxd.uplink.support.family import MARK, parents

PROC = Path("/proc")
LINK_NAMES = ("pbxd-link", "pbxd.uplink.link", "link.py")
SUPPORT_NAMES = ("pbxd-support", "pbxd.uplink.support", "support/__main__.py")
ACCEPTING = "00010000"  # flags of a Unix socket that listens: __SO_ACCEPTCON


def links(outbox: Path, state: Path, core: int, results: Path) -> list[Process]:
    """Every process that is this box's link, the holders of the lock on `results` first."""
    holding = set(holders(results))
    table = parents()
    passed = {core, *_line(os.getpid(), table)}  # ourselves, with the shell in which somebody typed the command
    found = []
    for pid in sorted(set(table) - passed, key=lambda pid: (pid not in holding, pid)):
        words = arguments(pid)
        likely = pid in holding or _dispatches(words, outbox, state)
        named = likely or str(outbox) in words
        seen = network.process(pid) if named else None
        if seen is not None and (likely or seen.networked):
            found.append(seen)
    return _without_starters(found, holding, table)


def _dispatches(words: list[str], outbox: Path, state: Path) -> bool:
    """Whether these are a link's arguments, whatever its program."""
    if str(outbox) not in words:
        return False
    place = words.index(str(outbox))
    return words[place + 1 : place + 2] == [str(state)] or any(word.endswith(LINK_NAMES) for word in words[:place])


def _without_starters(
    found: list[Process], holding: Container[int], table: dict[int, tuple[int, str]]
) -> list[Process]:
    """Without sudo, strace and their like, which carry the link's arguments, are its parents, and are not connected to anything."""
    parental = {pid for one in found for pid in _line(one.pid, table)[1:]}
    return [one for one in found if one.pid in holding or one.networked or one.pid not in parental]


def _line(pid: int, table: dict[int, tuple[int, str]]) -> list[int]:
    """A process, its parent, its parent's, and so on."""
    found = [pid]
    while (above := table.get(found[-1], (0, ""))[0]) > 1 and above not in found:
        found.append(above)
    return found


def sessions(core: int, socket: Path, tickets: Iterable[str]) -> list[Process]:
    """Processes that hold support sessions of this box, or that sessions left behind.

    Those are: what pbxd started under support's names and whoever listens on the socket for sessions, all that descended from them,
    and whatever carries the mark of one of these tickets.
    """
    table = parents()
    listening = set(_listeners(socket))
    marks = {f"{MARK}={ticket}".encode() for ticket in tickets}
    lines = {pid: _line(pid, table) for pid in table}
    halls = {
        pid
        for pid, line in lines.items()
        if pid in listening or (core in line[1:] and any(word.endswith(SUPPORT_NAMES) for word in arguments(pid)[:5]))
    }
    found = (
        network.process(pid)
        for pid, line in sorted(lines.items())
        if halls.intersection(line) or marks.intersection(_environment(pid))
    )
    return [one for one in found if one is not None]


def arguments(pid: int) -> list[str]:
    """Of a process, without those that are empty; none if it is gone."""
    with contextlib.suppress(OSError):
        return [word for word in (PROC / str(pid) / "cmdline").read_text(errors="replace").split("\0") if word]
    return []


def _environment(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    return []


def holders(file: Path) -> Iterator[int]:
    """Processes that hold a lock on a file for themselves alone."""
    try:
        wanted = file.stat()
    except FileNotFoundError:
        return
    for home in _processes():
        with contextlib.suppress(OSError):  # it ended meanwhile
            for entry in (home / "fd").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(entry.stat(), wanted) and _locks(home / "fdinfo" / entry.name):
                        yield int(home.name)
                        break


def _locks(info: Path) -> bool:
    return any(line.startswith("lock:") and " WRITE " in line for line in info.read_text().splitlines())


def _listeners(path: Path) -> Iterator[int]:
    """Processes that listen on a Unix socket of this name."""
    inodes = set()
    for line in (PROC / "net" / "unix").read_text().splitlines()[1:]:
        fields = line.split(maxsplit=7)
        # bound under a name that it loses when it is complete: pbxd.uplink.support.__main__.bound
        if fields[3] == ACCEPTING and len(fields) == 8 and fields[7] in (str(path), str(path.with_suffix(".half"))):
            inodes.add(fields[6])
    for home in _processes() if inodes else ():
        with contextlib.suppress(OSError):
            if inodes & network.held(home):
                yield int(home.name)


def _processes() -> Iterator[Path]:
    return (entry for entry in PROC.iterdir() if entry.name.isdecimal())
