"""One AGI script as a process of its own: limits, its end, and what it says on standard error.

`setpriv` and `prlimit` (util-linux) give up rights and set limits between fork and exec: no code of ours runs there, and
nothing of the daemon's own environment, descriptors or credentials goes to the script.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from pbxd.agi.wire import MAX_COMMAND
from pbxd.config.agi import Scripts as ScriptSettings
from pbxd.errors import AGIAppError

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/"}
MAX_OUTPUT = 4 * MAX_COMMAND  # bytes of a line on standard output; longer ones are no command of Asterisk
FILES = 256  # descriptors
SPOKEN = 50  # lines of standard error that are logged a run
SPOKEN_LINE = 500  # bytes of each
STRAGGLE = 1.0  # s after the script's end for what it has written; a child of its may hold the pipe for ever
NOISE = re.compile(
    rb"ARGS: |ENV LINE: |class AGI: |\s+(?:COMMAND|RESULT_LINE|RESULT_DICT): |[ {]'(?:agi_|result)|'(?:endpos|result)'"
)
DIGITS = re.compile(rb"[0-9*#]{4,}")  # may be a PIN or a card
log = structlog.get_logger("pbxd.agi.script")


@dataclass(slots=True)
class Speech:
    """What a script says on standard error, on its way to the log: few lines, none too long, no keyed digits.

    pyst2 writes each answer there, keyed digits among them: its own lines are dropped, and elsewhere long digits are hidden.
    """

    name: str
    lines: int = 0
    dropped: int = 0
    _rest: bytearray = field(default_factory=bytearray)

    def hear(self, data: bytes) -> list[str]:
        """The lines to log."""
        self._rest += data
        *lines, rest = self._rest.split(b"\n")
        if len(rest) > SPOKEN_LINE:
            lines.append(rest)
            rest = bytearray()
        self._rest = bytearray(rest)
        found = []
        for line in lines:
            if not line.strip() or NOISE.match(line):
                continue
            if self.lines >= SPOKEN:
                self.dropped += 1
                continue
            self.lines += 1
            found.append(DIGITS.sub(b"****", line[:SPOKEN_LINE]).decode(errors="replace"))
        return found


def command(path: Path, arguments: tuple[str, ...], settings: ScriptSettings) -> list[str]:
    """The command line that runs a script within its limits. AGIAppError if it would have rights that it is not to have."""
    rights = ["--no-new-privs"]
    if settings.user is not None:
        if os.geteuid() != 0:
            raise AGIAppError(f"agi.scripts.user is {settings.user}, and only root can run a script as another user")
        rights += ["--reuid", settings.user, "--regid", settings.user, "--init-groups"]
    cpu = max(1, round(settings.cpu))
    limits = [
        f"--as={settings.memory}",
        f"--cpu={cpu}:{cpu + 1}",  # SIGXCPU, then SIGKILL
        f"--nproc={settings.processes}",
        f"--nofile={FILES}",
        "--core=0",
    ]
    return ["setpriv", *rights, "--", "prlimit", *limits, "--", str(path), *arguments]


class ScriptProcess:
    """A running script."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise AGIAppError(f"{name}: the script has no pipes")
        self.name = name
        self._process = process
        self._input, self._output, self._errors = process.stdin, process.stdout, process.stderr
        self.speech = Speech(name)
        self._listening = asyncio.create_task(self._listen())
        self._exit = asyncio.create_task(process.wait())
        self._exit.add_done_callback(self._exited)

    @classmethod
    async def start(cls, path: Path, arguments: tuple[str, ...], settings: ScriptSettings) -> ScriptProcess:
        """Start it. AGIAppError if that cannot be."""
        words = command(path, arguments, settings)
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
                limit=MAX_OUTPUT,
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
            raise AGIAppError(f"{path} cannot be started: {getattr(error, 'strerror', None) or error}") from error
        return cls(path.name, process)

    @property
    def pid(self) -> int:
        """Its process id, which is its session's and process group's too."""
        return self._process.pid

    def _exited(self, _task: asyncio.Task[int]) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(STRAGGLE, self._output.feed_eof)
        loop.call_later(STRAGGLE, self._errors.feed_eof)

    async def _listen(self) -> None:
        while data := await self._errors.read(4096):
            for line in self.speech.hear(data):
                log.info("script says", script=self.name, line=line)

    async def read_command(self) -> bytes | None:
        """The next line that it writes, without its end; None at the end. AGIAppError if it is too long to be a command."""
        try:
            line = await self._output.readline()
        except ValueError as error:
            raise AGIAppError(f"{self.name} writes a line of more than {MAX_OUTPUT} bytes") from error
        return line.rstrip(b"\r\n") if line else None

    async def write(self, data: bytes) -> None:
        """Give it an answer. One that does not read waits here until its time is over; one that has ended is no fault."""
        with contextlib.suppress(
            ConnectionError, RuntimeError
        ):  # RuntimeError: uvloop's word for a pipe that is closed
            self._input.write(data)
            await self._input.drain()

    def write_soon(self, data: bytes) -> None:
        """Give it what it did not ask for, unless it has not read what is there."""
        if self._input.transport.get_write_buffer_size() < MAX_OUTPUT:
            with contextlib.suppress(ConnectionError, RuntimeError):
                self._input.write(data)

    def hang_up(self) -> None:
        """Tell it as Asterisk does: SIGHUP, to the script alone."""
        if not self._exit.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGHUP)

    async def exit_code(self) -> int:
        """Its exit code when it has ended; the negative number of the signal that ended it."""
        return await asyncio.shield(self._exit)

    async def end(self) -> None:
        """End it and all that it has started, if it runs still; returns when it is gone."""
        if not self._exit.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        await asyncio.wait([self._exit])
        self._input.close()
        await asyncio.wait([self._listening], timeout=STRAGGLE)
        self._listening.cancel()
        if self.speech.dropped:
            log.info("script says more", script=self.name, lines=self.speech.dropped)
