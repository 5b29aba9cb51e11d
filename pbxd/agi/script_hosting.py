"""Which host runs the customer's scripts, and as whom: never as pbxd's own user, unless the configuration says so.

agi.scripts.user       pbxd runs as root: a host of pbxd's own, whose scripts are that user's
agi.scripts.own_user   a host of pbxd's own, whose scripts are pbxd's user
agi.scripts.service    the socket of pbxd-scripts.service, which systemd runs as a user of its own
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from enum import StrEnum
from pathlib import Path

import pbxd
from pbxd.config.agi import Scripts as ScriptSettings
from pbxd.errors import AGIAppError

BACKLOG = 1024
GRACE = 5.0  # s for our host to end its scripts and itself
REFUSED = (
    "no script runs as pbxd's own user, who can read the recordings: `systemctl enable --now pbxd-scripts.socket`, "
    "or see agi.scripts in docs/dialplan.md"
)


class Way(StrEnum):
    """How scripts are run."""

    USER = "user"
    OWN_USER = "own user"
    SERVICE = "service"
    NONE = "none"


def way(settings: ScriptSettings) -> Way:
    """How scripts are run by these settings, on this machine as it is now."""
    if settings.user is not None:
        return Way.USER
    if settings.own_user:
        return Way.OWN_USER
    return Way.SERVICE if settings.service is not None and settings.service.is_socket() else Way.NONE


class ScriptHosting:
    """Connects to the host, and starts pbxd's own when it is needed."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._given: tuple[Path, str | None] | None = None  # folder and user that our host has
        self._address = b""
        self._starting = asyncio.Lock()

    async def connect(self, settings: ScriptSettings) -> socket.socket:
        """A new connection to the host. AGIAppError if there is none, or it does not answer."""
        chosen = way(settings)
        if chosen is Way.NONE:
            raise AGIAppError(REFUSED)
        if chosen is Way.USER and os.geteuid() != 0:
            raise AGIAppError(f"agi.scripts.user is {settings.user}, and only root can run a script as another user")
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.setblocking(False)
        try:
            address = str(settings.service) if chosen is Way.SERVICE else await self._own(settings)
            await asyncio.get_running_loop().sock_connect(made, address)
        except OSError as error:
            made.close()
            raise AGIAppError(f"the host of scripts does not answer: {error.strerror or error}") from error
        except BaseException:
            made.close()
            raise
        return made

    async def _own(self, settings: ScriptSettings) -> bytes:
        """The address of pbxd's own host, which runs."""
        given = settings.folder, settings.user
        async with self._starting:
            if self._process is not None and (self._process.returncode is not None or self._given != given):
                await self.close()
            if self._process is None:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
                    listening.bind("")  # a name that the kernel chooses; the host asks who connects
                    listening.listen(BACKLOG)
                    self._process = await self._start(listening, settings)
                    self._given, self._address = given, listening.getsockname()
        return self._address

    async def _start(self, listening: socket.socket, settings: ScriptSettings) -> asyncio.subprocess.Process:
        number = listening.fileno()
        words = ["--folder", str(settings.folder), "--fd", str(number), "--for", str(os.geteuid()), "--lifeline"]
        words += [] if settings.user is None else ["--user", settings.user]
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "pbxd.agi.script_host",
            *words,
            stdin=asyncio.subprocess.PIPE,
            pass_fds=[number],
            env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(Path(pbxd.__file__).parent.parent)},
        )

    async def close(self) -> None:
        """End pbxd's own host, with all that it runs."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(GRACE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
