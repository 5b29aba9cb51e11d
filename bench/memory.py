"""Memory at rest of a real pbxd in each way of running it: resident (RSS), and its share of what others map too (PSS).

    python -m bench.memory [--json]

Each has its store and its journals, and is measured when the figure stands still. Exit 1 above the target.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.table import show
from lab.asterisk import wait_until
from pbxd.stats.upgrade import upgrade
from tests.recording.spools import recording
from tests.running import Running

TARGET = 90  # MiB
EARLIER = "0006"  # schema of an earlier pbxd's store
RECORDINGS = 20
SETTLED = 3  # looks in a row that give the same figure
KEEPING = """
recording: {{enabled: true, spool: {folder}/spool, spool_group: '{group}'}}
comms: {{folder: {folder}/comms, key_file: {folder}/keys/comms.key}}
voicemail: {{spool: {folder}/voicemail}}
"""


def resident(pid: int) -> tuple[float, float]:
    """RSS and PSS in MiB (proc_pid_smaps_rollup(5))."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    rss, pss = (int(re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)[1]) / 1024 for name in ("Rss", "Pss"))  # type: ignore[index]
    return rss, pss


def at_rest(running: Running) -> tuple[float, float]:
    """The same, when it does not change any more."""
    assert running.process is not None
    found = [resident(running.process.pid)]
    while len(found) < SETTLED or len({round(rss) for rss, _ in found[-SETTLED:]}) > 1:
        time.sleep(2)
        found.append(resident(running.process.pid))
    return found[-1]


def run(running: Running, work: Callable[[], None] | None = None) -> tuple[float, float]:
    """One start of it; `work` is done before it rests."""
    running.start()
    try:
        if work is not None:
            work()
        return at_rest(running)
    finally:
        running.kill()


def stored(running: Running) -> None:
    """Wait until all recordings are in the vault; play one."""
    wait_until(
        lambda: running.ctl("recordings", "list", "--json").stdout.count('"id"') == RECORDINGS, "all in the vault", 300
    )
    assert running.ctl("recordings", "play", "r0", "--wav", "-o", str(running.folder / "r0.wav")).returncode == 0


def measure(folder: Path, *, keeping: bool) -> list[tuple[str, float, float]]:
    """Rows of the table."""
    folder.mkdir()
    running = Running(folder)
    if keeping:
        (folder / "voicemail").mkdir()
        with running.config.open("a") as file:
            file.write(KEEPING.format(folder=folder, group=os.getgid()))
    what = "with recording and voicemail" if keeping else "call records"
    (folder / "state").mkdir()
    upgrade(f"sqlite+aiosqlite:///{folder}/state/stats.db", EARLIER)
    rows = [(f"{what}, a start that migrates", *run(running)), (f"{what}, any other start", *run(running))]
    if keeping:
        for n in range(RECORDINGS):
            recording(folder / "spool", f"r{n}", 10.0)
        rows.append((f"{what}, {RECORDINGS} recordings stored, one played", *run(running, lambda: stored(running))))
    return rows


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        rows = [row for keeping in (False, True) for row in measure(Path(place) / str(keeping), keeping=keeping)]
    show("Memory at rest", ("what runs", "RSS MiB", "PSS MiB"), rows, as_json=arguments.json)
    return 0 if max(row[1] for row in rows) <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
