"""A customer's existing AGI scripts, unchanged: classic AGI on standard input and output, relayed over our FastAGI session.

A script is a route by its file's name. Its commands go to Asterisk one at a time and as they are; the answers come back as
they are. When the caller hangs up it gets SIGHUP, as from Asterisk itself, and some time to end. It reads no HANGUP line:
Asterisk sends scripts none.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pbxd.agi.application import Application, Services
from pbxd.agi.script_file import NAME, fault
from pbxd.agi.script_hosting import ScriptHosting, way
from pbxd.agi.script_process import ScriptProcess
from pbxd.agi.script_request import OVER, ScriptRequest
from pbxd.agi.session import Request, Session
from pbxd.agi.wire import MAX_COMMAND
from pbxd.errors import AGIAppError, AGIBusy, AGIException, AGISIGHUPHangup, AGITimeout

REFUSED = b"510 Invalid or unknown command\n"  # what a script gets for a line that Asterisk would cut in two


class Scripts:
    """The folder, as routes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._hosting = ScriptHosting()
        self._running: set[ScriptProcess] = set()
        self._starting = 0

    @property
    def running(self) -> int:
        """Scripts that run now."""
        return len(self._running) + self._starting

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self._services.config.scripts.folder

    def find(self, name: str) -> Application | None:
        """The script of that name as an application; None if there is no such file. Its faults are told when it runs."""
        if not NAME.fullmatch(name) or not (self.folder / name).exists():
            return None
        return partial(self._serve, self.folder / name)

    def listing(self) -> list[dict[str, str]]:
        """Each file of the folder: its name, and why it cannot be used."""
        try:
            names = sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise AGIAppError(f"{self.folder} cannot be read: {error.strerror}") from error
        return [{"name": name, "fault": fault(self.folder, name)} for name in names]

    async def _serve(self, path: Path, session: Session, request: Request, services: Services) -> None:
        """Run the script for this call."""
        settings = services.config.scripts
        if problem := fault(path.parent, path.name):
            raise AGIAppError(f"{path}: {problem}")
        if self.running >= settings.at_once:
            raise AGIBusy(f"{settings.at_once} scripts run already")
        self._starting += 1
        try:
            asked = ScriptRequest(
                path.name,
                without_empty_end(request.arguments),
                processes=settings.processes,
                cpu=settings.cpu,
                memory=settings.memory,
                at_once=settings.at_once,
            )
            process = await ScriptProcess.start(await self._hosting.connect(settings), asked)
        finally:
            self._starting -= 1
        self._running.add(process)
        try:
            await self._within(settings.time, settings.hangup_time, process, session, request)
        finally:
            # A cancelled session must not be cancelled again here: the process would be left.
            await asyncio.shield(asyncio.ensure_future(self._end(process)))

    async def _end(self, process: ScriptProcess) -> None:
        try:
            await process.end()
        finally:
            self._running.discard(process)

    async def _within(
        self, longest: float, after_hangup: float, process: ScriptProcess, session: Session, request: Request
    ) -> None:
        """Relay within the time that the script has, less when the caller is gone."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(longest) as limit:

                def hung_up() -> None:
                    process.hang_up()
                    limit.reschedule(loop.time() + min(after_hangup, longest))

                with session.relaying(hung_up, lambda line: process.write_soon(line + b"\n")):
                    await relay(process.read_command, process.write, session, request)
                    judge(process.name, await process.verdict(), hung_up=session.hung_up)
        except TimeoutError as error:
            if session.hung_up:
                raise AGISIGHUPHangup(f"{process.name} went on after the caller had hung up; it was ended") from error
            raise AGITimeout(f"{process.name} ran longer than agi.scripts.time; it was ended") from error

    async def close(self) -> None:
        """End what runs still."""
        await asyncio.gather(*(self._end(process) for process in list(self._running)))
        await self._hosting.close()

    def status(self) -> dict[str, Any]:
        """How scripts are run, and how many files there are to run; for the doctor."""
        settings = self._services.config.scripts
        try:
            count = sum(not fault(self.folder, name) for name in os.listdir(self.folder))  # noqa: PTH208 - names are meant
        except OSError:
            count = 0  # `listing` says why
        return {"way": str(way(settings)), "user": settings.user or "", "files": count, "running": self.running}


async def relay(
    read: Callable[[], Awaitable[bytes | None]],
    write: Callable[[bytes], Awaitable[None]],
    session: Session,
    request: Request,
) -> None:
    """Give the script Asterisk's environment, then carry commands and answers, until the script writes no more."""
    await write(request.environment.raw)
    while (line := await read()) is not None:
        if not line:
            continue
        if len(line) > MAX_COMMAND:
            await write(REFUSED)
            continue
        await write((await session.relay(line)).raw + b"\n")


def without_empty_end(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Arguments without empty ones at their end, which a subroutine with fewer arguments than it takes passes on."""
    count = len(arguments)
    while count and not arguments[count - 1]:
        count -= 1
    return arguments[:count]


def judge(name: str, verdict: Mapping[str, Any], *, hung_up: bool) -> None:
    """What the host says of a script's end: an AGI error, unless all is well."""
    code, over = verdict.get("code"), verdict.get("over")
    if code == 0 and over is None:
        return
    error: AGIException
    if over is not None:
        kind = AGITimeout if over == "cpu" else AGIAppError
        error = kind(f"{name} and what it had started passed {OVER.get(over, over)}; they were ended")
    elif code is None:
        error = AGIAppError(f"{name} was ended together with its keeper")
    elif hung_up:
        error = AGISIGHUPHangup(f"{name} ended with the call")
    elif code == -signal.SIGXCPU:
        error = AGITimeout(f"{name} used more processor time than agi.scripts.cpu")
    elif code < 0:
        error = AGIAppError(f"{name} was ended by {signal.Signals(-code).name}")
    else:
        error = AGIAppError(f"{name} ended with exit code {code}")
    raise error
