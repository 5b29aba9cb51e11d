"""Memory at rest of a real pbxd in each way of running it: resident (RSS), and its share of what others map too (PSS).

    python -m bench.memory [--json]

Each has its store and its journals, and is measured when the figure stands still. The last one has all that a box can have but the
uplink: an Asterisk with an AMI session and FastAGI, recording, voicemail with its archive, chat; and has done some of each.
Exit 1 above the target.
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
from typing import Any

from bench.table import show
from lab.asterisk import owner, wait_until
from lab.box import Box, Pbxd
from lab.demo import say
from lab.desk import Desk
from lab.transfers import connect
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


EVERYTHING = """
people:
  - {{name: anna, extensions: ['101'], mailboxes: ['101']}}
  - {{name: bert, extensions: ['102'], mailboxes: ['102']}}
recording: {{enabled: true, spool: {spool}/recordings, spool_group: '{group}', rules: [{{record: always, consent: none}}]}}
voicemail: {{enabled: true, archive_after: 1d, archive_new: true}}
chat: {{enabled: true}}
comms: {{folder: {folder}/comms, key_file: {folder}/keys/comms.key}}
"""
CALLS = 5


def resident(pid: int) -> tuple[float, float]:
    """RSS and PSS in MiB (proc_pid_smaps_rollup(5))."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    rss, pss = (int(re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)[1]) / 1024 for name in ("Rss", "Pss"))  # type: ignore[index]
    return rss, pss


def at_rest(running: Running | Pbxd) -> tuple[float, float]:
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


def measure_box(folder: Path, spool: Path) -> list[tuple[str, float, float]]:
    """Rows of a whole box: after its start, and after it has done some of each."""
    for place in (folder, spool):
        place.chmod(0o755)
    box = Box(folder, say)
    desk = Desk(box.asterisk)
    try:
        group = owner(box.asterisk.tree)[1]
        box.pbxd.configure(more=EVERYTHING.format(folder=box.pbxd.folder, spool=spool, group=group))
        box.start()
        wait_until(lambda: not box.pbxd.status()["chat"]["error"], "the chats")
        rows = [("all of it, a start", *at_rest(box.pbxd))]
        work(box, desk)
        return [*rows, (f"all of it, {CALLS} calls recorded, a message archived, chats", *at_rest(box.pbxd))]
    finally:
        desk.close()
        box.stop()


def work(box: Box, desk: Desk) -> None:
    """Record calls and play one, leave a message and archive it, write to a phone and from it."""
    for phone in ("101", "102"):
        desk.phone(phone)
    for _ in range(CALLS):
        caller, _ = connect(desk, "101", "102")
        desk.pause(2)
        caller.hang_up()
        desk.quiet(["101", "102"])
    wait_until(lambda: len(list(box.pbxd.api.lines("/v1/recordings"))) == CALLS, "the recordings")
    name = next(iter(box.pbxd.api.lines("/v1/recordings")))["id"]
    box.pbxd.ctl("recordings", "play", name, "--wav", "-o", str(box.folder / "sound.wav"))
    caller = desk.call("102", "401").talks()
    desk.pause(3)
    caller.hang_up()

    def messages() -> list[dict[str, Any]]:
        return list(box.pbxd.api.get("/v1/voicemail/messages", box="101")["messages"])

    wait_until(lambda: len(messages()) == 1, "the message")
    box.pbxd.ctl("voicemail", "archive", "101", messages()[0]["id"])
    desk.message("101", "102", "from a phone")
    box.pbxd.ctl("chat", "send", "anna", "to a phone")
    desk.wait(lambda: len(desk.messages("101")) == len(desk.messages("102")) == 1, "the chats on the phones")


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory(dir="/dev/shm") as spool:
        rows = [row for keeping in (False, True) for row in measure(Path(place) / str(keeping), keeping=keeping)]
        (Path(place) / "box").mkdir()
        Path(place).chmod(0o755)
        rows += measure_box(Path(place) / "box", Path(spool))
    show("Memory at rest", ("what runs", "RSS MiB", "PSS MiB"), rows, as_json=arguments.json)
    return 0 if max(row[1] for row in rows) <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
