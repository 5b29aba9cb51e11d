"""Tells people of new messages by mail: each once, whatever is killed.

The intent is a row before anything goes out, and the row says so when the server has taken the mail. A kill between the two has it
sent again, with the same Message-ID: only there can a mail come twice, and none is left out.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.backoff import backoff
from pbxd.comms.people import SYSTEM
from pbxd.comms.store import Communications
from pbxd.errors import CommsError, SpoolError
from pbxd.mail.errand import seen_through, send_out
from pbxd.voicemail.archive import notices, notified
from pbxd.voicemail.index import Index
from pbxd.voicemail.letter import compose
from pbxd.voicemail.rules import Rules
from pbxd.voicemail.spool import Message
from pbxd.waking import woken

DAY = 86_400
GIVE_UP = 7 * DAY  # s after which a message is no news any more
FORGET = 8 * DAY  # s after which its row goes: longer than that, so that no row is missed
LOOK = 60.0  # s between looks, beside those when something changed
FIRST, LONGEST = 30.0, 3600.0  # s between two tries; what the server refuses waits the longest at once
AWAY = 3  # mails deferred one after the other, after which the others wait for the next look
PROCESS_LIMIT = 300.0  # s that one mail may take
log = structlog.get_logger("pbxd.voicemail")
Named = tuple[str, str]  # a mailbox, and the id of a message in it


@dataclass(slots=True)
class Trouble:
    """A mail that was not taken."""

    at: float  # epoch seconds: not before
    error: str
    delays: Iterator[float]


class Notices:
    """`run` is a part of its own."""

    def __init__(
        self,
        store: Communications,
        index: Index,
        rules: Callable[[], Rules],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sent = 0  # since the start
        self.troubles: dict[Named, Trouble] = {}
        self._store = store
        self._index = index
        self._rules = rules
        self._clock = clock
        self._wake = asyncio.Event()

    @property
    def error(self) -> str:
        """Why mails wait; empty while none does."""
        return next((trouble.error for trouble in self.troubles.values()), "")

    def notice(self) -> None:
        """The spool changed: look soon."""
        self._wake.set()

    def configure(self) -> None:
        """The configuration changed: what failed under the old one is tried at once."""
        self.troubles.clear()
        self._wake.set()

    async def run(self) -> None:
        """Tell of what is new, until cancelled."""
        await self._index.ready.wait()
        failed = ""
        while True:
            self._wake.clear()
            try:
                await self.look()
                failed = ""
            except (CommsError, SpoolError) as error:
                if str(error) != failed:
                    log.error("nobody is told of new voice messages", error=str(error))
                failed = str(error)
            await woken(self._wake, LOOK)

    async def look(self) -> None:
        """Tell of all that is new and untold now, as far as the server takes it. CommsError."""
        rules = self._rules()
        since = await self._begin({box for box, rule in rules.boxes.items() if rule.mail})
        if not since or rules.server is None:
            return
        known = {(row.box, row.message): row.told for row in await self._store.database.fetch(select(notices))}
        now = self._clock()
        untold = [message for message in self._index.scan.messages if self._is_news(message, since, now)]
        untold = [message for message in untold if known.get(_named(message)) is None]
        self.troubles = {name: why for name, why in self.troubles.items() if name in {_named(m) for m in untold}}
        deferred = 0
        for message in sorted(untold, key=lambda message: message.text.when):
            trouble = self.troubles.get(_named(message))
            if trouble is None or trouble.at <= self._clock():
                later = await self._tell(rules, message, intended=_named(message) in known)
                deferred = deferred + 1 if later else 0
                if deferred == AWAY:
                    return

    @staticmethod
    def _is_news(message: Message, since: dict[str, int], now: float) -> bool:
        begun = since.get(str(message.box))
        when = message.text.when
        return begun is not None and message.new and message.text.id != "" and when >= max(begun, now - GIVE_UP)

    async def _begin(self, boxes: set[str]) -> dict[str, int]:
        """Since when each mailbox has notices; one that has them from now on begins now. Rows that are old go."""
        known = {row.box: row.since for row in await self._store.database.fetch(select(notified))}
        now = self._clock()
        stale = int((now - FORGET) * 1_000_000)
        old = await self._store.database.fetch(select(notices.c.message).where(notices.c.at < stale).limit(1))
        if known.keys() != boxes or old:

            async def work(connection: AsyncConnection) -> None:
                await connection.execute(delete(notified).where(notified.c.box.not_in(boxes)))
                if new := boxes - known.keys():
                    await connection.execute(insert(notified), [{"box": box, "since": int(now)} for box in sorted(new)])
                await connection.execute(delete(notices).where(notices.c.at < stale))

            await self._store.database.run("beginning notices", work)
        return {box: known.get(box, int(now)) for box in boxes}

    async def _tell(self, rules: Rules, message: Message, *, intended: bool) -> bool:
        """One mail: intent, mail, result. Whether the server says later, or is away."""
        rule = rules.of(message.box)
        try:
            sound = await asyncio.to_thread(self._index.disk.sound, message) if rule.sound else None
        except SpoolError as error:
            log.info("a voice message is gone before anybody was told of it", error=str(error))
            return False
        if not intended:
            await self._intend(message, rule.mail, with_sound=sound is not None)
        mail = await asyncio.to_thread(lambda: compose(message, rule.mail, rules, sound).as_bytes())
        head = json.dumps({"server": rules.server, "to": rule.mail}).encode()
        found = await seen_through(self._send(message, head + b"\n" + mail))
        if found["result"] != "sent":
            self._failed(_named(message), found)
        return bool(found["result"] == "deferred")

    async def _send(self, message: Message, job: bytes) -> dict[str, Any]:
        """The mail, and the result if it is that the server took it; what came of it."""
        found = await send_out("pbxd.mail.post", job, PROCESS_LIMIT, str(os.getpid()), stop=0)
        if found["result"] == "sent":
            await self._note(message)
            log.info("somebody was told of a voice message", box=str(message.box), refused=found["refused"])
        return found

    async def _intend(self, message: Message, to: tuple[str, ...], *, with_sound: bool) -> None:
        detail = {"box": str(message.box), "to": list(to), "sound": with_sound}
        reason = "voicemail.boxes"
        audit = self._store.audit
        await audit.record(SYSTEM, "send", "voicemail", message.text.id, reason=reason, via="mail", detail=detail)
        row = {"box": str(message.box), "message": message.text.id, "at": int(self._clock() * 1_000_000)}

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(insert(notices).values(row))

        await self._store.database.run("noting that somebody is to be told", work)

    async def _note(self, message: Message) -> None:
        box, name = _named(message)
        done = update(notices).where(notices.c.box == box, notices.c.message == name)

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(done.values(told=int(self._clock() * 1_000_000)))

        await self._store.database.run("noting that somebody was told", work)
        self.sent += 1
        self.troubles.pop((box, name), None)

    def _failed(self, named: Named, found: dict[str, Any]) -> None:
        error, before = str(found["error"]), self.troubles.get(named)
        delays = backoff(FIRST, LONGEST) if before is None else before.delays
        delay = LONGEST if found["result"] == "refused" else next(delays)
        self.troubles[named] = Trouble(self._clock() + delay, error, delays)
        log.error("nobody was told of a voice message", box=named[0], error=error, again_in=round(delay))


def _named(message: Message) -> Named:
    return str(message.box), message.text.id
