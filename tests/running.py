"""A pbxd process without an Asterisk, fed by files."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lab.asterisk import wait_until
from lab.tree import environment
from pbxd.cli.client import Client
from pbxd.cli.main import main
from pbxd.errors import ControlError

CONFIG = """
site: {{trunks: ["PJSIP/trunk-*"], extensions: [1XX]}}
journal: {{cel: {folder}/log/pbxd.csv, queue_log: {folder}/log/queue_log, own: {folder}/own/own.csv, commit_interval: 10ms}}
statistics: {{database: "sqlite+aiosqlite:///{folder}/state/stats.db"}}
agi: {{listen: null}}
control: {{socket: {folder}/control.sock}}
"""


class Running:
    """A pbxd process and its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "pbxd.yaml"
        self.config.write_text(CONFIG.format(folder=folder))
        self.journal = folder / "log" / "pbxd.csv"
        self.journal.parent.mkdir()
        self.interpreter = [sys.executable]
        self.process: subprocess.Popen[str] | None = None

    def start(self, **extra: str) -> None:
        command = [*self.interpreter, "-m", "pbxd.cli.daemon", "run", "-c", str(self.config)]
        with (self.folder / "log.json").open("a") as log:
            self.process = subprocess.Popen(command, stderr=log, env=environment() | extra, text=True)
        wait_until(self.answers, "pbxd to answer")

    def ask(self, route: str) -> Any:
        """What a route of the local API says."""
        return Client(self.folder / "control.sock").get(route)

    def answers(self) -> bool:
        """Whether it does."""
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log.json").read_text()[-2000:]
        try:
            return bool(self.ask("/v1/status"))
        except ControlError:
            return False

    def ctl(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pbxd.cli.main", "--socket", str(self.folder / "control.sock"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), **options)  # type: ignore[call-overload, no-any-return]

    def ctl_here(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same in this process: to start one takes longer than most commands. In a thread: some have a loop."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        words = ["--socket", str(self.folder / "control.sock"), *arguments]

        def run() -> int:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    main(words)
                except SystemExit as ended:
                    return int(ended.code or 0)
            return 0

        with ThreadPoolExecutor(1) as thread:
            status = thread.submit(run).result()
        said = [stream.buffer.getvalue().decode() for stream in (out, err)]
        return subprocess.CompletedProcess(words, status, *said)

    def append(self, *files: Path) -> None:
        with self.journal.open("ab") as journal:
            for file in files:
                journal.write(file.read_bytes())

    def calls(self) -> int:
        return int(self.ask("/v1/status")["store"]["calls"])

    def kill(self) -> None:
        """kill -9, if it runs still."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
