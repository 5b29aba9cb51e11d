"""The ledger: entry before byte, result after; nothing changed goes unseen; killed or full, nothing leaves unentered."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pymerkle import InmemoryTree

from lab.tree import environment
from pbxd.errors import LedgerBroken, LedgerError, LedgerFull
from pbxd.uplink.audit import verify
from pbxd.uplink.bodies import Entry
from pbxd.uplink.book import State
from pbxd.uplink.keyring import make_signer, read_signer
from pbxd.uplink.ledger import Ledger
from pbxd.uplink.notes import Checkpoint, Signer, opened
from pbxd.uplink.outbox import Outbox
from pbxd.uplink.results import result_line

SIGNER = Signer("pbxd-ledger-test", bytes(range(32)))
AT = "2026-11-28T07:00:00Z"


class Clock:
    """A clock that goes on by itself, an hour a look."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 28, 7, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(hours=1)
        return self.now


def entry(text: str, slot: int | None = None) -> Entry:
    return Entry("stats", text.encode(), slot)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "outbox", SIGNER, now=Clock())
    made.open()
    yield made
    made.close()


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """The link's own folder."""
    folder = tmp_path / "link"
    folder.mkdir()
    return folder


def say(link: Path, *lines: bytes) -> None:
    with (link / "results").open("ab") as file:
        file.write(b"".join(lines))


def fill(ledger: Ledger, link: Path) -> None:
    """Entries of every state, and lines of every kind."""
    for number in range(6):
        ledger.queue(entry(f"body {number}", number))
    say(link, *(result_line("intent", number=number, at=AT) for number in (0, 1, 2, 3)))
    say(link, result_line("sent", number=0, at=AT), result_line("rejected", number=1, why="schema", at=AT))
    say(link, result_line("connection", since=AT, sent=900, received=300, at=AT))
    assert ledger.fold(link) == 7
    ledger.destroy([item for item in ledger.outbox.waiting() if item.number in (3, 4)], "pbxctl", link)
    ledger.append({"what": "switch", "name": "enabled", "value": "true", "by": "configuration"})
    ledger.append({"what": "support", "event": "support-begin", "facts": {"ticket": "T-1", "bytes": 3}})


def states(ledger: Ledger | Outbox) -> list[State]:
    return [ledger.book.state(number) for number in range(ledger.book.entries)]


def test_entries_and_what_becomes_of_them(ledger: Ledger, link: Path) -> None:
    fill(ledger, link)
    wanted = [State.SENT, State.REJECTED, State.BEGUN, State.CUT, State.DESTROYED, State.QUEUED]
    assert states(ledger) == wanted
    assert [item.number for item in ledger.outbox.waiting()] == [2, 5]
    assert [number for number in range(6) if ledger.outbox.piece(number, 0, 100) is not None] == [0, 1, 2, 5]
    reader = Outbox(ledger.folder)
    reader.refresh()
    assert states(reader) == wanted
    assert reader.item(4).sha256 == ledger.outbox.item(4).sha256
    assert reader.piece(5, 2, 3) == b"dy "
    verdict = verify(ledger.folder, SIGNER.verifier)
    assert verdict.faults == []
    assert (verdict.entries, verdict.bodies) == (6, 4)


def test_it_goes_on_where_it_was(ledger: Ledger, link: Path) -> None:
    fill(ledger, link)
    ledger.close()
    again = Ledger(ledger.folder, SIGNER)
    again.open()
    assert states(again) == states(ledger)
    assert again.fold(link) == 0  # results are taken over once
    assert again.queue(entry("next")) == 6
    assert again.book.slots == ledger.book.slots
    again.close()
    assert verify(ledger.folder, SIGNER.verifier).faults == []


def test_the_root_is_that_of_pymerkle(ledger: Ledger, link: Path) -> None:
    fill(ledger, link)
    other = InmemoryTree(algorithm="sha256")
    other.append_entries((ledger.folder / "ledger").read_bytes().splitlines(keepends=True))
    note = Checkpoint.of(opened((ledger.folder / "checkpoint").read_bytes(), [SIGNER.verifier]))
    assert note.size == other.get_size()
    assert note.root == other.get_root()


def test_one_writer(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="another pbxd"):
        Ledger(ledger.folder, SIGNER).open()


