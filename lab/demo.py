"""`bin/run`: a real Asterisk, a real pbxd and real phones; places one call of each kind and shows what became of it."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab import scenarios
from lab.box import Box
from lab.tree import LabError

SHOWN = ("answered", "no-answer", "busy", "refused", "cancelled", "queue", "abandoned", "no-answer-voicemail", "outbound",
         "inbound", "blind-transfer", "ring-group", "local")  # fmt: skip
TOGETHER = 4  # calls at once; each has phones of its own


def say(text: str) -> None:
    """Progress goes to standard error: the records on standard output stay clean."""
    print(text, file=sys.stderr, flush=True)


def place_all(box: Box, names: tuple[str, ...]) -> None:
    """Place the calls of the named scenarios, those that share no phone at once."""
    for group in groups([s for s in scenarios.table(box.phones.audio) if s.name in names]):
        for scenario in group:
            say(f"  calling: {scenario.title}")
        for handset in [handset for scenario in group for handset in scenario.place(box.phones)]:
            handset.finish()


def groups(wanted: list[scenarios.Scenario]) -> Iterator[list[scenarios.Scenario]]:
    """Scenarios in groups whose phones are all different."""
    group: list[scenarios.Scenario] = []
    busy: set[str] = set()
    for scenario in wanted:
        used = {scenario.caller.number, *(phone.number for phone in scenario.called)}
        if scenario.by_trunk:
            used.add("carrier")
        if group and (used & busy or len(group) == TOGETHER):
            yield group
            group, busy = [], set()
        group.append(scenario)
        busy |= used
    if group:
        yield group


def match(records: list[dict[str, Any]], names: tuple[str, ...], audio: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of each scenario, by who called what; each call of a group has a caller and a number of its own."""
    table = {s.name: s for s in scenarios.table(audio) if s.name in names}
    return {
        name: [r for r in records if (r["caller_number"], r["dialled"]) == (s.caller.number, s.dial)]
        for name, s in table.items()
    }


def judge(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """What is wrong: calls without exactly one record, and records that do not say what happened."""
    wrong = []
    for name, records in found.items():
        if len(records) != 1:
            wrong.append(f"{name}: {len(records)} records, not one")
        else:
            wrong += [f"{name}: {fault}" for fault in scenarios.faults(name, records[0])]
    return wrong


def show(box: Box, *, as_json: bool) -> None:
    """The records, and what the two commands say."""
    if as_json:
        for record in box.pbxd.records():
            print(json.dumps(record, ensure_ascii=False))
        return
    print("\n$ pbxctl status\n" + box.pbxd.ctl("status").stdout)
    print("$ pbxctl calls list\n" + box.pbxd.ctl("calls", "list").stdout, flush=True)


def demonstrate(folder: Path, arguments: argparse.Namespace) -> int:
    """Run the whole; the exit status."""
    box = Box(folder, say)
    try:
        say(f"starting Asterisk on {box.asterisk.address} and pbxd")
        box.start()
        say(f"placing {len(SHOWN)} calls")
        place_all(box, SHOWN)
        box.wait_for_calls(len(SHOWN))
        records = box.pbxd.records()
        wrong = judge(match(records, SHOWN, box.phones.audio))
        if len(records) != len(SHOWN):
            wrong.append(f"{len(records)} records for {len(SHOWN)} calls")
        show(box, as_json=arguments.json)
        for fault in wrong:
            say(f"WRONG  {fault}")
        if not wrong:
            say(f"{len(records)} calls, {len(records)} records, all right")
        if not arguments.once:
            say(f"running until Ctrl-C; try: .venv/bin/pbxctl --socket {box.pbxd.socket} live")
            threading.Event().wait()
        return 1 if wrong else 0
    finally:
        say("stopping")
        box.stop()


def main() -> None:
    """Entry point of bin/run."""
    parser = argparse.ArgumentParser(prog="bin/run", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the calls; exit 1 if a record is wrong")
    parser.add_argument("--json", action="store_true", help="print the records as JSON, a line each")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="pbxd-lab-"))
    folder.chmod(0o755)
    try:
        sys.exit(demonstrate(folder, arguments))
    except LabError as error:
        say(f"bin/run: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(0)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
