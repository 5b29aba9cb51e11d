"""One AGI script as a process of its own: limits, its end, and what it says on standard error.

`setpriv` and `prlimit` (util-linux) give up rights and set limits between fork and exec: no code of ours runs there, and
nothing of the daemon's own environment, descriptors or credentials goes to the script.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
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
STRAGGLE = 0.5  # s after the script's end for what it has written; a child of its may hold the pipe for ever
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
        try:
            entry = pwd.getpwnam(settings.user)
        except KeyError as error:
            raise AGIAppError(f"agi.scripts.user: there is no user {settings.user}") from error
        rights += ["--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--init-groups"]
    cpu = max(1, round(settings.cpu))
    limits = [
        f"--as={settings.memory}",
        f"--cpu={cpu}:{cpu + 1}",  # SIGXCPU, then SIGKILL
        f"--nproc={settings.processes}",
        f"--nofile={FILES}",
        "--core=0",
    ]
    return ["setpriv", *rights, "--", "prlimit", *limits, "--", str(path), *arguments]


class Pipes(asyncio.subprocess.SubprocessStreamProtocol):
    """asyncio's own, that tells of the exit when it happens: a child of the script may hold its pipes for long after that."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(MAX_OUTPUT, loop)
        self.exited: asyncio.Future[None] = loop.create_future()

    def process_exited(self) -> None:
        """The script itself has ended."""
        super().process_exited()
        if not self.exited.done():
            self.exited.set_result(None)


class ScriptProcess:
    """A running script."""

    def __init__(self, name: str, transport: asyncio.SubprocessTransport, pipes: Pipes) -> None:
        if pipes.stdin is None or pipes.stdout is None or pipes.stderr is None:
            raise AGIAppError(f"{name}: the script has no pipes")
        self.name = name
        self._transport = transport
        self._exited = pipes.exited
        self._input, self._output, self._errors = pipes.stdin, pipes.stdout, pipes.stderr
        self._reading = False  # somebody waits for a line
        self.speech = Speech(name)
        self._listening = asyncio.create_task(self._listen())
        self._exited.add_done_callback(lambda _: asyncio.get_running_loop().call_later(STRAGGLE, self._let_go))

    @classmethod
    async def start(cls, path: Path, arguments: tuple[str, ...], settings: ScriptSettings) -> ScriptProcess:
        """Start it. AGIAppError if that cannot be."""
        words = command(path, arguments, settings)
        loop = asyncio.get_running_loop()
        try:
            transport, pipes = await loop.subprocess_exec(
                Pipes, *words, env=ENVIRONMENT, cwd="/", start_new_session=True
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
            raise AGIAppError(f"{path} cannot be started: {getattr(error, 'strerror', None) or error}") from error
        return cls(path.name, transport, pipes)

    @property
    def pid(self) -> int:
        """Its process id, which is its session's and process group's too."""
        return self._transport.get_pid()

    def _let_go(self) -> None:
        """It has ended, and whoever holds its pipes writes nothing more of use: the reader is to see their end."""
        if self._reading:
            self._transport.close()

    async def _listen(self) -> None:
        while data := await self._errors.read(4096):
            for line in self.speech.hear(data):
                log.info("script says", script=self.name, line=line)

    async def read_command(self) -> bytes | None:
        """The next line that it writes, without its end; None at the end. AGIAppError if it is too long to be a command."""
        self._reading = True
        try:
            async with asyncio.timeout(STRAGGLE if self._exited.done() else None):
                line = await self._output.readline()
        except TimeoutError:
            return None
        except ValueError as error:
            raise AGIAppError(f"{self.name} writes a line of more than {MAX_OUTPUT} bytes") from error
        finally:
            self._reading = False
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
        if not self._exited.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGHUP)

    async def exit_code(self) -> int:
        """Its exit code when it has ended; the negative number of the signal that ended it."""
        await asyncio.shield(self._exited)
        return self._transport.get_returncode() or 0

    async def end(self) -> None:
        """End it and all that it has started, if it runs still; returns when it is gone."""
        if not self._exited.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        await asyncio.wait([self._exited])
        await asyncio.wait([self._listening], timeout=STRAGGLE)
        self._transport.close()
        await asyncio.wait([self._listening])
        if self.speech.dropped:
            log.info("script says more", script=self.name, lines=self.speech.dropped)
