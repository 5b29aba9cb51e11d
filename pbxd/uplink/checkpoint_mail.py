"""Mails the ledger's signed checkpoints: each letter once, whatever is killed.

The letter is a file before it goes out, and the file says so when the server has taken it. A kill between the two has it sent
again, with the same Message-ID: only there can a letter come twice, and none is left out. It goes by the admin's own server and
has nothing to do with the link: nothing of it reaches the vendor.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import structlog

from pbxd.backoff import backoff
from pbxd.config.schema import Config
from pbxd.errors import LedgerError, UplinkError
from pbxd.mail.errand import seen_through, send_out
from pbxd.mail.server import described
from pbxd.uplink.checkpoint_letter import Letter, compose, is_due
from pbxd.uplink.files import make_folder, read_json, write_whole
from pbxd.waking import woken

if TYPE_CHECKING:
    from pbxd.uplink.ledger import Ledger

FILE = "checkpoint-letter.json"
LOOK = 10.0  # s between two looks
FIRST, LONGEST = 30.0, 3600.0  # s between two tries; what the server refuses waits the longest at once
PROCESS_LIMIT = 300.0  # s that one mail may take
log = structlog.get_logger("pbxd.uplink")


class CheckpointMail:
    """`run` is a part of its own."""

    def __init__(self, config: Callable[[], Config], ledger: Callable[[], Ledger], clock: Callable[[], float]) -> None:
        """`ledger` raises LedgerError while there is none; `clock` gives seconds since the epoch."""
        self.error = ""  # why the letter waits; empty if none does
        self.last: Letter | None = None
        self._config = config
        self._ledger = ledger
        self._clock = clock
        self._again = 0.0  # epoch seconds: not before
        self._delays: Iterator[float] = backoff(FIRST, LONGEST)
        self._wake = asyncio.Event()

    def configure(self) -> None:
        """The configuration changed, or something was switched: look at once, and try again what failed."""
        self._again = 0.0
        self._wake.set()

    async def run(self) -> None:
        """Send what is due, until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self.look()
            except UplinkError as error:
                self._failed(str(error), LONGEST)
            await woken(self._wake, LOOK)

    async def look(self) -> None:
        """Send the letter that waits, or one if it is due. UplinkError if the file of letters cannot be read or written."""
        if self._config().uplink.checkpoints != "mail":
            self.error = ""
            return
        now = self._clock()
        if self._again - LONGEST <= now < self._again:
            return
        letter = await self._waiting(now)
        if letter is None:
            return
        found = await seen_through(self._send(letter))
        if found["result"] != "sent":
            self._failed(str(found["error"]), LONGEST if found["result"] == "refused" else next(self._delays))

    async def _waiting(self, now: float) -> Letter | None:
        """The letter that is to go out now: one that did not, or a new one if it is due."""
        last = self.last = self.last or await asyncio.to_thread(self._kept)
        if last is not None and not last.sent:
            return last
        try:
            ledger = self._ledger()
        except LedgerError:
            return None  # not enrolled, or it cannot be read: the uplink says so itself
        switched = ledger.book.switched
        note = (await asyncio.to_thread(ledger.outbox.checkpoint)).decode()
        if not note or not is_due(last, note, switched, now):
            return None
        letter = Letter(note, now)
        await asyncio.to_thread(self._keep, letter)
        return letter

    def _kept(self) -> Letter | None:
        path = self._config().uplink.support / FILE
        found = read_json(path)
        try:
            return None if found is None else Letter.of(found)
        except ValueError as error:
            raise UplinkError(f"{path}: {error}; move it away, and the next letter goes out") from error

    def _keep(self, letter: Letter) -> None:
        folder = self._config().uplink.support
        make_folder(folder)
        write_whole(folder / FILE, json.dumps(letter.fields()) + "\n")
        self.last = letter

    async def _send(self, letter: Letter) -> dict[str, Any]:
        """The mail, and the note that the server took it, if it did; what came of it."""
        config = self._config()
        mail, to = config.reports.mail, config.uplink.checkpoints_to or ""
        message = await asyncio.to_thread(compose, letter, to, mail.sender or "", config.site.name)
        job = json.dumps({"server": described(mail), "to": [to]}).encode() + b"\n" + message.as_bytes()
        found = await send_out("pbxd.mail.post", job, PROCESS_LIMIT, str(os.getpid()), stop=0)
        if found["result"] == "sent":
            await asyncio.to_thread(self._keep, Letter(letter.note, letter.at, sent=True))
            self.error, self._delays = "", backoff(FIRST, LONGEST)
            log.info("a checkpoint of the ledger was mailed", lines=letter.lines)
        return found

    def _failed(self, error: str, delay: float) -> None:
        self.error = f"the ledger's checkpoint was not mailed: {error}"
        self._again = self._clock() + delay
        log.error("a checkpoint of the ledger was not mailed", error=error, again_in=round(delay))

    def status(self) -> dict[str, Any]:
        """When a letter went out last, of how many lines, and why one waits."""
        last = self.last
        return {"at": last.at if last else None, "lines": last.lines if last else 0, "error": self.error}
