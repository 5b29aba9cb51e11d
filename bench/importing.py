"""An import of years of calls: lines a second of a real daemon and the real command, and what memory they need.

    python -m bench.importing [--lines N] [--json]

Ten million lines by default. Exit 1 below 25,000 lines a second of wall time, if the daemon or the command needs 300 MB, or if a
call is missing. The history is made from the lines of a real answered call and of a real call to a queue, nine to one.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.journal import BEGAN, REAL
from bench.table import show
from lab.asterisk import wait_until
from lab.tree import environment
from pbxd.cli.client import Client
from pbxd.errors import ControlError

QUEUE = REAL.with_name("queue.csv")
ONE_IN = 10  # of the calls, one is to a queue
CALLS_A_SECOND = 5  # of the box whose history it is: a busy one
CALLERS = 5000
TARGET, MOST_MEMORY = 25_000, 300 * 2**20  # lines a second, bytes
TICK = 1.0 / os.sysconf("SC_CLK_TCK")
CONFIG = """
site: {{trunks: ["PJSIP/trunk-*"], extensions: [1XX]}}
journal: {{cel: {folder}/log/pbxd.csv, queue_log: {folder}/log/queue_log}}
statistics: {{database: "sqlite+aiosqlite:///{folder}/state/stats.db"}}
reports: {{state: {folder}/state/deliveries.json}}
control: {{socket: {folder}/control.sock}}
"""


class Template:
    """The lines of a real call, from which others are made: its times, channels, bridges and its caller become their own."""

    def __init__(self, path: Path) -> None:
        text = path.read_text()
        caller = text.split('","')[3]
        text = re.sub(rf"\b{caller}\b", "CALLER", text)
        ids = sorted(
            set(re.findall(r'"(\d{10}\.\d+)"', text.replace('""', "'"))), key=lambda each: int(each.partition(".")[2])
        )
        ids = [each for each in ids if len(each.partition(".")[2]) < 6]
        first = int(min(ids).partition(".")[0])
        self.channels = len(ids)
        self.lines = text.count("\n")
        text = text.replace("%", "%%")
        for n, uniqueid in enumerate(ids):
            text = text.replace(f'"{uniqueid}"', f'"%(id{n})s"')
        text = re.sub(r'","(\d{10})\.(\d{6})","', lambda at: f'","%(s{int(at[1]) - first})d.{at[2]}","', text)
        for n, bridge in enumerate(sorted(set(re.findall(r'bridge_id"":""([^"]+)"', text)))):
            text = text.replace(bridge, f"b%(call)d-{n}")
        self._text = text.replace("CALLER", "%(caller)d")
        self._seconds = sorted({int(n) for n in re.findall(r"%\(s(-?\d+)\)d", text)})

    def call(self, number: int, second: int, channel: int) -> str:
        """The lines of a call that begins at `second`, whose first channel is number `channel`."""
        values: dict[str, object] = {f"id{n}": f"{second}.{channel + n}" for n in range(self.channels)}
        values |= {f"s{n}": second + n for n in self._seconds}
        return self._text % (values | {"call": number, "caller": 30000 + number * 7919 % CALLERS})


def history(path: Path, lines: int) -> tuple[int, int]:
    """Write about `lines` lines of calls; how many calls and lines they are."""
    answered, queued = Template(REAL), Template(QUEUE)
    written = calls = channel = 0
    with path.open("w") as file:
        while written < lines:
            template = queued if calls % ONE_IN == 0 else answered
            file.write(template.call(calls, BEGAN - 400 * 86400 + calls // CALLS_A_SECOND, channel))
            channel += template.channels
            written += template.lines
            calls += 1
    return calls, written


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


def peak(pid: int) -> int:
    """The most memory that a process has had, in bytes (VmHWM of proc_pid_status(5))."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def answers(client: Client) -> bool:
    """Whether the daemon does."""
    try:
        return bool(client.get("/v1/status")["state"] == "running")
    except ControlError:
        return False


def watched(process: subprocess.Popen[bytes]) -> Iterator[tuple[float, int]]:
    """Processor time and memory of a process, until it ends."""
    most = 0
    while process.poll() is None:
        most = max(most, peak(process.pid))  # one that has ended and was not waited for has none
        yield cpu_seconds(process.pid), most
        time.sleep(0.1)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "log").mkdir()
        calls, lines = history(folder / "history.csv", arguments.lines)
        (folder / "pbxd.yaml").write_text(CONFIG.format(folder=folder))
        client = Client(folder / "control.sock")
        run = [sys.executable, "-m", "pbxd.cli.daemon", "run", "-c", str(folder / "pbxd.yaml")]
        ctl = [sys.executable, "-m", "pbxd.cli.main", "--socket", str(client.path), "calls", "import"]
        with (folder / "log.json").open("w") as log, subprocess.Popen(run, stderr=log, env=environment()) as daemon:
            try:
                wait_until(lambda: answers(client), "pbxd to answer")
                before, began = cpu_seconds(daemon.pid), time.perf_counter()
                with subprocess.Popen(
                    [*ctl, str(folder / "history.csv")], env=environment(), stdout=sys.stderr
                ) as command:
                    *_, (ours, memory) = watched(command)
                wall = time.perf_counter() - began
                theirs, most = cpu_seconds(daemon.pid) - before, peak(daemon.pid)
                stored = client.get("/v1/status")["store"]["calls"]
            finally:
                daemon.terminate()
    head = ("what", "lines/s of CPU", "CPU s", "peak MB")
    table = [
        ("pbxd", round(lines / theirs), theirs, round(most / 2**20)),
        ("pbxctl calls import", round(lines / ours), ours, round(memory / 2**20)),
        ("both", round(lines / (ours + theirs)), ours + theirs, round((most + memory) / 2**20)),
    ]
    title = f"{lines:,} lines, {calls:,} calls in {wall:.1f} s: {lines / wall:,.0f} lines/s"
    show(title, head, table, as_json=arguments.json)
    fast = lines / wall >= TARGET
    return 0 if fast and max(most, memory) < MOST_MEMORY and stored == calls and command.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
