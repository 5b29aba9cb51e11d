"""A customer's existing AGI scripts, unchanged: classic AGI on standard input and output, relayed over our FastAGI session.

A script is a route by its file's name. Its commands go to Asterisk one at a time and as they are; the answers come back as
they are. When the caller hangs up it gets SIGHUP, as from Asterisk itself, and some time to end. It reads no HANGUP line:
Asterisk sends scripts none.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import stat
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from pbxd.agi.application import Application, Services
from pbxd.agi.script_process import ScriptProcess
from pbxd.agi.session import Request, Session
from pbxd.agi.wire import MAX_COMMAND
from pbxd.errors import AGIAppError, AGIBusy, AGIException, AGISIGHUPHangup, AGITimeout

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
REFUSED = b"510 Invalid or unknown command\n"  # what a script gets for a line that Asterisk would cut in two


def fault(folder: Path, name: str) -> str:
    """Why the file `name` of `folder` cannot be a script; empty if it can. It never leads out of the folder."""
    path = folder / name
    if not NAME.fullmatch(name):
        return "its name is not made of letters, digits, . _ and -"
    try:
        found = path.stat()
        if path.resolve().parent != folder.resolve():
            return "it leads out of the folder"
    except OSError as error:
        return str(error.strerror)
    executable = found.st_mode & 0o111 and os.access(path, os.X_OK)
    faults = {
        "it is no file": not stat.S_ISREG(found.st_mode),
        "every user may change it: chmod o-w": found.st_mode & stat.S_IWOTH,
        "it is not executable: chmod +x": not executable,
    }
    return next((text for text, is_so in faults.items() if is_so), "")


class Scripts:
    """The folder, as routes."""

    def __init__(self, services: Services) -> None:
        self._services = services
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
            process = await ScriptProcess.start(path, without_empty_end(request.arguments), settings)
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
                    judge(process.name, await process.exit_code(), hung_up=session.hung_up)
        except TimeoutError as error:
            if session.hung_up:
                raise AGISIGHUPHangup(f"{process.name} went on after the caller had hung up; it was ended") from error
            raise AGITimeout(f"{process.name} ran longer than agi.scripts.time; it was ended") from error

    async def close(self) -> None:
        """End what runs still."""
        await asyncio.gather(*(self._end(process) for process in list(self._running)))


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


def judge(name: str, code: int, *, hung_up: bool) -> None:
    """What an exit code means: an AGI error, unless all is well."""
    if code == 0:
        return
    error: AGIException
    if hung_up:
        error = AGISIGHUPHangup(f"{name} ended with the call")
    elif code == -signal.SIGXCPU:
        error = AGITimeout(f"{name} used more processor time than agi.scripts.cpu")
    elif code < 0:
        error = AGIAppError(f"{name} was ended by {signal.Signals(-code).name}")
    else:
        error = AGIAppError(f"{name} ended with exit code {code}")
    raise error
