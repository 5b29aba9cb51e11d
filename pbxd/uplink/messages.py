"""Messages from the vendor: taken from where the link lays them, judged, kept, handed to the customer's rules; never executed."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import structlog

from pbxd.config.overlay import Change
from pbxd.config.support import VendorRules
from pbxd.errors import MessageRefused, PbxdError
from pbxd.uplink.administration import Administration
from pbxd.uplink.files import append_line, lines_of, make_folder

log = structlog.get_logger("pbxd.messages")
NOTE = ".note"
LARGEST = 1024 * 1024  # bytes of a note; a longer one is none
TOLD = 100  # newest messages of which the vendor is told what became of them
OF_PROPOSALS = {  # how a proposal stands -> what the vendor is told
    "asked": "waiting", "invalid": "rejected", "refused": "refused", "trial": "accepted",
    "applied": "applied", "rolled-back": "undone", "undone": "undone",
}  # fmt: skip
MOST_REFUSED = 1000  # refused messages that are kept; of more only the number is known


class Sender(Protocol):
    """What the enrolment says of who may send, and to whom."""

    @property
    def box(self) -> str:
        """This box's id."""

    @property
    def message_key(self) -> str:
        """Verifier key of messages, in C2SP's form."""


class Ledger(Protocol):
    """What the ledger offers to messages."""

    async def message(self, name: str, note: bytes) -> None:
        """Put down that one came. PbxdError if it cannot be."""


class Messages:
    """Those that came, in a file; the newest last."""

    def __init__(
        self,
        folder: Path,
        administration: Administration,
        ledger: Ledger,
        rules: Callable[[], VendorRules],
        *,
        checkpoint: Callable[[int, str], str] = lambda _size, _root: "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`checkpoint` says what is wrong with the vendor's view of our ledger (size, root in base64); empty if nothing is."""
        self._file = folder / "messages.jsonl"
        self._administration, self._ledger, self._rules = administration, ledger, rules
        self._rows: list[dict[str, Any]] | None = None  # the file's, once it was read
        self._checkpoint, self._clock = checkpoint, clock
        self.refused = 0  # since the start
        self.disputed = ""  # what is wrong with the vendor's latest view of our ledger

    def all(self) -> list[dict[str, Any]]:
        """Every message: `id`, `kind`, `at`, `state` (shown, hidden, proposal, refused), `word`, `detail`, `message`."""
        if self._rows is None:
            self._rows = lines_of(self._file)
        return self._rows

    def told(self) -> list[dict[str, str]]:
        """What the vendor may know: what became of its messages, the newest ones."""
        states = {one.source: one.state for one in self._administration.proposals.all()}
        found = []
        for row in [row for row in self.all() if row["word"] == ""][-TOLD:]:
            proposal = states.get(f"message {row['id']}")
            state = "shown" if row["state"] == "shown" else "refused"
            found.append({"id": row["id"], "state": OF_PROPOSALS[proposal] if proposal else state})
        return found

    async def collect(self, folder: Path, sender: Sender) -> int:
        """Take what the link has laid into `folder`; how many. A file that cannot be read stays, and is told in the log."""
        taken = 0
        for path, note in await asyncio.to_thread(_notes, folder):
            delivery = f"{path.stem}:{hashlib.sha256(note).hexdigest()}"
            if not any(
                row.get("delivery") == delivery for row in self.all()
            ):  # else we were killed before the file was gone
                await self._ledger.message(path.stem, note)
                await self.take(note, sender, delivery)
            await asyncio.to_thread(path.unlink, missing_ok=True)
            taken += 1
        return taken

    async def take(self, note: bytes, sender: Sender, delivery: str) -> dict[str, Any]:
        """Judge a message, keep it with what became of it. UplinkError if it cannot be kept: then it is taken again.

        `delivery` is of the file that it lay in. Killed anywhere, a message that is taken again is one proposal.
        """
        from pbxd.uplink.judgement import judge  # noqa: PLC0415 - cryptography costs 9 MB, which a box without uplink saves
        from pbxd.uplink.notes import Verifier  # noqa: PLC0415

        kept = self.all()
        seen = {one["id"] for one in kept if one["word"] == ""}
        row: dict[str, Any] = {"at": self._clock(), "word": "", "detail": "", "message": None, "delivery": delivery}
        try:
            message = judge(note, Verifier.of(sender.message_key), sender.box, seen, self._clock())
        except MessageRefused as error:
            digest = hashlib.sha256(note).hexdigest()
            row |= {"id": digest[:16], "kind": "?", "state": "refused", "word": error.word, "detail": str(error)}
            self.refused += 1
            log.warning("a message of the vendor is refused", word=error.word, detail=str(error))
            if sum(one["word"] != "" for one in kept) >= MOST_REFUSED:
                return row
        else:
            row |= {"id": message["id"], "kind": message["kind"], "message": message}
            state, detail = await self._handle(message)
            row |= {"state": state, "detail": detail}
        make_folder(self._file.parent)
        append_line(self._file, row)
        kept.append(row)
        return row

    async def _handle(self, message: dict[str, Any]) -> tuple[str, str]:
        """What becomes of a good message, by the customer's rules."""
        rules = self._rules()
        match message["kind"]:
            case "propose-config":
                changes = tuple(Change(one["path"], one["value"]) for one in message["changes"])
                source = f"message {message['id']}"
                try:
                    made = self._administration.proposed(source) or await self._administration.propose(
                        source, message["by"], message["reason"], changes
                    )
                except PbxdError as error:
                    return "refused", str(error)
                return "proposal", f"proposal {made.id}: {made.state}"
            case "notice":
                hidden = rules.notices == "hide" and message["topic"] != "security"
                return ("hidden", "uplink.notices is hide") if hidden else ("shown", "")
            case "offer-update":
                return (
                    ("shown", "nothing is installed by it")
                    if rules.offers == "ask"
                    else ("refused", "uplink.offers is refuse")
                )
            case _:
                wrong = await asyncio.to_thread(self._checkpoint, message["size"], message["root"])
                self.disputed = wrong
                return "shown", wrong or "the vendor's view of the ledger is ours"


def _notes(folder: Path) -> list[tuple[Path, bytes]]:
    """What lies there, each cut behind the longest that a note may be."""
    found = []
    for path in sorted(folder.glob(f"*{NOTE}")):
        try:
            with path.open("rb") as file:
                found.append((path, file.read(LARGEST + 1)))
        except OSError as error:
            log.error("a message cannot be read", file=str(path), error=str(error))
    return found
