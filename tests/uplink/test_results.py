"""The link's results: a file of them is followed by another once the core has all of it, and none is lost or comes twice."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pbxd.errors import LedgerError
from pbxd.uplink.audit import verify
from pbxd.uplink.book import State
from pbxd.uplink.ledger import Ledger
from pbxd.uplink.notes import Signer
from pbxd.uplink.outbox import Outbox
from pbxd.uplink.place import Place
from pbxd.uplink.results import Extent, first_line
from tests.uplink.boxes import health
from tests.voicemail.keeper import die_at

SIGNER = Signer("pbxd-ledger-test", bytes(range(32)))
SINCE = "2026-11-28T07:00:00Z"
HEAD = len(first_line(1000))


@pytest.mark.parametrize(
    ("first", "size", "folded", "start", "ends"),
    [
        (b"", 0, 0, 0, False),  # nothing was said yet
        (b'{"what":"intent"}\n', 50, 0, 0, False),
        (b'{"what":"intent"}\n', 50, 50, 50, False),  # all is taken over, and it is small
        (b'{"what":"intent"}\n', 101, 50, 50, False),  # large, and not all is
        (b'{"what":"intent"}\n', 101, 101, 101, True),
        (b'{"what":"intent"}\n', 101, 102, 0, False),  # the link's folder was made anew
        (first_line(1000), HEAD, 1000, HEAD, False),  # just begun
        (first_line(1000), 90, 1000 + HEAD, HEAD, False),
        (first_line(1000), 90, 1060, 60, False),
        (first_line(1000), 101, 1101, 101, True),
        (first_line(1000), 101, 1102, HEAD, False),
        (first_line(1000), 101, 400, HEAD, False),  # the ledger is another
        (b'{"base":-1}\n', 50, 20, 20, False),  # what cannot be is a result that is none
        (b'{"base":true}\n', 50, 20, 20, False),
        (b'{"base":1', 50, 20, 20, False),
        (b"[]\n", 50, 20, 20, False),
    ],
)
def test_from_where_results_are_new(first: bytes, size: int, folded: int, start: int, *, ends: bool) -> None:
    extent = Extent.of(first, size)
    assert extent.start(folded) == start
    assert extent.ends(folded, largest=100) is ends


LARGEST = 300  # bytes in these tests: two results


class Ends:
    """The core's end and the link's, on one disk. Each result says another number."""

    def __init__(self, folder: Path) -> None:
        self.outbox, self.state = folder / "outbox", folder / "link"
        self.state.mkdir()
        self.said = folder / "said"  # the numbers of the results that are on the disk, as the link sees it
        self.said.touch()
        self.number = 0

    def core(self) -> None:
        """Take over what there is."""
        ledger = Ledger(self.outbox, SIGNER)
        ledger.open()
        ledger.fold(self.state)
        ledger.close()

    def link(self) -> None:
        """A run of the link: begin another file if it is time, and say something."""
        place = Place(self.state, Outbox(self.outbox), LARGEST)
        place.open()
        place.turn()
        for _ in range(3):
            self.number += 1
            place.say("connection", since=SINCE, sent=self.number, received=0)
            place.sync()
            with self.said.open("a") as file:
                file.write(f"{self.number}\n")
        place.close()

    def taken(self) -> list[int]:
        """The numbers in the ledger, in their order."""
        lines = map(json.loads, (self.outbox / "ledger").read_text().splitlines())
        return [line["sent"] for line in lines if line["what"] == "connection"]


def killed(work: Callable[[], None], step: int) -> bool:
    """Do it in a process that is killed at a step; whether it came so far."""
    child = os.fork()
    if child == 0:
        die_at(step)
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_killed_at_each_step_no_result_is_lost_or_comes_twice(tmp_path: Path) -> None:
    """kill -9 of the link and of the core, at each rename and each writing to the disk, over some files of results."""
    ends = Ends(tmp_path)
    ends.core()
    ends.link()
    ends.core()
    kills = halves = 0
    bases = set()
    for of_link in range(1, 9):
        for of_core in range(1, 7):
            kills += killed(ends.link, of_link)
            halves += (ends.state / ".results.new").exists()
            ends.number += 3  # as the other process has counted
            kills += killed(ends.core, of_core)
            ends.core()
            bases.add((ends.state / "results").read_bytes().partition(b"\n")[0])
    ends.link()
    ends.core()
    taken = ends.taken()
    assert taken == sorted(set(taken))
    assert {int(line) for line in ends.said.read_text().split()} <= set(taken)
    assert verify(ends.outbox, SIGNER.verifier).faults == []
    assert (ends.state / "results").stat().st_size < 2 * LARGEST + 500
    assert kills > 50
    assert halves > 0  # some came between the new file and its name
    assert len(bases) > 10


def test_entries_go_on_over_a_new_file(tmp_path: Path) -> None:
    """What was begun before is accepted after; a link that starts then knows how each stands; another one is kept out."""
    state = tmp_path / "link"
    state.mkdir()
    ledger = Ledger(tmp_path / "outbox", SIGNER)
    ledger.open()
    for number in range(10):
        ledger.queue(health(number))
    outbox = Outbox(ledger.folder)
    place = Place(state, outbox, LARGEST)
    place.open()
    place.begin(range(10))
    before = (state / "results").stat()
    place.turn()
    assert (state / "results").stat().st_ino == before.st_ino  # the core has taken nothing over yet
    ledger.fold(state)
    outbox.refresh()
    place.say("sent", number=0)
    place.turn()
    assert (state / "results").stat().st_ino == before.st_ino  # something waits to be written
    place.sync()
    ledger.fold(state)
    outbox.refresh()
    place.turn()
    assert (state / "results").read_bytes() == first_line(ledger.book.folded)
    with pytest.raises(LedgerError, match="another link runs"):
        Place(state, Outbox(ledger.folder)).open()
    place.say("sent", number=1)
    place.sync()
    place.close()
    again = Place(state, Outbox(ledger.folder), LARGEST)
    again.open()
    wanted = [State.SENT, State.SENT, *[State.BEGUN] * 8]
    assert [again.state(number) for number in range(10)] == wanted
    again.close()
    assert ledger.fold(state) == 1
    assert ledger.fold(state) == 0
    assert [ledger.book.state(number) for number in range(10)] == wanted
    assert ledger.strange == 0
    ledger.close()
