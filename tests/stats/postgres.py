"""A PostgreSQL server of the tests' own: on a Unix socket in a temporary folder, ended by its own process id."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path

from tests.stats.debian import install

USER = "postgres"
FOLDER = Path("/usr/lib/postgresql")


def programs() -> Path:
    """The folder of initdb and postgres; Debian's package is installed if there is none."""
    install("postgresql", lambda: any(FOLDER.glob("*/bin/initdb")))
    return max(FOLDER.glob("*/bin/initdb")).parent


class Server:
    """One server with its data; it can be killed and started again."""

    def __init__(self) -> None:
        self.programs = programs()
        self.folder = Path(tempfile.mkdtemp(prefix="pbxd-pg-"))
        self.data = self.folder / "data"
        self.root = os.geteuid() == 0  # initdb and postgres refuse root
        if self.root:
            shutil.chown(self.folder, USER, USER)
        self._as_user("initdb", "-D", str(self.data), "-A", "trust", "-U", USER, "--no-sync", "-E", "UTF8")
        self.start()

    def _as_user(self, program: str, *arguments: str) -> str:
        words = [str(self.programs / program), *arguments]
        if self.root:
            words = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", *words]
        done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=self.folder)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr}{done.stdout}")
        return done.stdout

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-k {self.folder} -h '' -F -c max_connections=50 -c shared_buffers=32MB"
        log = str(self.folder / "log")
        self._as_user("pg_ctl", "-D", str(self.data), "-w", "-l", log, "-o", options, "start")

    def kill(self) -> None:
        """kill -9 of all its processes: connections break in the middle of whatever they did."""
        pid = self.pid()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self._signal(signal.SIGKILL, pid, *map(int, children))
        # Where nobody reaps it, its process id seems to be alive, and the next start would respect these.
        (self.data / "postmaster.pid").unlink()
        for lock in self.folder.glob(".s.PGSQL.*"):
            lock.unlink()

    @staticmethod
    def _signal(number: int, *pids: int) -> None:
        """Send a signal and wait until the processes are gone."""
        handles = [os.pidfd_open(pid) for pid in pids]
        for handle in handles:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
        for handle in handles:
            select.select([handle], [], [], 10)
            os.close(handle)

    def pid(self) -> int:
        """Process id of the server itself."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def stop(self) -> None:
        """Stop it and remove its data."""
        self._signal(signal.SIGQUIT, self.pid())
        shutil.rmtree(self.folder)

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"t{uuid.uuid4().hex}"
        self._as_user("createdb", "-h", str(self.folder), "-U", USER, name)
        return f"postgresql+asyncpg://{USER}@/{name}?host={self.folder}"
