"""What was delivered, in a small JSON file: for each schedule the moment at which its last accepted delivery was due.

Neither a kill -9 nor a restart skips or repeats a delivery that was accepted. The new file is written whole before the mail goes
out, and only renamed after the server took it: what is left between is the rename. A lock keeps two processes from delivering at
once.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pbxd.errors import ReportError


class Deliveries:
    """The file. Every failure is a ReportError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, int]:
        """By schedule, when its last delivery was due (microseconds UTC)."""
        try:
            found = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ReportError(f"{self.path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ReportError(f"{self.path} is damaged ({error}): delete it, and deliveries begin anew") from error
        if not isinstance(found, dict) or not all(isinstance(due, int) for due in found.values()):
            raise ReportError(f"{self.path} is damaged: delete it, and deliveries begin anew")
        return found

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone with the file; waits for a delivery of another process to end."""
        lock = self.path.with_name(self.path.name + ".lock")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o640)
        except OSError as error:
            raise ReportError(f"{lock} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def prepare(self, changes: dict[str, int]) -> Callable[[], None]:
        """Write the file with `changes` beside the old one; what it gives puts it in place. Within `locked`."""
        made = self.path.with_name(self.path.name + ".new")
        try:
            with made.open("w") as file:
                json.dump(self.read() | changes, file, indent=1, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ReportError(f"{made} cannot be written: {error.strerror}") from error

        def commit() -> None:
            made.replace(self.path)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

        return commit
