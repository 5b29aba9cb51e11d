"""Verifies a ledger with nothing but its files and its public key, on the box or anywhere else. Reads only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pbxd.errors import LedgerBroken, LedgerError, NoteError
from pbxd.uplink.book import OPEN, Book, Item, decoded, item_of
from pbxd.uplink.merkle import Frontier, leaf_hash
from pbxd.uplink.notes import Checkpoint, Verifier, opened
from pbxd.uplink.outbox import BODIES, CHECKPOINT, CHECKPOINTS, LEDGER

MOST_FAULTS = 100  # that are told


@dataclass(slots=True)
class Verdict:
    """What a look at the whole ledger found."""

    lines: int = 0
    entries: int = 0
    bodies: int = 0  # that are there and are what their entries say
    checkpoints: int = 0  # whose roots are those of the lines
    root: str = ""  # over all lines, in hex
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        """Something is not as it should be."""
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(text)


def verify(folder: Path, key: Verifier, elsewhere: Iterable[bytes | str] = ()) -> Verdict:
    """Look at every line, signature and body. `elsewhere`: checkpoints that were kept out of the box's reach (syslog, the hub).

    LedgerError if the files cannot be read.
    """
    verdict = Verdict()
    signed = list(_signed(folder, key, elsewhere, verdict))
    items = _lines(folder, signed, verdict)
    _bodies(folder, items, verdict)
    return verdict


def _signed(
    folder: Path, key: Verifier, elsewhere: Iterable[bytes | str], verdict: Verdict
) -> Iterator[tuple[str, Checkpoint]]:
    """Every checkpoint whose signature holds, with where it stands."""
    notes: list[tuple[str, bytes | str]] = [(CHECKPOINT, _read(folder / CHECKPOINT))]
    parts = _read(folder / CHECKPOINTS).split(b"\n\n")
    notes += [
        (f"{CHECKPOINTS}, note {n + 1}", b"\n\n".join(parts[2 * n : 2 * n + 2]) + b"\n") for n in range(len(parts) // 2)
    ]
    notes += [(f"checkpoint {n + 1} from elsewhere", note) for n, note in enumerate(elsewhere)]
    for where, note in notes:
        try:
            found = Checkpoint.of(opened(note, [key]))
        except NoteError as error:
            verdict.fault(f"{where}: {error}")
            continue
        if found.origin != key.name:
            verdict.fault(f"{where}: it is of another ledger, {found.origin}")
            continue
        yield where, found


def _lines(folder: Path, signed: list[tuple[str, Checkpoint]], verdict: Verdict) -> list[tuple[Item, bool]]:
    """Go through the lines. The entries, and whether each is still to be sent."""
    book, tree, items = Book(), Frontier(), list[Item]()
    roots = {0: tree.root()} | {checkpoint.size: b"" for _, checkpoint in signed if checkpoint.size}
    try:
        with (folder / LEDGER).open("rb") as file:
            for raw in file:
                fields = decoded(raw)
                book.apply(fields, len(raw))
                tree.append(leaf_hash(raw))
                if tree.size in roots:
                    roots[tree.size] = tree.root()
                if fields["what"] == "entry":
                    items.append(item_of(fields))
    except LedgerBroken as error:
        verdict.fault(f"{LEDGER}:{book.lines + 1}: {error}")
    except OSError as error:
        raise LedgerError(f"{folder / LEDGER} cannot be read: {error.strerror}") from error
    _compare(signed, roots, tree.size, verdict)
    verdict.lines, verdict.entries, verdict.root = tree.size, len(items), tree.root().hex()
    return [(item, book.state(item.number) in OPEN) for item in items]


def _compare(signed: list[tuple[str, Checkpoint]], roots: dict[int, bytes], size: int, verdict: Verdict) -> None:
    """Each checkpoint against the root of as many lines."""
    for where, checkpoint in signed:
        if roots[checkpoint.size] == checkpoint.root:
            verdict.checkpoints += 1
        elif checkpoint.size > size:
            verdict.fault(
                f"{where}: it signs {checkpoint.size} lines, and {size} can be read: some were cut off or changed"
            )
        else:
            verdict.fault(f"{where}: the first {checkpoint.size} lines are not those that were signed")
    newest = max((checkpoint.size for where, checkpoint in signed if where == CHECKPOINT), default=0)
    if size > newest:
        verdict.fault(f"{LEDGER}: {size - newest} lines at its end are not signed")


def _bodies(folder: Path, items: list[tuple[Item, bool]], verdict: Verdict) -> None:
    """Bodies are what their entries say; those of entries that are still to be sent are there."""
    for item, wanted in items:
        try:
            body = (folder / BODIES / str(item.number)).read_bytes()
        except FileNotFoundError:
            if wanted:
                verdict.fault(f"entry {item.number}: its body is gone, and it was neither sent nor destroyed")
            continue
        except OSError as error:
            raise LedgerError(f"{folder / BODIES / str(item.number)} cannot be read: {error.strerror}") from error
        if len(body) != item.size or hashlib.sha256(body).hexdigest() != item.sha256:
            verdict.fault(f"entry {item.number}: its body is not what was entered")
        else:
            verdict.bodies += 1


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise LedgerError(f"{path} cannot be read: {error.strerror}") from error
