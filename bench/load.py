"""Real calls at 50, 200 and 400 a second: processor time of pbxd and of Asterisk for the same calls, lag, memory.

    python -m bench.load [--seconds N] [--json]

Each call has two legs through Asterisk (in by the trunk, to a phone). Exit 1 if at 200 calls a second pbxd takes more than 20 % of
Asterisk's processor time, or if a record is missing, doubled or wrong.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench.table import show
from lab import load
from lab.asterisk import wait_until
from lab.box import Box
from lab.demo import say
from lab.tree import LabError

RATES = (50, 200, 400)
TALK = 1000  # ms
TARGET_RATE, TARGET = 200, 0.20


def one(rate: int, seconds: int) -> tuple[tuple[object, ...], float, list[str]]:
    """A row of the table, pbxd's share, and what is wrong with the records."""
    folder = Path(tempfile.mkdtemp(prefix="pbxd-bench-"))
    folder.chmod(0o755)
    box = Box(folder, say)
    try:
        box.pbxd.commit_interval = "250ms"
        box.pbxd.configure()
        box.start()
        calls = rate * seconds
        pbxd, asterisk = box.pbxd.cpu_seconds(), box.asterisk.cpu_seconds()
        lags = []
        running = load.place(box.phones, calls, rate, TALK)
        while running.caller.process.poll() is None:
            lags.append(float(box.pbxd.status()["journal"]["lag"]))
            time.sleep(0.5)
        try:
            running.finish()
        except LabError as error:
            say(f"at {rate} calls/s the phones failed: {error}")
        ended = len(box.asterisk.journal.read_text().split('"LINKEDID_END"')) - 1
        wait_until(lambda: box.pbxd.status()["store"]["calls"] >= ended, "every call in the store")
        pbxd, asterisk = box.pbxd.cpu_seconds() - pbxd, box.asterisk.cpu_seconds() - asterisk
        memory = box.pbxd.status()["rss"] / 2**20
        share = pbxd / asterisk
        wrong = load.wrong(box.pbxd.records(), calls)
        lag = statistics.median(lags[1:] or [0.0])
        return (f"{rate} calls/s, {calls} calls", pbxd, asterisk, share, lag, max(lags), round(memory)), share, wrong
    finally:
        box.stop()


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    failed = False
    table = []
    for rate in RATES:
        row, share, wrong = one(rate, arguments.seconds)
        table.append(row)
        failed |= bool(wrong) or (rate == TARGET_RATE and share > TARGET)
        for fault in wrong[:5]:
            say(f"at {rate} calls/s: {fault}")
    head = ("load", "pbxd CPU s", "Asterisk CPU s", "ratio", "lag s, median", "lag s, most", "pbxd MB")
    show("Real calls, two legs each", head, table, as_json=arguments.json)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
