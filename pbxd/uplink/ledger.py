"""The ledger: every byte that may leave the box stands in it before it leaves. Append-only, a Merkle tree, signed.

The order is what it is worth: the body is on the disk, then the line, then the checkpoint; only then does the link see it. Where a
step fails (a full disk, say) what it began is taken back, and nothing leaves. One process writes it: the core.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pbxd.errors import FrameError, LedgerBroken, LedgerError, LedgerFull, NoteError
from pbxd.uplink import results
from pbxd.uplink.bodies import Entry
from pbxd.uplink.book import OPEN, STEPS, Item, State, decoded, encoded
from pbxd.uplink.merkle import Frontier, leaf_hash
from pbxd.uplink.notes import Checkpoint, Signer, opened
from pbxd.uplink.outbox import BODIES, CHECKPOINT, CHECKPOINTS, LEDGER, LOCK, Outbox
from pbxd.uplink.vocabulary import time_text

HISTORY = 3600.0  # s between checkpoints that are kept
FULL = (errno.ENOSPC, errno.EDQUOT)
MOST_RESULTS = 10_000  # lines of the link that are taken over at once


@contextmanager
def ledger_errors(what: Path) -> Iterator[None]:
    """Errors of the operating system become ours."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise LedgerFull(f"{what}: the disk is full, so nothing leaves the box; free some space") from error
        raise LedgerError(f"{what}: {error.strerror or error}") from error


