"""Where the link writes: its results, its status, a renewed certificate, and messages that came down. It can write nowhere else."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pbxd.errors import FrameError, LedgerError
from pbxd.uplink.book import STEPS, State
from pbxd.uplink.files import sync_folder
from pbxd.uplink.outbox import DOWN, Outbox
from pbxd.uplink.results import CERTIFICATE, FILE, LARGEST, LONGEST, STATUS, Extent, first_line, result_line, result_of
from pbxd.uplink.vocabulary import time_text

PATIENCE = 1.0  # s for another holder of the lock to let go
MOST_MESSAGES = 100  # that wait for the core to take them


class Place:
    """The link's own folder, and its end of the outbox. A result is on the disk before anything is done on its strength."""

    def __init__(self, folder: Path, outbox: Outbox, largest: int = LARGEST) -> None:
        """`largest`: bytes of results, all taken over, after which `turn` begins another file."""
        self.folder = folder
        self.outbox = outbox
        self._largest = largest
        self._ahead: dict[int, State] = {}  # what we have said of entries, and the core has not taken over yet
        self._lines = bytearray()
        self._handle = -1

    def open(self) -> None:
        """Take up what an earlier run has said. LedgerError if another link runs, or the folder cannot be written."""
        try:
            self._alone()
        except OSError as error:
            raise LedgerError(f"{self.folder} cannot be written: {error.strerror}") from error
        self.outbox.refresh()
        extent = self._extent()
        start = extent.start(self.outbox.book.folded)
        raw = os.pread(self._handle, extent.size - start, start)
        whole = raw[: raw.rfind(b"\n") + 1]
        os.ftruncate(self._handle, start + len(whole))  # half a line was never acted upon
        for line in whole.splitlines(keepends=True):
            try:
                fields = result_of(line)
            except FrameError:
                continue
            if "number" in fields:
                self._step(fields["what"], fields["number"])

    def _alone(self) -> None:
        """Open the file, with the lock that says to the core that we run: it tries it for a moment when it looks whether we do."""
        end = time.monotonic() + PATIENCE
        while True:
            self.close()
            self._handle = os.open(self.folder / FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise LedgerError(f"{self.folder}: another link runs") from error
                time.sleep(0.01)
            else:
                if os.path.samestat(os.fstat(self._handle), (self.folder / FILE).stat()):
                    return  # else another link has begun a new file meanwhile, and runs

    def _extent(self) -> Extent:
        """Where the file stands."""
        first = os.pread(self._handle, LONGEST, 0).partition(b"\n")
        return Extent.of(first[0] + first[1], os.fstat(self._handle).st_size)

    def turn(self) -> None:
        """Begin another file of results, if the core has taken over all of a large one. LedgerError if it cannot be made.

        Nobody has said anything yet behind what was taken over, so nothing is lost with the old one.
        """
        extent = self._extent()
        if self._lines or not extent.ends(self.outbox.book.folded, self._largest):
            return
        temporary = self.folder / f".{FILE}.new"
        handle = -1
        try:
            handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o640)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # before it can be seen: it is never without
            line = first_line(extent.base + extent.size)
            if os.write(handle, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 - as if it had said so itself
            os.fsync(handle)
            temporary.rename(self.folder / FILE)
            handle, self._handle = self._handle, handle
            sync_folder(self.folder)
        except OSError as error:
            raise LedgerError(f"{self.folder / FILE} cannot be begun anew: {error.strerror}") from error
        finally:
            if handle >= 0:
                os.close(handle)

    def close(self) -> None:
        """Let go of the folder."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def state(self, number: int) -> State:
        """How an entry stands, by the ledger and by what we have said since."""
        said = self.outbox.book.state(number)
        ahead = self._ahead.get(number)
        if ahead is None or said is State.REJECTED or (said is State.SENT and ahead is not State.REJECTED):
            self._ahead.pop(number, None)
            return said
        if said in (State.DESTROYED, State.CUT) and ahead is State.BEGUN:
            return State.CUT
        return ahead

    def _step(self, what: str, number: int) -> None:
        known = number < self.outbox.book.entries
        before = self.state(number) if known else None
        after = STEPS[what].get(before) if before is not None else None
        if after is not None:
            self._ahead[number] = after

    def say(self, what: str, **fields: Any) -> None:  # noqa: ANN401 - JSON
        """Put down a result; it counts with the next `sync`."""
        self._lines += result_line(what, at=time_text(datetime.now(UTC)), **fields)
        if "number" in fields:
            self._step(what, fields["number"])

    def sync(self) -> None:
        """What was put down is on the disk. LedgerError if it is not: then nothing may be sent."""
        if not self._lines:
            return
        before = os.fstat(self._handle).st_size
        try:
            data = bytes(self._lines)
            while data:
                data = data[os.write(self._handle, data) :]
            os.fsync(self._handle)
        except OSError as error:
            os.ftruncate(self._handle, before)
            raise LedgerError(f"{self.folder / FILE} cannot be written: {error.strerror}; nothing is sent") from error
        self._lines.clear()

    def begin(self, numbers: Iterable[int]) -> None:
        """From now on bytes of these may leave."""
        for number in numbers:
            self.say("intent", number=number)
        self.sync()

    def status(self, content: Mapping[str, Any]) -> None:
        """Tell how the link stands."""
        self._replace(self.folder / STATUS, json.dumps(content).encode(), durable=False)

    def certificate(self) -> str:
        """The certificate that the hub sent in the place of the one from the enrolment; none if there is none."""
        try:
            return (self.folder / CERTIFICATE).read_text()
        except FileNotFoundError:
            return ""

    def renew(self, certificate: str) -> None:
        """Keep a new certificate."""
        self._replace(self.folder / CERTIFICATE, certificate.encode(), durable=True)

    def message(self, name: str, note: bytes) -> bool:
        """Keep a message for the core; False if too many wait already: the hub sends it again."""
        folder = self.outbox.folder / DOWN
        if sum(1 for _ in folder.glob("*.note")) >= MOST_MESSAGES:
            return False
        self._replace(folder / f"{name}.note", note, durable=True)
        return True

    def _replace(self, target: Path, content: bytes, *, durable: bool) -> None:
        temporary = target.with_name(f".{target.name}.new")
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                if durable:
                    os.fsync(handle)
            temporary.rename(target)
        except OSError as error:
            raise LedgerError(f"{target} cannot be written: {error.strerror}") from error
