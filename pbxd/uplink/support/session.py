"""One session of a person: the words of the scope, or a shell. Whatever is shown has been recorded before."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import asyncssh

from pbxd.errors import RecordingStopped, SupportError
from pbxd.uplink.support.cast import Cast
from pbxd.uplink.support.core_link import Core
from pbxd.uplink.support.shell import Shell
from pbxd.uplink.support.ticket import SHELL_WARNING, Scope
from pbxd.uplink.support.words import Lines, Prompt, Unknown, understand

log = logging.getLogger("pbxd.uplink.support")
PROMPT = b"pbxd> "
MOST_EARLY = 64 * 1024  # bytes typed before the recording has begun from which on the person has to wait
WAITING = 64  # lines typed ahead; more are refused
NO_RECORDING = 74  # exit status: EX_IOERR of sysexits.h


class Session(asyncssh.SSHServerSession[bytes]):
    """A channel of a connection."""

    def __init__(self, core: Core, scope: Scope, person: str) -> None:
        self._core, self._scope, self._person = core, scope, person
        self._chan: asyncssh.SSHServerChannel[bytes] | None = None
        self._command: str | None = None  # None is a shell, or the words line by line
        self._term: str | None = None  # None without a terminal
        self._size = (80, 24)
        self._cast: Cast | None = None
        self._number, self._ticket = 0, ""
        self._shell: Shell | None = None
        self._prompt, self._lines = Prompt(), Lines()
        self._queue: asyncio.Queue[str] = asyncio.Queue(WAITING)
        self._task: asyncio.Task[None] | None = None
        self._why = "the person left"
        self._ready = False  # what the person types can be taken
        self._early, self._early_end = bytearray(), False  # what the person said before

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """The channel is open."""
        self._chan = chan

    def pty_requested(self, term_type: str, term_size: tuple[int, int, int, int], _modes: Any) -> bool:  # noqa: ANN401
        """A terminal may be had."""
        self._term, self._size = term_type, (term_size[0] or 80, term_size[1] or 24)
        return True

    def shell_requested(self) -> bool:
        """The words line by line; with the scope shell, a shell, which needs a terminal."""
        return self._scope != "shell" or self._term is not None

    def exec_requested(self, command: str) -> bool:
        """One line of words. That it is one is looked at when the session has begun, so that the answer can say what there is."""
        self._command = command
        return True

    def subsystem_requested(self, _subsystem: str) -> bool:
        """There are none: no SFTP."""
        return False

    def session_started(self) -> None:
        """The person waits for the first byte."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def data_received(self, data: bytes, _datatype: Any) -> None:  # noqa: ANN401
        """What the person typed."""
        if self._command is not None:
            return
        if not self._ready or self._cast is None:
            self._early += data
            if len(self._early) > MOST_EARLY and self._chan is not None:
                self._chan.pause_reading()
            return
        try:
            self._typed(self._cast, data)
        except RecordingStopped as error:
            self._stopped(error)

    def _typed(self, cast: Cast, data: bytes) -> None:
        if self._shell is not None:
            cast.typed(data)
            self._shell.type(data)
        elif self._term is not None:
            for echo, line in self._prompt.typed(data):
                self._show(echo)
                self._say(line)
        else:
            cast.typed(data)
            for line in self._lines.received(data):
                self._say(line)

    def _say(self, line: str | None) -> None:
        if line is not None and not self._queue.full():
            self._queue.put_nowait(line)

    def eof_received(self) -> bool:
        """The person says no more; what was said is still answered."""
        if not self._ready or self._cast is None:
            self._early_end = True
            return True
        for line in self._lines.ended():
            self._say(line)
        if self._shell is not None:
            self._shell.end_input()
        elif self._command is None:
            self._say("exit")
        return True

    def terminal_size_changed(self, width: int, height: int, _pixwidth: int, _pixheight: int) -> None:
        """The person's window was resized."""
        self._size = (width, height)
        if self._cast is not None and self._shell is not None:
            self._shell.resize(width, height)
            self._cast.resized(width, height)

    def pause_writing(self) -> None:
        """The connection is slow."""
        if self._shell is not None:
            self._shell.pause()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._shell is not None:
            self._shell.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is gone."""
        if exc is not None:
            self._why = f"the connection ended: {exc}"
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        """The session from its first byte to its last."""
        status = 1
        try:
            await self._begin()
            status = await self._serve()
        except RecordingStopped as error:
            status = self._stopped(error)
        except SupportError as error:
            self._why = str(error)
            self._tell_unrecorded(str(error))
        finally:
            if self._shell is not None:
                self._shell.end()
            if self._chan is not None:
                self._chan.exit(status)
            await asyncio.shield(self._end())

    async def _begin(self) -> None:
        """Have it written in the ledger, begin the recording. SupportError if one of them cannot be: nothing has been shown."""
        what = self._command if self._command is not None else "a shell" if self._scope == "shell" else "a prompt"
        begun = await self._core.ask("begin", person=self._person, what=what)
        self._number, self._ticket = int(begun["session"]), str(begun["ticket"])
        header = {
            "width": self._size[0],
            "height": self._size[1],
            "timestamp": int(time.time()),
            "title": f"{self._person}, ticket {self._ticket}, session {self._number}: {what}",
            "env": {"TERM": self._term or "dumb"},
        }
        self._cast = Cast(Path(begun["path"]), header)

    def _take_early(self) -> None:
        """Whoever takes what is typed is there: the shell, or the prompt. RecordingStopped if it cannot be recorded."""
        self._ready = True
        if self._early and self._cast is not None and self._command is None:
            self._typed(self._cast, bytes(self._early))
        self._early.clear()
        if self._chan is not None:
            self._chan.resume_reading()
        if self._early_end:
            self.eof_received()

    async def _serve(self) -> int:
        if self._command is not None:
            return await self._answer(self._command)
        if self._scope == "shell":
            return await self._serve_shell()
        if self._term is not None:
            self._show(
                b"pbxd support session. It is recorded, and can be watched and ended. `help` says what there is.\r\n"
            )
        self._take_early()
        while True:
            if self._term is not None:
                self._show(PROMPT)
            line = await self._queue.get()
            if line.strip() == "exit":
                return 0
            await self._answer(line)

    async def _serve_shell(self) -> int:
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._show(f"{SHELL_WARNING}\r\nThis session is recorded, and can be watched and ended.\r\n".encode())

        def exit_with(status: int) -> None:
            if not ended.done():
                ended.set_result(status)

        def shown(data: bytes) -> None:
            try:
                self._show(data)
            except RecordingStopped as error:
                self._stopped(error)
                exit_with(NO_RECORDING)

        self._shell = Shell(self._ticket, self._term or "dumb", self._size, shown, exit_with)
        self._take_early()
        return await ended

    async def _answer(self, line: str) -> int:
        """Carry out one line and show the answer; its exit status."""
        if self._cast is not None and self._command is not None:
            self._cast.typed(line.encode() + b"\r\n")
        command = understand(line, self._scope)
        if command is None:
            return 0
        if isinstance(command, Unknown):
            self._show_text(command.message)
            return 2
        try:
            answer = await self._core.ask(
                "word", session=self._number, word=command.word, arguments=list(command.arguments)
            )
        except SupportError as error:
            self._show_text(str(error))
            return 1
        self._show_text(str(answer["text"]))
        return 0

    def _show_text(self, text: str) -> None:
        ending = "\r\n" if self._term is not None else "\n"
        self._show("".join(line + ending for line in text.splitlines()).encode())

    def _show(self, data: bytes) -> None:
        """Record, then show. RecordingStopped if it cannot be recorded: then it is not shown."""
        if self._cast is None or self._chan is None:
            raise RecordingStopped("the session has no recording")
        if data:
            self._cast.shown(data)
            self._chan.write(data)

    def _stopped(self, error: RecordingStopped) -> int:
        """The recording cannot go on, and so the session cannot."""
        log.error("a support session ends: %s", error)
        self._why = f"the recording could not be written: {error}"
        self._tell_unrecorded("this session cannot be recorded on the box, and so there is none")
        if self._shell is not None:
            self._shell.end()
        elif self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        return NO_RECORDING

    def _tell_unrecorded(self, text: str) -> None:
        """Tell why there is no session: a sentence of ours, the one thing that is shown without a recording."""
        if self._chan is not None:
            self._chan.write_stderr(f"pbxd: {text}\r\n".encode())

    async def _end(self) -> None:
        """Say to the core that it is over."""
        if self._cast is not None:
            self._cast.close()
        if self._number:
            await self._core.ask("end", session=self._number, why=self._why)