def lines_of(folder: Path) -> list[bytes]:
    return (folder / "ledger").read_bytes().splitlines(keepends=True)


def tampered(folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    (folder / "ledger").write_bytes(b"".join(change(lines_of(folder))))


def detected(folder: Path, elsewhere: list[bytes] | None = None) -> None:
    """`verify` says that something is wrong, and where the files themselves show it, the writer does not go on."""
    assert verify(folder, SIGNER.verifier, elsewhere or []).faults
    if elsewhere is None:
        with pytest.raises(LedgerBroken):
            Ledger(folder, SIGNER).open()


def test_each_flipped_bit_of_each_line_is_detected(ledger: Ledger, link: Path) -> None:
    fill(ledger, link)
    ledger.close()
    good = (ledger.folder / "ledger").read_bytes()
    chance = random.Random(1)
    place = 0
    for line in lines_of(ledger.folder):
        for at in {place, place + len(line) - 1, *(place + chance.randrange(len(line)) for _ in range(8))}:
            forged = bytearray(good)
            forged[at] ^= 1 << chance.randrange(8)
            (ledger.folder / "ledger").write_bytes(forged)
            detected(ledger.folder)
        place += len(line)


def test_each_line_cut_out_is_detected(ledger: Ledger, link: Path) -> None:
    fill(ledger, link)
    ledger.close()
    good = lines_of(ledger.folder)
    for number in range(len(good)):
        for forged in ([*good[:number], *good[number + 1 :]], good[:number]):
            tampered(ledger.folder, lambda _, forged=forged: forged)  # type: ignore[misc]  # bound at once
            detected(ledger.folder)


def test_any_two_lines_exchanged_are_detected(ledger: Ledger, link: Path) -> None:
    fill(ledger, link)
    ledger.close()
    good = lines_of(ledger.folder)
    for one in range(len(good)):
        for other in range(one):
            forged = list(good)
            forged[one], forged[other] = forged[other], forged[one]
            tampered(ledger.folder, lambda _, forged=forged: forged)  # type: ignore[misc]  # bound at once
            detected(ledger.folder)


def renumbered(lines: list[bytes]) -> list[bytes]:
    """Lines whose numbers follow each other, as a forger would write them."""
    found = []
    for number, line in enumerate(lines):
        fields = json.loads(line) | {"n": number}
        found.append(json.dumps(fields, separators=(",", ":"), sort_keys=True).encode() + b"\n")
    return found


def test_a_forged_ledger_whose_numbers_fit_is_detected(ledger: Ledger, link: Path) -> None:
    fill(ledger, link)
    ledger.append({"what": "switch", "name": "off", "value": "true", "by": "pbxctl"})
    ledger.close()
    tampered(ledger.folder, lambda good: renumbered([*good[:-2], good[-1], good[-2]]))
    detected(ledger.folder)


def test_a_fork_signed_by_the_same_key_is_detected_by_a_checkpoint_kept_elsewhere(
    ledger: Ledger, link: Path, tmp_path: Path
) -> None:
    """Whoever holds the key can write another history; what went to syslog or to the hub cannot be taken back."""
    fill(ledger, link)
    kept = (ledger.folder / "checkpoint").read_bytes()
    fork = Ledger(tmp_path / "fork", SIGNER, now=Clock())
    fork.open()
    for number in range(30):
        fork.queue(entry(f"other {number}"))
    assert verify(fork.folder, SIGNER.verifier).faults == []
    detected(fork.folder, [kept])
    old = Ledger(tmp_path / "old", SIGNER, now=Clock())
    old.open()
    old.queue(entry("body 0", 0))  # rolled back to an earlier state
    detected(old.folder, [kept])
    assert verify(ledger.folder, SIGNER.verifier, [kept]).faults == []


def test_a_changed_or_missing_body_is_detected(ledger: Ledger) -> None:
    for number in range(2):
        ledger.queue(entry(f"body {number}"))
    ledger.outbox.body(0).write_bytes(b"Body 0")
    ledger.outbox.body(1).unlink()
    faults = verify(ledger.folder, SIGNER.verifier).faults
    assert ["entry 0" in faults[0], "entry 1" in faults[1]] == [True, True]


def test_a_stranger_s_checkpoint_is_none(ledger: Ledger) -> None:
    ledger.queue(entry("body"))
    ledger.close()
    stranger = Signer("pbxd-ledger-test", bytes(32))
    with pytest.raises(LedgerBroken):
        Ledger(ledger.folder, stranger).open()
    assert verify(ledger.folder, stranger.verifier).faults


def test_what_the_link_cannot_have_done_is_left_out(ledger: Ledger, link: Path) -> None:
    """The link may be broken into; the ledger takes no nonsense from it."""
    ledger.queue(entry("body"))
    say(
        link,
        b"nonsense\n",
        b'{"what":"entry","number":1}\n',
        result_line("sent", number=0, at=AT),  # without an intent
        result_line("intent", number=7, at=AT),  # there is no such entry
        result_line("intent", number=0, at=AT),
        result_line("intent", number=0, at=AT),
        result_line("sent", number=0, at=AT),
        b'{"what":"sent"',  # half a line: the rest may come
    )
    assert ledger.fold(link) == 2
    assert ledger.strange == 5
    assert states(ledger) == [State.SENT]
    assert verify(ledger.folder, SIGNER.verifier).faults == []


def test_bodies_are_shredded_and_their_hashes_stay(ledger: Ledger, link: Path) -> None:
    fill(ledger, link)
    for number in range(6):
        if ledger.outbox.body(number).exists():
            os.utime(ledger.outbox.body(number), (0, 0))
    assert ledger.shred(3600) == 2  # entries 2 and 5 are still to be sent
    assert ledger.outbox.piece(0, 0, 1) is None
    assert verify(ledger.folder, SIGNER.verifier).faults == []


def test_keys_as_files(tmp_path: Path) -> None:
    made = make_signer(tmp_path / "keys" / "ledger.key")
    assert read_signer(tmp_path / "keys" / "ledger.key") == made
    assert (tmp_path / "keys" / "ledger.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(LedgerError):
        make_signer(tmp_path / "keys" / "ledger.key")


WRITER = """
import sys
from pathlib import Path
from pbxd.uplink.bodies import Entry
from pbxd.uplink.ledger import Ledger
from pbxd.uplink.notes import Signer
ledger = Ledger(Path(sys.argv[1]), Signer("pbxd-ledger-test", bytes(range(32))))
ledger.open()
while True:
    number = ledger.queue(Entry("stats", b"body " * 2000, 1))
    print(number, flush=True)
"""


def test_killed_at_any_moment_it_goes_on(tmp_path: Path) -> None:
    """kill -9 while it writes: every entry that was promised is there with its body, and the ledger verifies."""
    folder, promised = tmp_path / "outbox", -1
    chance = random.Random(2)
    for _ in range(3):
        command = [sys.executable, "-c", WRITER, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
            assert process.stdout is not None
            for _line in range(chance.randrange(1, 40)):
                promised = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            promised = max([promised, *(int(line) for line in process.stdout.read().split("\n")[:-1])])
        ledger = Ledger(folder, SIGNER)
        ledger.open()
        assert ledger.book.entries > promised
        ledger.close()
        verdict = verify(folder, SIGNER.verifier)
        assert verdict.faults == []
        assert verdict.bodies == verdict.entries


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few pages."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_takes_no_entry_and_loses_none(small: Path) -> None:
    """No ledger entry, no byte: what could not be entered is not there for the link, and it goes on when there is room."""
    ledger = Ledger(small / "outbox", SIGNER, now=Clock())
    ledger.open()
    promised: list[int] = []

    def fill_up() -> None:
        for number in range(10_000):
            promised.append(ledger.queue(entry("x" * 700, number)))  # noqa: PERF401 - it ends with an error

    with pytest.raises(LedgerFull, match="nothing leaves"):
        fill_up()
    reader = Outbox(ledger.folder)
    reader.refresh()
    assert reader.book.entries in (len(promised), len(promised) + 1)  # entered and signed, but its checkpoint not kept
    assert all(reader.piece(item.number, 0, 1000) == b"x" * 700 for item in reader.waiting())
    with pytest.raises(LedgerFull):
        ledger.queue(entry("y" * 100_000))
    link = small / "link"
    link.mkdir()
    for number in range(20):
        ledger.outbox.body(number).unlink()  # room
    before = ledger.book.entries
    assert ledger.queue(entry("z")) == before
    ledger.close()
    faults = verify(ledger.folder, SIGNER.verifier).faults
    assert [fault for fault in faults if "its body is gone" not in fault] == []
