"""A process at the top of all that descends from it: nothing can slip away by a session of its own or a double fork.

It is a subreaper (prctl(2)): what loses its parent below it becomes its child. So it has descendants as long as the kernel
says that it has children, and no longer.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pbxd.errors import PbxdError

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
BREATH = 0.002  # s between two looks at those that were killed
TICK, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def become_head() -> None:
    """Make this process the one at the top: orphans below it become its own, its parent's end ends it, nobody may trace it."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    prctl(PR_SET_DUMPABLE, 0)


def prctl(option: int, value: int) -> None:
    """One prctl(2). PbxdError if the kernel refuses."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise PbxdError(f"prctl {option}: {os.strerror(ctypes.get_errno())}")


def children(pid: int) -> list[int]:
    """The children of a process, those that have ended and are not waited for too; none if it is gone."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, (task / "children").read_text().split())
    return found


def below(pid: int) -> Iterator[int]:
    """All that descend from a process, as they are met."""
    waiting = children(pid)
    while waiting:
        child = waiting.pop()
        yield child
        waiting += children(child)


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """A signal for each; who is gone is gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_below(pid: int) -> None:
    """SIGKILL for all below a process. They are stopped first: of those that fork for ever, some would be born meanwhile."""
    stopped: set[int] = set()
    grown = True
    while grown:
        grown = False
        for one in below(pid):
            if one not in stopped:
                signal_all([one], signal.SIGSTOP)  # before its children are looked for
                stopped.add(one)
                grown = True
    signal_all(stopped, signal.SIGKILL)


def end_own() -> dict[int, int]:
    """Kill all descendants of this process; returns when the kernel says that there are none. The wait status of each by its id."""
    ended: dict[int, int] = {}
    while True:
        kill_below(os.getpid())
        try:
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                ended[found[0]] = found[1]
        except ChildProcessError:
            return ended
        time.sleep(BREATH)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a family uses together."""

    processes: int
    cpu: float  # s, of those that were waited for too
    memory: int  # bytes in RAM; what several share counts for each


def usage(head: int, most: int) -> Usage:
    """What all below `head` use now (proc_pid_stat(5)), and what those used that have ended.

    Not looked at further when there are more than `most`: they may be born faster than they are counted.
    """
    processes = memory = ticks = 0
    for pid in itertools.chain([head], below(head)):
        if processes > most:
            break
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if pid == head:
                ticks += sum(map(int, words[13:15]))  # of its children only
            elif words[0] not in "ZX":
                processes += 1
                memory += int(words[21]) * PAGE
                ticks += sum(map(int, words[11:15]))
            else:
                ticks += sum(map(int, words[11:15]))
    return Usage(processes, ticks / TICK, memory)
