"""A login shell on a terminal of its own, for a ticket whose scope is shell."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import pwd
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path

from pbxd.uplink.support.family import MARK, end_below

PIECE = 32 * 1024  # bytes of output that are recorded and shown at a time
LARGEST_INPUT = (
    256 * 1024
)  # bytes typed and not yet taken by the terminal; what is more is thrown away, as a terminal does
END_OF_INPUT, AGAIN = b"\x04", 1.0  # as a terminal says it; s until it is said again
PROGRAMS = (Path("/bin/bash"), Path("/bin/sh"))
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Shell:
    """The shell and its terminal. It tells its output, and once that it ended."""

    def __init__(
        self,
        ticket: str,
        term: str,
        size: tuple[int, int],
        shown: Callable[[bytes], None],
        ended: Callable[[int], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._shown, self._ended = shown, ended
        self._input = bytearray()
        self._master, slave = pty.openpty()
        os.set_blocking(self._master, False)
        self.resize(*size)
        user = pwd.getpwuid(os.geteuid())
        program = next(program for program in PROGRAMS if program.exists())
        environment = {
            "PATH": PATH,
            "TERM": term,
            "HOME": user.pw_dir,
            "USER": user.pw_name,
            "LOGNAME": user.pw_name,
            "SHELL": str(program),
            "LANG": "C.UTF-8",
            MARK: ticket,
        }
        # The shell's end by the kernel when this process ends; its terminal as controlling one.
        words = ["setpriv", "--pdeathsig", "KILL", "setsid", "--ctty", str(program), "-l"]
        try:
            self.process = subprocess.Popen(
                words, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd="/", close_fds=True
            )
        finally:
            os.close(slave)
        self._loop.add_reader(self._master, self._readable)
        self._watch = self._loop.create_task(self._until_it_ends())

    def type(self, data: bytes) -> None:
        """Hand on what the person typed."""
        self._input += data[: LARGEST_INPUT - len(self._input)]
        self._writable()

    def end_input(self) -> None:
        """The person says no more. It is said until the shell ends: one that has not begun to read its lines loses it."""
        if self._master >= 0:
            self.type(END_OF_INPUT)
            self._loop.call_later(AGAIN, self.end_input)

    def resize(self, width: int, height: int) -> None:
        """The person's terminal has this size, in characters."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def pause(self) -> None:
        """The person's connection is slower than the output."""
        if self._master >= 0:
            self._loop.remove_reader(self._master)

    def resume(self) -> None:
        """It has caught up."""
        if self._master >= 0:
            self._loop.add_reader(self._master, self._readable)

    def end(self) -> None:
        """Kill the shell and everything that came of it."""
        self._close()
        end_below(os.getpid())

    async def _until_it_ends(self) -> None:
        while self.process.poll() is None:  # noqa: ASYNC110 - SIGCHLD tells nothing that poll does not
            await asyncio.sleep(0.05)
        while self._master >= 0 and self._readable():
            pass
        self.end()
        self._ended(self.process.returncode)

    def _readable(self) -> bool:
        """Show what there is; whether there was any."""
        try:
            data = os.read(self._master, PIECE)
        except BlockingIOError:
            return False
        except OSError:  # EIO: nobody has the other end any more
            data = b""
        if data:
            self._shown(data)
        else:
            self._close()
        return bool(data)

    def _writable(self) -> None:
        """Give the terminal as much as it takes."""
        if self._master < 0:
            return
        with contextlib.suppress(BlockingIOError):
            while self._input:
                del self._input[: os.write(self._master, self._input)]
        if self._input:
            self._loop.add_writer(self._master, self._writable)
        else:
            self._loop.remove_writer(self._master)

    def _close(self) -> None:
        if self._master >= 0:
            self._loop.remove_reader(self._master)
            self._loop.remove_writer(self._master)
            os.close(self._master)
            self._master = -1
