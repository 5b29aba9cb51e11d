"""Captures the journal lines of real calls for the tables of the tests.

python -m lab.capture FOLDER [NAME…] plays staged scenarios; python -m lab.capture --clocks FOLDER those of `lab.wallclock`.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from lab.box import Box
from lab.demo import say
from lab.desk import Desk
from lab.staged import Staged
from lab.stagehand import Played, play_all, records_of
from lab.stages import ALL
from lab.tree import LabError
from lab.wallclock import CLOCKED, Office
from pbxd.calls.cel import format_line, parse_line
from pbxd.calls.grouping import Grouper


def lines_of(journal: Iterable[bytes], uniqueid: str) -> bytes:
    """The lines of the call to which the channel `uniqueid` belongs, in the order of the journal."""
    events = [parse_line(line) for line in journal]
    grouper = Grouper()
    groups = [group for event in events for group in grouper.feed(event)] + grouper.cut_open()
    wanted = {event for group in groups if uniqueid in group.channels for event in group.events}
    return b"".join(format_line(event).encode() + b"\n" for event in events if event in wanted)


def played_on(box: Box, scenarios: Iterable[Staged]) -> list[Played]:
    """Play the scenarios on `box`."""
    desk = Desk(box.asterisk)
    try:
        return play_all(desk, scenarios, say)
    finally:
        desk.close()


def capture_clocked(target: Path) -> None:
    """The calls while a clock does what clocks do; a file each in `target`."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    box = Box(folder, say, own_clock=True)
    try:
        box.start()
        office = Office(box)
        for clocked in CLOCKED:
            record = office.play(clocked)
            if faults := clocked.faults(record):
                raise LabError(f"{clocked.name}: {faults}")
            journal = box.asterisk.journal.read_bytes().splitlines()
            (target / f"{clocked.name}.csv").write_bytes(lines_of(journal, record["id"]))
        office.desk.close()
    finally:
        box.stop()


def main(target: Path, names: set[str]) -> None:
    """Play, then write a file a scenario; one that went wrong leaves none."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    box = Box(folder, say)
    try:
        box.start()
        played = played_on(box, [scenario for scenario in ALL if not names or scenario.name in names])
        box.wait_for_calls(len(played))
        records = box.pbxd.records()
        journal = box.asterisk.journal.read_bytes().splitlines()
        for one in played:
            mine = records_of(one, records)
            faults = (
                [one.fault] if one.fault else one.scenario.faults(mine[0]) if len(mine) == 1 else ["not one record"]
            )
            if faults:
                raise LabError(f"{one.scenario.name}: {faults}")
            (target / f"{one.scenario.name}.csv").write_bytes(lines_of(journal, mine[0]["id"]))
    finally:
        box.stop()


if __name__ == "__main__":
    if sys.argv[1] == "--clocks":
        capture_clocked(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), set(sys.argv[2:]))
