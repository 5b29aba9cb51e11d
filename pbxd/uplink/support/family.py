"""Ends a process with all that descended from it: no control group is needed, and nothing can slip away by a double fork.

The one at the top is a subreaper (`pbxd.family`): what loses its parent below it becomes its child. It is stopped, its descendants
are killed until there are none, and only then is it killed itself.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from pbxd.errors import SupportError

MARK = "PBXD_SUPPORT"  # in the environment of all that a session starts: the ticket's id
PATIENCE = 5.0  # s until we say that a process cannot be killed (it hangs in the kernel)


def parents() -> dict[int, tuple[int, str]]:
    """Each process's parent and state, by its id (proc_pid_stat(5))."""
    found: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile
            found[int(entry.name)] = (int(parent), state)
    return found


def descendants(head: int) -> list[int]:
    """All living processes below `head`. By their parents: the kernel's lists of children may miss one while others end."""
    table = parents()
    below = {head}
    grown = True
    while grown:
        more = {pid for pid, (parent, _) in table.items() if parent in below} - below
        below |= more
        grown = bool(more)
    return sorted(pid for pid in below - {head} if table[pid][1] not in "ZX")


def end_below(head: int) -> None:
    """Kill all processes below `head`. SupportError if one cannot be killed."""
    deadline = time.monotonic() + PATIENCE
    while left := descendants(head):
        for pid in left:
            _kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise SupportError(f"these processes of a support session cannot be killed: {left}")
        time.sleep(0.005)


def end_family(head: int) -> None:
    """Kill `head`, a child of ours, and all processes below it; its exit status is left for who waits for it."""
    if _kill(head, signal.SIGSTOP):
        end_below(head)
        _kill(head, signal.SIGKILL)


def end_marked(ticket: str) -> None:
    """Kill what carries this ticket's mark: what is left when the one at the top was killed by somebody else."""
    mark = f"{MARK}={ticket}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid() and mark in _environment(entry).split(b"\0"):
            _kill(int(entry.name), signal.SIGKILL)


def _environment(entry: Path) -> bytes:
    try:
        return (entry / "environ").read_bytes()
    except OSError:  # not ours, or it ended meanwhile
        return b""


def _kill(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
