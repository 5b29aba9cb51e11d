"""The steps of a recording's way, by what each does to the disk first: waited for with inotify(7), and read after a kill."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from inotify_simple import INotify, flags

WRITTEN, CREATED, CLOSED, GONE = flags.MODIFY, flags.CREATE, flags.CLOSE_WRITE, flags.DELETE
MOVED = flags.MOVED_TO
CHANGES = WRITTEN | CREATED | CLOSED | GONE | MOVED


@dataclass(frozen=True, slots=True)
class Step:
    """One step, and the first sign that it was done."""

    name: str
    place: str  # spool | recording | objects | database
    change: int
    suffix: str  # of the file's name


STEPS = (
    Step("state written", "recording", MOVED, "state.json"),
    Step("Asterisk writes", "recording", CREATED, ".wav"),
    Step("complete in the spool", "recording", MOVED, "ready.json"),
    Step("encoding", "recording", CREATED, "encoded.half"),
    Step("encoded", "recording", CLOSED, "encoded.half"),
    Step("encrypting", "objects", CREATED, ".age.half"),
    Step("encrypted and synced", "objects", CLOSED, ".age.half"),
    Step("in the vault, no row", "objects", MOVED, ".age"),
    Step("row", "database", WRITTEN, "-wal"),
    Step("out of the spool", "spool", MOVED, ".done"),
    Step("removed", "spool", GONE, ".done"),
)


class Watch:
    """Sees what is done in the spool and the vault."""

    def __init__(self, spool: Path, comms: Path) -> None:
        self._inotify = INotify()
        self._places: dict[int, tuple[str, Path]] = {}
        self._objects = comms / "objects"
        self._objects.mkdir(parents=True, exist_ok=True)
        self._add("spool", spool)
        self._add("shelf", self._objects)
        self._add("database", comms)
        for place, above in (("objects", self._objects), ("recording", spool)):
            for folder in above.iterdir():
                self._add(place, folder)

    def _add(self, place: str, folder: Path) -> None:
        try:
            self._places[self._inotify.add_watch(folder, CHANGES)] = place, folder
        except (FileNotFoundError, NotADirectoryError):
            return  # it is done with already, or is none

    def wait(self, step: Step, seconds: float) -> bool:
        """Whether the step is done by somebody within that time, from now on. For a row: the first one after an object."""
        deadline = time.monotonic() + seconds
        self._inotify.read(timeout=0)
        object_seen = False
        while (left := deadline - time.monotonic()) > 0:
            for event in self._inotify.read(timeout=max(1, int(left * 1000))):
                place, folder = self._places.get(event.wd, ("", Path()))
                if event.mask & flags.ISDIR and event.mask & CREATED:
                    self._add("recording" if place == "spool" else "objects", folder / event.name)
                object_seen |= place == "objects" and bool(event.mask & MOVED)
                if place == step.place and event.mask & step.change and event.name.endswith(step.suffix):
                    if step.place == "database" and not object_seen:
                        continue
                    return True
        return False

    def close(self) -> None:
        """See nothing more."""
        self._inotify.close()


def where(spool: Path, comms: Path) -> str:
    """How far the recording was that a kill caught in the middle, as the disk says; `between recordings` if none was."""
    if any(spool.glob(".*.done")):
        return "row entered, leaving the spool"
    halves = [path.name.removesuffix(".age.half") for path in (comms / "objects").glob("*/*.half")]
    ready = {path.parent.name for path in spool.glob("*/ready.json")}
    objects = {path.name.removesuffix(".age") for path in (comms / "objects").glob("*/*.age")}
    if both := ready & objects:
        return "row entered, in the spool still" if both <= rows(comms) else "in the vault, no row"
    if halves:
        return "encrypting"
    if any(spool.glob("*/encoded.half")):
        return "encoding"
    if ready:
        return "complete in the spool"
    return "calls going on" if any(spool.glob("*/state.json")) else "between recordings"


def rows(comms: Path) -> set[str]:
    """The ids of the objects that have a row; a copy is read, so that the next start finds the database as the kill left it."""
    with tempfile.TemporaryDirectory() as folder:
        for path in comms.glob("comms.db*"):
            shutil.copy(path, folder)
        link = sqlite3.connect(Path(folder) / "comms.db")
        try:
            return {row[0] for row in link.execute("SELECT id FROM objects")}
        finally:
            link.close()
