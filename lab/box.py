"""A whole box of the lab: Asterisk, configured by pbxd's own generator, and a pbxd beside it, as one would install it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab.asterisk import Asterisk, cpu_seconds, owner, wait_until
from lab.phones import Phones
from lab.tree import LabError, Say, ensure_tree, environment
from pbxd.cli.client import Client
from pbxd.errors import ControlError

CONFIGURATION = """
site:
  name: lab
  trunks: ["PJSIP/trunk-*"]
  extensions: [1XX]
ami:
  host: {address}
  port: {port}
  secret_file: {folder}/ami.secret
  reconnect_longest: 1s
journal:
  cel: {log}/cel-custom/pbxd.csv
  queue_log: {log}/queue_log
  own: {folder}/state/journal/own.csv
  commit_interval: {commit_interval}
statistics:
  database: sqlite+aiosqlite:///{folder}/state/stats/stats.db
agi:
  listen: {address}:4573
  users: ['{asterisk}']
  scripts: {{folder: {folder}/agi.d, own_user: true}}
voicemail:
  spool: {spool}/voicemail
control:
  socket: {folder}/control.sock
log:
  format: json
"""


EVERY = 1_000_000  # records: more than any lab makes


class Pbxd:
    """The daemon as a process of its own, configured in `folder`."""

    def __init__(self, asterisk: Asterisk, folder: Path, commit_interval: str = "100ms") -> None:
        self.asterisk = asterisk
        self.folder = folder
        self.config = folder / "pbxd.yaml"
        self.socket = folder / "control.sock"
        self.log = folder / "pbxd.log"
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.commit_interval = commit_interval
        self.configure()

    def configure(self, port: int = 5038, more: str = "") -> None:
        """Write its configuration: AMI at `port`, and `more` as a file of conf.d."""
        values = {"address": self.asterisk.address, "port": port, "folder": self.folder, "log": self.asterisk.log}
        values["asterisk"] = owner(self.asterisk.tree)[0]  # a user of the tree, not of this machine
        values["spool"] = self.asterisk.folder / "spool"
        self.config.write_text(CONFIGURATION.format(**values, commit_interval=self.commit_interval))
        (self.folder / "conf.d").mkdir(exist_ok=True)
        (self.folder / "conf.d" / "test.yaml").write_text(more)

    def start(self, *prefix: str, ready: bool = True) -> None:
        """Start it, behind `prefix` if given; returns when its control socket answers."""
        command = [*prefix, sys.executable, "-m", "pbxd.cli.daemon", "run", "--config", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment()
            )
        if ready:
            self.ready()

    def ready(self) -> None:
        """Return when it answers."""
        wait_until(self._answers, f"pbxd to answer; its log is {self.log}")

    def _answers(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise LabError("pbxd ended at its start:\n" + self.log.read_text()[-3000:])
        try:
            self.status()
        except ControlError:
            return False
        return True

    @property
    def api(self) -> Client:
        """Its local API. What is waited for is asked here: a pbxctl each time would cost the machine more than the calls do."""
        return Client(self.socket)

    def ctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run pbxctl against it."""
        command = [sys.executable, "-m", "pbxd.cli.main", "--socket", str(self.socket), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
        if check and done.returncode != 0:
            raise LabError(f"pbxctl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done

    def status(self) -> dict[str, Any]:
        """What `pbxctl status --json` shows."""
        found: dict[str, Any] = self.api.get("/v1/status")
        return found

    def records(self) -> list[dict[str, Any]]:
        """All records, oldest first."""
        return list(self.api.lines("/v1/calls", order="oldest", limit=EVERY))

    def stop(self) -> None:
        """SIGTERM; returns when it has drained. LabError if it takes longer than it may."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired as error:
                self.kill()
                raise LabError(f"pbxd did not stop; its log is {self.log}") from error
        self.process = None

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None

    def cpu_seconds(self) -> float:
        """CPU time since its start."""
        if self.process is None:
            raise LabError("this pbxd is not running")
        return cpu_seconds(self.process.pid)


class Box:
    """Asterisk, pbxd and the phones around them, in one folder."""

    def __init__(self, folder: Path, say: Say, *, own_clock: bool = False, lamps: bool = False) -> None:
        self.folder = folder
        tree = ensure_tree(say)
        self.asterisk = Asterisk(tree, folder / "asterisk", own_clock=own_clock, lamps=lamps)
        try:
            self.pbxd = Pbxd(self.asterisk, folder / "pbxd")
            self.phones = Phones(self.asterisk, folder / "phones")
            self.asterisk.write_configuration()
            self.install()
        except BaseException:
            self.asterisk.discard()
            raise

    def install(self) -> str:
        """What `pbxd asterisk-config --write` does on any box; its output."""
        arguments = ["--write", str(self.asterisk.etc), "--log", str(self.asterisk.log), "--yes"]
        arguments += ["--secret-file", str(self.pbxd.folder / "ami.secret"), "--permit", "127.0.0.0/255.0.0.0"]
        arguments += ["--agi", f"{self.asterisk.address}:4573"]
        command = [sys.executable, "-m", "pbxd.cli.daemon", "asterisk-config", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
        if done.returncode != 0:
            raise LabError(f"pbxd asterisk-config failed: {done.stderr}")
        uid, gid = owner(self.asterisk.tree)
        for file in self.asterisk.etc.iterdir():
            os.chown(file, uid, gid)
        return done.stdout

    def start(self) -> None:
        """Start Asterisk, then pbxd."""
        self.asterisk.start()
        self.pbxd.start()
        wait_until(lambda: self.pbxd.status()["ami"]["connected"], "pbxd's AMI session")

    def wait_for_calls(self, count: int, seconds: float = 60) -> None:
        """Return when the store has `count` calls."""
        wait_until(lambda: self.pbxd.status()["store"]["calls"] >= count, f"{count} calls in the store", seconds)

    def stop(self) -> None:
        """Take everything away; nothing is left behind."""
        self.phones.stop()
        try:
            self.pbxd.stop()
        finally:
            self.pbxd.kill()
            self.asterisk.discard()