class Ledger:
    """The writer of one outbox."""

    def __init__(
        self,
        folder: Path,
        signer: Signer,
        *,
        group: int = -1,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        publish: Callable[[str], None] | None = None,
    ) -> None:
        """`group`: who may read it (-1: as it comes). `publish` is given each checkpoint that is kept."""
        self.folder = folder
        self.signer = signer
        self.outbox = Outbox(folder)
        self.book = self.outbox.book
        self.strange = 0  # lines of the link that were no results, since the start
        self._group = group
        self._now = now
        self._publish = publish
        self._tree = Frontier()
        self._kept: datetime | None = None  # when the last checkpoint was kept
        self._handle = -1

    def open(self) -> None:
        """Read it, and compare it with its last checkpoint. LedgerBroken if it was changed, LedgerError if it cannot be read."""
        try:
            self._open()
        except LedgerError:
            self.close()
            raise

    def _open(self) -> None:
        with ledger_errors(self.folder):
            for folder, mode in ((self.folder, 0o2750), (self.folder / BODIES, 0o2750)):
                folder.mkdir(parents=True, exist_ok=True)
                self._hand(folder, mode)
            (self.folder / LOCK).touch()
            self._hand(self.folder / LOCK, 0o640)
            self._handle = os.open(self.folder / LEDGER, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LedgerError(f"{self.folder}: another pbxd writes this ledger") from error
            self._hand(self.folder / LEDGER, 0o640)
            signed = self._signed()
            self._read(signed)
            if signed is None or signed.size != self.book.lines:
                os.fsync(self._handle)
                self._sign()
            self._sweep()

    def close(self) -> None:
        """Let go of it."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _hand(self, path: Path, mode: int) -> None:
        """A file or folder is its readers'. `pbxd setup` has seen to that for the folders, and files take their group from them.

        Under systemd we could not do it ourselves: our sandbox forbids to give anything away.
        """
        hand(path, self._group, mode)

    def _signed(self) -> Checkpoint | None:
        raw = self.outbox.checkpoint()
        if not raw:
            return None
        try:
            return Checkpoint.of(opened(raw, [self.signer.verifier]))
        except NoteError as error:
            raise LedgerBroken(f"{self.folder / CHECKPOINT}: {error}") from error

    def _read(self, signed: Checkpoint | None) -> None:
        """Take in the lines that are there. What a crash left behind the last whole line is cut: nothing of it was promised."""
        wanted = signed.size if signed is not None else 0
        with (self.folder / LEDGER).open("rb") as file:
            for raw in file:
                if not raw.endswith(b"\n"):
                    break
                try:
                    self.book.apply(decoded(raw), len(raw))
                except LedgerBroken as error:
                    raise LedgerBroken(f"{self.folder / LEDGER}:{self.book.lines + 1}: {error}") from error
                self._tree.append(leaf_hash(raw))
                if signed is not None and self.book.lines == wanted and self._tree.root() != signed.root:
                    raise LedgerBroken(
                        f"{self.folder / LEDGER}: its first {wanted} lines are not those that were signed"
                    )
        if self.book.lines < wanted:
            raise LedgerBroken(f"{self.folder / LEDGER}: it has {self.book.lines} lines, and {wanted} were signed")
        os.ftruncate(self._handle, self.book.bytes)

    def _sweep(self) -> None:
        """Take away bodies without a line: a crash came between the two."""
        for body in (self.folder / BODIES).iterdir():
            if not body.name.isdecimal() or int(body.name) >= self.book.entries:
                body.unlink()

    def append(self, *lines: Mapping[str, Any]) -> None:
        """Write lines, all or none, and sign. LedgerFull or LedgerError if that fails.

        Lines that are on the disk but could not be signed count with the next ones that can: the link does not see them before.
        """
        if self._handle < 0:
            raise LedgerError(f"{self.folder}: the ledger is not open")
        at = time_text(self._now())
        whole = [{"at": at, **fields, "n": self.book.lines + place} for place, fields in enumerate(lines)]
        raw = [encoded(fields) for fields in whole]
        for one in raw:
            decoded(one)  # what could not be read again is not written
        with ledger_errors(self.folder / LEDGER):
            _add(self._handle, b"".join(raw))
        for fields, one in zip(whole, raw, strict=True):
            self.book.apply(fields, len(one))
            self._tree.append(leaf_hash(one))
        with ledger_errors(self.folder / CHECKPOINT):
            self._sign()

    def _sign(self) -> None:
        note = self.signer.sign(Checkpoint(self.signer.name, self.book.lines, self._tree.root()).text)
        self.replace(CHECKPOINT, note.encode())
        now = self._now()
        if self._kept is None or (now - self._kept).total_seconds() >= HISTORY:
            with (self.folder / CHECKPOINTS).open("ab", buffering=0) as file:
                _add(file.fileno(), note.encode() + b"\n")
            self._hand(self.folder / CHECKPOINTS, 0o640)
            self._kept = now
            if self._publish is not None:
                self._publish(note)

    def replace(self, name: str, content: bytes, mode: int = 0o640) -> None:
        """Put a small file of the outbox in the place of an earlier one, durably. OSError if that fails."""
        target = self.folder / name
        temporary = target.with_name(f".{target.name}.new")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            self._hand(temporary, mode)
            _write(handle, content)
            os.fsync(handle)
        finally:
            os.close(handle)
        temporary.rename(target)
        sync_folder(target.parent)

    def queue(self, entry: Entry) -> int:
        """Put an entry in: from now on it may leave. Its number. LedgerFull or LedgerError if it is not on the disk."""
        number = self.book.entries
        with ledger_errors(self.folder / BODIES):
            try:
                self.replace(f"{BODIES}/{number}", entry.body)
            except OSError:
                self.outbox.body(number).with_name(f".{number}.new").unlink(missing_ok=True)
                raise
        line: dict[str, Any] = {
            "what": "entry",
            "number": number,
            "class": entry.class_,
            "size": len(entry.body),
            "sha256": hashlib.sha256(entry.body).hexdigest(),
        }
        try:
            self.append(line | ({} if entry.slot is None else {"slot": entry.slot}))
        except LedgerError:
            if self.book.entries == number:
                self.outbox.body(number).unlink(missing_ok=True)
            raise
        return number

    def destroy(self, items: Iterable[Item], by: str, link: Path) -> list[int]:
        """Destroy entries that were not sent: their lines say so, then their bodies are gone. Their numbers.

        What the link has begun to send is destroyed too, and its line says that a part may have left. `link`: the link's folder.
        """
        wanted = [item.number for item in items]
        with self.outbox.locked():
            self.fold(link)
            gone = [number for number in wanted if self.book.state(number) in OPEN]
            self.append(
                *(
                    {"what": "destroyed", "number": number, "begun": self.book.state(number) is State.BEGUN, "by": by}
                    for number in gone
                )
            )
            for number in gone:
                self.outbox.body(number).unlink(missing_ok=True)
            sync_folder(self.folder / BODIES)
        return gone

    def fold(self, link: Path) -> int:
        """Take over what the link says of its work since the last time. How many lines that were."""
        with ledger_errors(link / results.FILE):
            try:
                with (link / results.FILE).open("rb") as file:
                    first = file.readline(results.LONGEST)
                    extent = results.Extent.of(first, os.fstat(file.fileno()).st_size)
                    start = extent.start(self.book.folded)
                    file.seek(start)
                    raw = [one for one, _ in zip(file, range(MOST_RESULTS), strict=False) if one.endswith(b"\n")]
            except FileNotFoundError:
                return 0
        lines = self._taken(raw, extent.base + start)
        if lines:
            self.append(*lines)
        return len(lines)

    def _taken(self, raw: Sequence[bytes], start: int) -> list[dict[str, Any]]:
        """The ledger's lines for results of the link; those that cannot be are counted, and left out."""
        found: list[dict[str, Any]] = []
        states: dict[int, State] = {}
        for one in raw:
            start += len(one)
            try:
                fields = results.result_of(one)
                number = fields.get("number")
                if number is not None:
                    states[number] = self._after(fields["what"], number, states)
            except FrameError:
                self.strange += 1
                continue
            found.append({**fields, "result": start})
        return found

    def _after(self, what: str, number: int, states: Mapping[int, State]) -> State:
        state = states.get(number, self.book.state(number) if number < self.book.entries else None)
        after = None if state is None else STEPS[what].get(state)
        if after is None:
            raise FrameError(f"entry {number} cannot be {what} now")
        return after

    def shred(self, older: float) -> int:
        """Destroy the bodies of entries that were sent or rejected and queued more than `older` seconds ago. How many."""
        limit = self._now().timestamp() - older
        gone = 0
        with ledger_errors(self.folder / BODIES):
            for body in (self.folder / BODIES).iterdir():
                if body.name.isdecimal() and int(body.name) not in self.book.open and body.stat().st_mtime < limit:
                    body.unlink()
                    gone += 1
        return gone


def hand(path: Path, group: int, mode: int) -> None:
    """Give a file or folder to a group (-1: as it is), where it is not so already. OSError if we may not."""
    if group >= 0 and path.stat().st_gid != group:
        os.chown(path, -1, group)
    if stat.S_IMODE(path.stat().st_mode) != mode:
        path.chmod(mode)


def sync_folder(folder: Path) -> None:
    """A folder's entries are on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _add(handle: int, data: bytes) -> None:
    """Append, whole or not at all, durably."""
    before = os.fstat(handle).st_size
    try:
        _write(handle, data)
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, before)
        raise


def _write(handle: int, data: bytes) -> None:
    """All of it; a file takes less where the disk is nearly full."""
    while data:
        data = data[os.write(handle, data) :]
