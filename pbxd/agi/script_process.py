"""One AGI script as pbxd sees it: its pipes, its end, and what it says on standard error. Its process is its host's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
from dataclasses import dataclass, field
from typing import Any

import structlog

from pbxd.agi.script_request import DESCRIPTORS, HANGUP, ScriptRequest
from pbxd.agi.wire import MAX_COMMAND
from pbxd.errors import AGIAppError

MAX_OUTPUT = 4 * MAX_COMMAND  # bytes of a line on standard output; longer ones are no command of Asterisk
START = 10.0  # s that the host may take to start a script
PATIENCE = 5.0  # s for a script's end, until we say that it cannot be ended (it hangs in the kernel)
SPOKEN = 50  # lines of standard error that are logged a run
SPOKEN_LINE = 500  # bytes of each
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


class Inlet(asyncio.BaseProtocol):
    """Our end of the script's standard input."""

    def __init__(self) -> None:
        self.gone = False
        self._room = asyncio.Event()
        self._room.set()

    def pause_writing(self) -> None:
        """It does not read what is there."""
        self._room.clear()

    def resume_writing(self) -> None:
        """It reads."""
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own signature
        """It has closed it."""
        self.gone = True
        self._room.set()

    async def room(self) -> None:
        """Return when it takes more, or has closed."""
        await self._room.wait()


async def reading(file: int) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    """One of the script's outputs as a stream; the descriptor is the transport's from here on."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(MAX_OUTPUT, loop)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader, loop=loop), os.fdopen(file, "rb", 0)
    )
    return reader, transport


class ScriptProcess:
    """A running script."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = 0
        self.speech = Speech(name)
        self._transports: list[asyncio.BaseTransport] = []
        self._tasks: list[asyncio.Task[Any]] = []

    @classmethod
    async def start(cls, host: socket.socket, request: ScriptRequest) -> ScriptProcess:
        """Have the host, at the other end of a new connection, start it. AGIAppError if that cannot be."""
        made = cls(request.name)
        try:
            async with asyncio.timeout(START):
                await made._begin(host, request)
        except BaseException as error:
            made._let_go()
            host.close()
            if isinstance(error, OSError | ValueError):  # a time-out is an OSError
                raise AGIAppError(f"{request.name} cannot be started: its host says {error or 'nothing'}") from error
            raise
        return made

    async def _begin(self, host: socket.socket, request: ScriptRequest) -> None:
        loop = asyncio.get_running_loop()
        pairs = [os.pipe2(os.O_CLOEXEC) for _ in range(DESCRIPTORS)]
        (its_input, own_input), (own_output, its_output), (own_errors, its_errors) = pairs
        given = [its_input, its_output, its_errors]
        try:
            self._inlet = Inlet()
            self._input, _ = await loop.connect_write_pipe(lambda: self._inlet, os.fdopen(own_input, "wb", 0))
            self._transports.append(self._input)
            self._output, output = await reading(own_output)
            self._errors, errors = await reading(own_errors)
            self._transports += [output, errors]
            line = request.line()
            sent = socket.send_fds(host, [line], given)
            await loop.sock_sendall(host, line[sent:])
        finally:
            for file in given:
                os.close(file)
        self._words, control = await asyncio.open_unix_connection(sock=host)
        self._control = control
        self._transports.append(control.transport)
        said = json.loads(await self._words.readline() or b'{"fault": "nothing"}')
        if "fault" in said:
            raise AGIAppError(said["fault"])
        self.pid = said["pid"]
        self._listening = asyncio.create_task(self._listen())
        self._ended = asyncio.create_task(self._wait())
        self._tasks = [self._listening, self._ended]

    async def _listen(self) -> None:
        while data := await self._errors.read(4096):
            for line in self.speech.hear(data):
                log.info("script says", script=self.name, line=line)

    async def _wait(self) -> dict[str, Any]:
        """What the host says of its end; nothing if its keeper was ended."""
        try:
            line = await self._words.readline()
            await self._words.read()  # the keeper closes when nothing of it is left
        except ConnectionError:
            return {}
        found: dict[str, Any] = json.loads(line) if line else {}
        return found

    async def read_command(self) -> bytes | None:
        """The next line that it writes, without its end; None at the end. AGIAppError if it is too long to be a command."""
        try:
            line = await self._output.readline()
        except ValueError as error:
            raise AGIAppError(f"{self.name} writes a line of more than {MAX_OUTPUT} bytes") from error
        return line.rstrip(b"\r\n") if line else None

    async def write(self, data: bytes) -> None:
        """Give it an answer. One that does not read waits here until its time is over; one that has ended is no fault."""
        if not self._inlet.gone:
            self._input.write(data)
            await self._inlet.room()

    def write_soon(self, data: bytes) -> None:
        """Give it what it did not ask for, unless it has not read what is there."""
        if not self._inlet.gone and self._input.get_write_buffer_size() < MAX_OUTPUT:
            self._input.write(data)

    def hang_up(self) -> None:
        """Tell it as Asterisk does: SIGHUP, to the script alone."""
        if not self._ended.done():
            self._control.write(HANGUP)

    async def verdict(self) -> dict[str, Any]:
        """What the host says when it has ended with all that it had started: `code`, or `over` for a limit that was passed."""
        return await asyncio.shield(self._ended)

    async def end(self) -> None:
        """End it and all that it has started, if it runs still; returns when it is gone."""
        if self._control.can_write_eof() and not self._ended.done():
            with contextlib.suppress(OSError):  # it is gone already
                self._control.write_eof()
        _, left = await asyncio.wait([self._listening, self._ended], timeout=PATIENCE)
        if self._ended in left:
            log.error("a script cannot be ended", script=self.name, pid=self.pid)
        if self.speech.dropped:
            log.info("script says more", script=self.name, lines=self.speech.dropped)
        self._let_go()
        await asyncio.wait(self._tasks)

    def _let_go(self) -> None:
        for task in self._tasks:
            task.cancel()
        for transport in self._transports:
            transport.close()
