"""What each journal's lines become: CEL lines become call records, queue_log lines become rows and agents' time.

A source knows how far it has read each part, and adds what it read, and how far, to the same batch.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from pbxd.asterisk.journal import Chunk, Journal, Journals, Part
from pbxd.asterisk.queue_log import parse_queue_line
from pbxd.calls.agents import AgentTracker
from pbxd.calls.cel import CelEvent, parse_line
from pbxd.calls.interpreter import Interpreter
from pbxd.calls.record import CallRecord
from pbxd.calls.site import Site
from pbxd.errors import LineError
from pbxd.stats.queries import JournalProgress
from pbxd.stats.writer import Batch, Position, QueueLogLine, Reject

SAVE_AFTER = 20_000  # lines read since the open calls were saved: what a start has to read again at most
FEW_OPEN = 20  # calls; saving so few costs nothing, so it is done with each commit
LINE_BEGINS = re.compile(rb'"[A-Z_]+","\d{9,11}\.\d{6}","')  # a whole line behind a torn one


@dataclass(slots=True)
class Progress:
    """How far one part has been read."""

    offset: int = 0
    saved_offset: int = 0
    began: int = 0


class Source(Protocol):
    """A journal with its meaning."""

    name: str
    journal: Journal | Journals

    def next(self, batch: Batch, limit: int) -> int:
        """Read on: about `limit` lines into `batch`. How many lines were read; 0 at the end of the journal."""

    def save(self, batch: Batch) -> None:
        """Add to `batch` what a later start needs to go on from here without reading anything again."""


class Tail:
    """The part of a source that is the same for all: which part to read on, and the positions."""

    def __init__(self, name: str, journal: Journal | Journals, found: JournalProgress) -> None:
        self.name = name
        self.journal = journal
        self.progress = {part: Progress(*place) for part, place in found.positions.items()}

    def unread(self) -> Chunk | None:
        """The next lines that were not read yet, of the oldest part that has any."""
        for part in self.journal.parts():
            chunk = self.journal.read(part, self._of(part).offset)
            if chunk is not None:
                return chunk
        return None

    def advance(self, chunk: Chunk) -> None:
        """The lines of `chunk` have been read."""
        self._of(chunk.part).offset = chunk.end

    def position(self, part: str) -> Position:
        """How far `part` has been read, for the store."""
        at = self.progress[part]
        return Position(self.name, part, at.offset, at.saved_offset, at.began)

    def place(self, batch: Batch, part: str) -> None:
        """Put the position of `part` into `batch`, in place of an earlier one."""
        batch.positions = [at for at in batch.positions if (at.source, at.part) != (self.name, part)]
        batch.positions.append(self.position(part))

    def mark_saved(self) -> list[str]:
        """The open calls are saved as they are now: the parts whose saved place moves with it."""
        moved = [part for part, at in self.progress.items() if at.saved_offset != at.offset]
        for part in moved:
            self.progress[part].saved_offset = self.progress[part].offset
        return moved

    def consumed(self, part: Part) -> bool:
        """Whether nothing of `part` will be needed any more."""
        at = self.progress.get(part.id)
        return at is not None and at.saved_offset == at.offset and self.journal.read(part, at.offset) is None

    def unsaved(self) -> Iterator[bytes]:
        """The lines that were committed after the state was saved, in their order."""
        if all(at.saved_offset == at.offset for at in self.progress.values()):
            return
        parts = {part.id: part for part in self.journal.parts()}
        for name, at in sorted(self.progress.items(), key=lambda item: item[1].began):
            place = at.saved_offset
            while place < at.offset and name in parts:
                chunk = self.journal.read(parts[name], place, at.offset - place)
                if chunk is None:
                    break
                for _, line in chunk.lines:
                    yield line
                place = chunk.end

    def forget_gone(self, batch: Batch) -> None:
        """Drop the positions of parts whose files are gone."""
        present = {part.id for part in self.journal.parts()}
        for part in [
            part for part, at in self.progress.items() if part not in present and at.saved_offset == at.offset
        ]:
            batch.forgotten.append((self.name, part))
            del self.progress[part]

    def _of(self, part: Part) -> Progress:
        at = self.progress.get(part.id)
        if at is None:
            began = max((known.began for known in self.progress.values()), default=0) + 1
            at = self.progress[part.id] = Progress(began=began)
        return at


class CelSource:
    """The CEL journal: lines become records when their calls end."""

    name = "cel"

    def __init__(self, journal: Journal | Journals, found: JournalProgress, site: Site) -> None:
        self.journal = journal
        self.tail = Tail(self.name, journal, found)
        self.interpreter = Interpreter.restore(site, found.saved) if found.saved else Interpreter(site)
        self._since_saved = 0
        self._replay()

    def _replay(self) -> None:
        """Read again what was committed after the open calls were saved; its records are in the store already."""
        for line in self.tail.unsaved():
            self._since_saved += 1
            for event, _ in understand(line):
                if event is not None:
                    self.interpreter.take(event)

    def next(self, batch: Batch, limit: int) -> int:
        """Read on, into `batch`; see Source."""
        count = 0
        while count < limit:
            chunk = self.tail.unread()
            if chunk is None:
                break
            for offset, line in chunk.lines:
                self._read(batch, chunk.part.id, offset, line)
            self.tail.advance(chunk)
            self.tail.place(batch, chunk.part.id)
            count += max(1, len(chunk.lines))
        self._since_saved += count
        if count and (self._since_saved >= SAVE_AFTER or self.interpreter.open_calls <= FEW_OPEN):
            self.save(batch)
        return count

    def _read(self, batch: Batch, part: str, offset: int, line: bytes) -> None:
        for event, fault in understand(line):
            if event is not None:
                batch.records.extend(self.interpreter.take(event))
            else:
                batch.rejects.append(Reject(self.name, part, offset, fault, line))

    def save(self, batch: Batch) -> None:
        """Add the open calls to `batch`, as they are at its positions."""
        batch.saved[self.name] = self.interpreter.save()
        for part in self.tail.mark_saved():
            self.tail.place(batch, part)
        self._since_saved = 0

    def cut(self, batch: Batch, before: int, alive: Collection[str]) -> list[CallRecord]:
        """End the calls that Asterisk does not run any more; see `Grouper.cut_open`."""
        cut = self.interpreter.cut_open(before, alive)
        if cut:
            batch.records.extend(cut)
            self.save(batch)  # a start that reads the lines again must not open them again
        return cut


def understand(line: bytes) -> list[tuple[CelEvent | None, str]]:
    """The event in a line, or (None, what is wrong). A line written behind a torn one, without a line break, is found."""
    try:
        return [(parse_line(line), "")]
    except LineError as error:
        fault = str(error)
    for match in reversed(list(LINE_BEGINS.finditer(line, 1))):
        try:
            return [(None, fault), (parse_line(line[match.start() :]), "")]
        except LineError:
            continue  # a text that only looks like a beginning
    return [(None, fault)]


class QueueLogSource:
    """queue_log: each line is a row, and together they are the agents' time."""

    name = "queue_log"

    def __init__(self, journal: Journal, found: JournalProgress, wrapup: int = 0) -> None:
        self.journal = journal
        self.tail = Tail(self.name, journal, found)
        self.agents = AgentTracker.restore(wrapup, found.saved) if found.saved else AgentTracker(wrapup)
        self._since_saved = 0
        for line in self.tail.unsaved():
            self._since_saved += 1
            with contextlib.suppress(LineError):
                self.agents.feed(parse_queue_line(line))

    def next(self, batch: Batch, limit: int) -> int:
        """Read on, into `batch`; see Source."""
        count = 0
        while count < limit:
            chunk = self.tail.unread()
            if chunk is None:
                break
            for offset, line in chunk.lines:
                self._read(batch, chunk.part.id, offset, line)
            self.tail.advance(chunk)
            self.tail.place(batch, chunk.part.id)
            count += max(1, len(chunk.lines))
        self._since_saved += count
        if count and (self._since_saved >= SAVE_AFTER or self.agents.agents <= FEW_OPEN):
            self.save(batch)
        return count

    def _read(self, batch: Batch, part: str, offset: int, line: bytes) -> None:
        try:
            event = parse_queue_line(line)
        except LineError as error:
            batch.rejects.append(Reject(self.name, part, offset, str(error), line))
            return
        batch.queue_log.append(QueueLogLine(part, offset, *event))
        batch.agent_time.extend(self.agents.feed(event))

    def save(self, batch: Batch) -> None:
        """Add what agents are doing to `batch`, as it is at its positions."""
        batch.saved[self.name] = self.agents.save()
        for part in self.tail.mark_saved():
            self.tail.place(batch, part)
        self._since_saved = 0
