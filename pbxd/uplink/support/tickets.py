"""Tickets on the disk: a folder each, with the ticket, its log, and the recordings of its sessions."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pbxd.errors import SupportError
from pbxd.uplink.files import append_line, lines_of, make_folder, read_json, write_whole
from pbxd.uplink.support.cast import SUFFIX
from pbxd.uplink.support.ticket import ID, Reason, Scope, Ticket, as_json, from_json

FILE = "ticket.json"
MARK = "open"  # a file that is there while a ticket may be open: to take it away needs no room on the disk


class Tickets:
    """All that this box has had."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self.folder = folder / "tickets"
        self._clock = clock

    def all(self) -> dict[str, Ticket]:
        """Each by its id, the oldest first. UplinkError if one cannot be read."""
        if not self.folder.is_dir():
            return {}
        found = [self._read(path) for path in self.folder.glob(f"*/{FILE}")]
        return {one.id: one for one in sorted(found, key=lambda one: (one.opened, one.id))}

    def _read(self, path: Path) -> Ticket:
        value = read_json(path)
        if not isinstance(value, dict) or value.get("id") != path.parent.name:
            raise SupportError(f"{path} is not the file of the ticket {path.parent.name[:40]}")
        return self._as_it_stands(from_json(value))

    def _as_it_stands(self, ticket: Ticket) -> Ticket:
        """A ticket whose mark is gone is over, whatever else could be written of it."""
        if ticket.ended is not None or (self.folder / ticket.id / MARK).exists():
            return ticket
        return replace(ticket, ended=min(ticket.until, self._clock()), why="it was ended, and the disk was full")

    def find(self, name: str) -> Ticket:
        """One by its id. SupportError if there is none such."""
        path = self.folder / name / FILE
        if not ID.fullmatch(name) or not path.exists():
            raise SupportError(f"there is no ticket {name[:40]}; `pbxctl support list` lists them")
        return self._read(path)

    def drawn(self, scope: Scope, reason: Reason, note: str, by: str, seconds: float) -> Ticket:
        """A new one, from now on, of which nothing is written yet."""
        now = self._clock()
        return Ticket(secrets.token_hex(8), scope, reason, note, by, now, now + seconds)

    def make(self, ticket: Ticket) -> None:
        """Write a new one. UplinkError if it cannot be written: then there is none."""
        make_folder(self.folder)
        make_folder(self.folder / ticket.id)
        write_whole(self.folder / ticket.id / MARK, "")
        self._write(ticket)
        told = {name: getattr(ticket, name) for name in ("by", "scope", "reason", "until", "note")}
        self.log(ticket.id, "opened", **told)

    def end(self, ticket: Ticket, why: str) -> Ticket:
        """It is not open any more, also if nothing more can be written. UplinkError if it could not be."""
        (self.folder / ticket.id / MARK).unlink(missing_ok=True)
        ended = replace(ticket, ended=self._clock(), why=why)
        self._write(ended)
        return ended

    def _write(self, ticket: Ticket) -> None:
        write_whole(self.folder / ticket.id / FILE, json.dumps(as_json(ticket), ensure_ascii=False, indent=1))

    def log(self, name: str, event: str, **facts: Any) -> None:  # noqa: ANN401 - JSON
        """Add a line to a ticket's log, on the disk when this returns."""
        append_line(self.folder / name / "log.jsonl", {"at": self._clock(), "event": event, **facts})

    def events(self, name: str) -> list[dict[str, Any]]:
        """Its log."""
        return lines_of(self.folder / name / "log.jsonl")

    def recording(self, name: str, number: int) -> Path:
        """The file of a session's recording, there or not."""
        if not ID.fullmatch(name):
            raise SupportError(f"{name[:40]!r} is no ticket")
        return self.folder / name / f"{number:03}{SUFFIX}"

    def recordings(self, name: str) -> dict[int, Path]:
        """Those that there are, by the number of their session."""
        return {int(path.stem): path for path in sorted((self.folder / name).glob(f"*{SUFFIX}"))}
