"""The outbox as its readers see it: the link, which sends from it, and `pbxctl uplink preview`, which shows what would go.

    outbox/ledger         lines, see `book`          outbox/checkpoint    the latest signed note over them
    outbox/bodies/N       the body of entry N        outbox/checkpoints   earlier ones, one below the other
    outbox/enabled        there while the link may run; outbox/off: the customer's word that it may not
    outbox/settings.json  what the link needs to know; outbox/identity/: who we are to the hub

A line counts once the checkpoint covers it: then it is on the disk, and so is the body.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pbxd.errors import LedgerBroken, LedgerError
from pbxd.uplink.book import Book, Item, decoded, item_of

LEDGER, CHECKPOINT, CHECKPOINTS, BODIES = "ledger", "checkpoint", "checkpoints", "bodies"
ENABLED, OFF, LOCK, DOWN, SETTINGS = "enabled", "off", "lock", "down", "settings.json"
SUPPORT = "support.sock"  # there while a support ticket is open: the way to the process with its sessions
LONGEST_CHECKPOINT = 4096  # bytes
PATIENCE = 2.0  # s in which the other process lets go of the lock: it holds it for one write


class Outbox:
    """Reads an outbox; `refresh` takes in what is new."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.book = Book()

    @property
    def allowed(self) -> bool:
        """Whether the link may run now."""
        return (self.folder / ENABLED).exists() and not (self.folder / OFF).exists()

    def checkpoint(self) -> bytes:
        """The latest signed checkpoint; none if there is no entry yet. LedgerError if it cannot be read."""
        try:
            with (self.folder / CHECKPOINT).open("rb") as file:
                return file.read(LONGEST_CHECKPOINT)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise LedgerError(f"{self.folder / CHECKPOINT} cannot be read: {error.strerror}") from error

    def refresh(self) -> None:
        """Take in the lines that are new and on the disk. LedgerError if they cannot be read, LedgerBroken if they are none."""
        lines = self.checkpoint().split(b"\n")
        size = int(lines[1]) if len(lines) > 1 and lines[1].isdigit() else 0
        if size <= self.book.lines:
            return
        try:
            with (self.folder / LEDGER).open("rb") as file:
                file.seek(self.book.bytes)
                while self.book.lines < size:
                    raw = file.readline()
                    self.book.apply(decoded(raw), len(raw))
        except OSError as error:
            raise LedgerError(f"{self.folder / LEDGER} cannot be read: {error.strerror}") from error

    def item(self, number: int) -> Item:
        """An entry. LedgerBroken if its line is none."""
        if number in self.book.open:
            return self.book.open[number]
        with (self.folder / LEDGER).open("rb") as file:
            file.seek(self.book.place(number))
            fields = decoded(file.readline())
        if fields["what"] != "entry" or fields["number"] != number:
            raise LedgerBroken(f"the line of entry {number} is not where it was")
        return item_of(fields)

    def body(self, number: int) -> Path:
        """The file of a body."""
        return self.folder / BODIES / str(number)

    def piece(self, number: int, offset: int, length: int) -> bytes | None:
        """Bytes of a body; None if it was destroyed. LedgerError if it cannot be read."""
        try:
            with self.body(number).open("rb") as file:
                return os.pread(file.fileno(), length, offset)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LedgerError(f"{self.body(number)} cannot be read: {error.strerror}") from error

    def waiting(self) -> list[Item]:
        """What would go next, in its order."""
        return list(self.book.open.values())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone in deciding what of an entry becomes: the link that it begins to send it, the core that it is destroyed.

        LedgerError if the other one does not let go.
        """
        handle = os.open(self.folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _take(handle, self.folder)
            yield
        finally:
            os.close(handle)


def _take(handle: int, folder: Path) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > end:
                raise LedgerError(f"{folder / LOCK} is held by the other process; is the link hanging?") from error
            time.sleep(0.005)
        else:
            return
