"""The interpreter of the CEL journal: lines in, records out. The live tail, the backfill, the import and the tests share it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterable

from pbxd.calls.cel import HOOK, CelEvent, format_line, parse_line
from pbxd.calls.derive import derive
from pbxd.calls.grouping import Group, Grouper
from pbxd.calls.record import CallRecord
from pbxd.calls.site import Site


class Interpreter:
    """Holds the calls that have not ended, and makes the record of each that does."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.calls = (
            0  # calls that were given out; one that was given out twice, or became part of another, counts once
        )
        self.fragments = 0  # calls that were up before the journal began: their start is nowhere, no record is made
        self._grouper = Grouper()

    @property
    def open_calls(self) -> int:
        """How many calls have begun and not ended."""
        return len(self._grouper.open)

    def silent_since(self, at: int) -> bool:
        """Whether there is an open call without a line at or after `at` (microseconds)."""
        return any(group.last < at for group in self._grouper.open)

    def feed(self, line: bytes) -> list[CallRecord]:
        """Take one line, without its line break. The records of the calls that it ends. LineError if it cannot be understood."""
        return self.take(parse_line(line))

    def take(self, event: CelEvent) -> list[CallRecord]:
        """Take one event. The records of the calls that it ends."""
        if event.context == HOOK:
            return []
        ended = self._grouper.feed(event)
        return self._records(ended) if ended else []

    def cut_open(self, before: int | None = None, alive: Collection[str] = ()) -> list[CallRecord]:
        """End the open calls that Asterisk does not run any more; see `Grouper.cut_open`."""
        return self._records(self._grouper.cut_open(before, alive))

    def _records(self, groups: Iterable[Group]) -> list[CallRecord]:
        whole = []
        for group in groups:
            if group.began:
                whole.append(self._record(group))
            else:
                self.fragments += 1
        return whole

    def _record(self, group: Group, *, cut: bool | None = None) -> CallRecord:
        record = derive(group.events, self.site, cut=group.cut if cut is None else cut, known_as=group.known_as)
        self.calls += 1 - len(group.known_as)
        group.known_as = [record.id]
        return record

    def provisional(self) -> list[CallRecord]:
        """The open calls as they stand, ended where their lines end. They stay open: what comes later makes them whole."""
        return [self._record(group, cut=group.up > 0) for group in self._grouper.open if group.began]

    def save(self, *, late: bool = False) -> bytes:
        """The open calls, so that `restore` can go on from here; with `late` also those that a late line may still reach."""
        groups = [*(self._grouper.ended_lately() if late else ()), *self._grouper.open]
        lines = [format_line(event) for group in groups for event in group.events]
        known = [(group.events[0].uniqueid, group.known_as) for group in groups if group.known_as]
        state = {"newest": self._grouper.newest, "lines": lines, "known": known}
        return zlib.compress(json.dumps(state).encode(), 1)

    @classmethod
    def restore(cls, site: Site, saved: bytes) -> Interpreter:
        """An interpreter with the open calls that `save` wrote."""
        interpreter = cls(site)
        state = json.loads(zlib.decompress(saved))
        for line in state["lines"]:
            interpreter._grouper.feed(parse_line(line.encode()))
        for uniqueid, known_as in state.get("known", ()):
            interpreter._grouper.recall(uniqueid, known_as)
        second, number = state["newest"]
        interpreter._grouper.newest = (second, number)
        return interpreter

    def finish(self) -> list[CallRecord]:
        """The input is over for good: what is open, ended where its lines end."""
        return self.cut_open()


def records(lines: Iterable[bytes], site: Site) -> Iterable[CallRecord]:
    """The records of a whole journal, in the order in which the calls ended. LineError at the first bad line."""
    interpreter = Interpreter(site)
    for line in lines:
        yield from interpreter.feed(line)
    yield from interpreter.finish()
