"""The core's end of support: opens and ends tickets, decides who comes in, writes the ledger, answers the words.

A ticket is open in exactly one way: it is on the disk, its time is not over, and its process runs.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import structlog

from pbxd.config.overlay import printable
from pbxd.errors import SupportError, UplinkError
from pbxd.uplink.book import TICKET_ALARM, TICKET_ENDED, TICKET_OPENED
from pbxd.uplink.support import host_key
from pbxd.uplink.support.admission import Admission, Refusal, admit
from pbxd.uplink.support.agreement import entered, fault, too_long
from pbxd.uplink.support.cast import measure
from pbxd.uplink.support.certificate import read
from pbxd.uplink.support.clerk import Clerk
from pbxd.uplink.support.hall import Hall
from pbxd.uplink.support.ticket import Ticket, as_json, checked, forbidden
from pbxd.uplink.support.tickets import Tickets
from pbxd.uplink.support.words import Command
from pbxd.uplink.vocabulary import time_text

log = structlog.get_logger("pbxd.support")
LOOK = 0.5  # s between looks whether a ticket's time is over
START = 30.0  # s that the process of a ticket may take to listen
LONGEST_WHAT = 200  # characters of a command in a log
MOST_SESSIONS = 999  # of one ticket
MOST_REFUSED = 200  # refusals in a ticket's log
NOT_A_CERTIFICATE = Refusal("no-certificate", "a key without a certificate, or with one whose signature does not fit")


class Ledger(Protocol):
    """What the egress ledger offers to support."""

    async def event(self, kind: str, facts: dict[str, Any]) -> None:
        """Returns when the line is on the disk. PbxdError if it cannot be."""

    @property
    def switched_off(self) -> str:
        """Why the customer's word is that there is no uplink; empty if it is not."""

    async def tickets_entered(self) -> tuple[Mapping[str, Mapping[str, Any]], Mapping[str, str]]:
        """Openings of tickets by their ids, and why those have ended that have; once the ledger can be read."""


class Desk:
    """Support on this box."""

    def __init__(
        self,
        clerk: Clerk,
        ledger: Ledger,
        authority: Callable[[], str | None],
        *,
        socket: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`authority`: the support CA's public key, None before the enrolment. `socket`: where the link finds the sessions."""
        self._clerk, self._host, self._ledger, self._authority = clerk, clerk.host, ledger, authority
        self._socket, self._clock = socket, clock
        self.tickets = Tickets(self._host.config.uplink.support, clock)
        self._open: Ticket | None = None
        self._hall: Hall | None = None
        self._holding: asyncio.Task[None] | None = None
        self._sessions: dict[int, str] = {}  # those under way: number -> person
        self._turn = asyncio.Lock()
        self._opened = asyncio.Event()  # set while a ticket is open
        self._deadline = 0.0  # monotonic
        self.refused = 0  # since the start
        self.alarm = ""  # what is wrong with the latest ticket that is not what the ledger says; empty if none is
        self.alarms = 0  # how many there were since the start

    async def run(self) -> None:
        """Hold what was open when pbxd stopped; until cancelled, end what is over its time."""
        try:
            await self._take_up()
            while True:
                await self._opened.wait()
                await asyncio.sleep(LOOK)
                await self.review()
        finally:
            if self._hall is not None:
                await asyncio.shield(self._hall.close())

    async def _take_up(self) -> None:
        """Go on with what was there when pbxd stopped: finish what is over; listen for an open ticket if the ledger has it so."""
        openings, ends = await self._ledger.tickets_entered()  # without the ledger nobody comes in
        async with self._turn:
            try:
                tickets = await asyncio.to_thread(self.tickets.all)
            except UplinkError as error:
                self._warn("?", str(error))
                raise
            for ticket in tickets.values():
                if ticket.id != self._open_id:  # one that was opened meanwhile is not of before
                    await self._go_on(ticket, openings.get(ticket.id), ends.get(ticket.id))
            for name in sorted(set(openings) - set(ends) - set(tickets)):
                await self._enter(TICKET_ENDED, name, "it is not on the disk")

    async def _go_on(self, ticket: Ticket, opening: Mapping[str, Any] | None, ended: str | None) -> None:
        """The same for one ticket; `opening` and `ended` are the ledger's."""
        for number in self._unfinished(ticket.id):
            await self._finish(ticket.id, number, "pbxd stopped")
        state, wrong = ticket.state(self._clock()), fault(ticket, opening, ended, self._clock())
        if state == "open" and (wrong := wrong or too_long(ticket, self._host.config.uplink.support_longest)):
            await self._alarm(ticket, wrong)
        elif state == "open" and (why := self._forbidden(ticket.scope)):
            await self._over(ticket, why)
        elif state == "open" and self._open is None:
            await self._start(ticket)
        elif wrong:
            self._warn(ticket.id, wrong)
        elif state != "open" and ended is None:
            await self._enter(TICKET_ENDED, ticket.id, ticket.why or "its time is over")

    async def review(self) -> None:
        """End the ticket that may be open no longer, or whose file is not ours any more. Nothing of it runs after that."""
        async with self._turn:
            if (ticket := self._open) is None:
                return
            why = self._why_over(ticket)
            wrong = "" if why else await self._changed(ticket)
            try:
                if why:
                    await self._over(ticket, why)
                elif wrong:
                    await self._alarm(ticket, wrong)
            except UplinkError as error:
                # A process that hangs in the kernel, or a full disk; a reload goes on all the same.
                log.error(
                    "the end of a support ticket is not whole", ticket=ticket.id, why=why or wrong, error=str(error)
                )

    def _why_over(self, ticket: Ticket) -> str:
        """Its time is over by this machine's clock or, if that was set back, by the time since it was opened; or it is too long.

        What the customer switches holds for it too.
        """
        if ticket.state(self._clock()) == "expired" or time.monotonic() >= self._deadline:
            return "its time is over"
        return self._forbidden(ticket.scope) or too_long(ticket, self._host.config.uplink.support_longest)

    def _forbidden(self, scope: str) -> str:
        return forbidden(scope, shell_allowed=self._host.config.uplink.allow_shell, off=self._ledger.switched_off)

    async def _alarm(self, ticket: Ticket, wrong: str) -> None:
        """An open ticket that does not count is over, and all are told."""
        self._warn(ticket.id, wrong)
        await self._enter(TICKET_ALARM, ticket.id, wrong)
        await self._over(ticket, wrong)

    async def _changed(self, ticket: Ticket) -> str:
        """How the open ticket's file is not ours any more; empty if it is."""
        try:
            now = await asyncio.to_thread(self.tickets.find, ticket.id)
        except UplinkError as error:
            return f"its file is none any more: {error}"
        if now.state(self._clock()) == "ended":
            return "its file was changed: it says that the ticket has ended"
        return fault(now, entered(ticket), None, self._clock())

    def _warn(self, name: str, wrong: str) -> None:
        """Raise the alarm."""
        self.alarms += 1
        self.alarm = f"ticket {name} does not count: {wrong}"
        log.error("a support ticket is not what the ledger says of it", ticket=name, wrong=wrong)

    async def open(self, scope: str, reason: str, note: str, by: str, seconds: float) -> Ticket:
        """Open a ticket and listen for it. SupportError says why it cannot be."""
        rules = self._host.config.uplink
        named = checked(scope, reason, note, seconds, rules.support_longest, shell_allowed=rules.allow_shell)
        if why := self._forbidden(scope):
            raise SupportError(f"nobody could come in: {why}")
        async with self._turn:
            if self._open is not None:
                raise SupportError(
                    f"ticket {self._open.id} is open: end it first (`pbxctl support end {self._open.id}`)"
                )
            if self._authority() is None:
                raise SupportError("this box is not enrolled with a vendor: nobody could be let in")
            ticket = self.tickets.drawn(*named, note, by, seconds)
            await self._ledger.event(TICKET_OPENED, entered(ticket))  # before there is anything that could be open
            try:
                await asyncio.to_thread(self.tickets.make, ticket)
            except UplinkError:
                await self._enter(TICKET_ENDED, ticket.id, "it could not be written")
                raise
            await self._start(ticket)
            log.warning("a support ticket is open", ticket=ticket.id, scope=scope, reason=reason, by=by)
            return ticket

    async def end(self, name: str, by: str) -> Ticket:
        """End a ticket: nothing of it runs when this returns."""
        async with self._turn:
            if self._open is not None and self._open.id == name:
                return await self._over(self._open, f"by {by}")
            ticket = await asyncio.to_thread(self.tickets.find, name)
            if ticket.state(self._clock()) != "open":
                raise SupportError(f"ticket {name} is {ticket.state(self._clock())} already")
            return await self._over(ticket, f"by {by}")  # it waits for the ledger

    def show(self, name: str) -> dict[str, Any]:
        """All that is known of a ticket: itself, how it stands, its log, its recordings."""
        ticket = self.tickets.find(name)
        recordings = [
            {
                "session": number,
                "bytes": path.stat().st_size,
                "open": name == self._open_id and number in self._sessions,
            }
            for number, path in self.tickets.recordings(name).items()
        ]
        return {
            **as_json(ticket),
            "state": ticket.state(self._clock()),
            "events": self.tickets.events(name),
            "recordings": recordings,
            "host_key": host_key.fingerprint(self._host.config.uplink.support),
        }

    def status(self) -> dict[str, Any]:
        """How support stands."""
        return {
            "open": 0 if self._open is None else 1,
            "ticket": self._open_id,
            "scope": "" if self._open is None else self._open.scope,
            "until": 0.0 if self._open is None else self._open.until,
            "listening": self._hall is not None and self._hall.listening.is_set(),
            "sessions": len(self._sessions),
            "refused": self.refused,
            "alarm": self.alarm,
            "alarms": self.alarms,
        }

    def told(self) -> list[dict[str, str]]:
        """What the vendor may know of tickets: those that are open."""
        if self._open is None:
            return []
        one = self._open
        opened, until = (time_text(datetime.fromtimestamp(at, UTC)) for at in (one.opened, one.until))
        return [{"id": one.id, "opened": opened, "until": until, "scope": one.scope, "reason": one.reason}]

    @property
    def _open_id(self) -> str:
        return "" if self._open is None else self._open.id

    async def _start(self, ticket: Ticket) -> None:
        """Run the ticket's process, and wait until it listens. SupportError, and the ticket is over, if it does not."""
        self._open = ticket
        self._deadline = time.monotonic() + ticket.until - self._clock()
        self._opened.set()
        await asyncio.to_thread(host_key.make, self._host.config.uplink.support)
        self._hall = Hall(ticket.id, self._socket, self._answer)
        self._holding = asyncio.get_running_loop().create_task(self._hall.run())
        try:
            async with asyncio.timeout(min(START, ticket.until - self._clock())):
                await self._hall.listening.wait()
        except TimeoutError as error:
            await self._over(ticket, "nobody could come in by it")
            raise SupportError("the process for the sessions did not start in time: see pbxd's log") from error

    async def _over(self, ticket: Ticket, why: str) -> Ticket:
        """End it: first everything that runs, then what is written of it."""
        if ticket.id == self._open_id:
            await self._empty(ticket, why)
        expired = ticket.state(self._clock()) == "expired"
        ended = ticket if expired else await asyncio.to_thread(self.tickets.end, ticket, why)
        self.tickets.log(ticket.id, "ended", why=why)
        await self._enter(TICKET_ENDED, ticket.id, why)
        log.warning("a support ticket has ended", ticket=ticket.id, why=why)
        return ended

    async def _empty(self, ticket: Ticket, why: str) -> None:
        """Nobody is let in any more, and nothing of the ticket runs."""
        hall, self._open, self._hall = self._hall, None, None
        self._opened.clear()
        if hall is not None:
            await hall.close()
        for number in list(self._sessions):
            await self._finish(ticket.id, number, f"the ticket ended: {why}")

    async def _enter(self, event: str, name: str, why: str) -> None:
        """What became of a ticket into the ledger; an end that cannot be entered now is entered at the next start."""
        try:
            await self._ledger.event(event, {"ticket": name, "why": printable(why)})
        except UplinkError as error:
            log.error("a line about a ticket cannot be entered", line=event, ticket=name, why=why, error=str(error))

    async def _answer(self, what: str, facts: dict[str, Any]) -> dict[str, Any]:
        """What the process with the sessions asks."""
        ticket, answers = self._open, self._answers()
        if ticket is None or ticket.state(self._clock()) != "open":
            raise SupportError("the ticket is over")
        if what not in answers:
            raise SupportError(f"{what}: there is no such question")
        return await answers[what](ticket, facts)

    def _answers(self) -> dict[str, Callable[[Ticket, dict[str, Any]], Awaitable[dict[str, Any]]]]:
        return {
            "order": self._order, "listening": self._listening, "admit": self._admit, "knocked": self._knocked,
            "begin": self._begin, "word": self._word, "end": self._ended,
        }  # fmt: skip

    async def _order(self, ticket: Ticket, _facts: dict[str, Any]) -> dict[str, Any]:
        """A process has begun; the sessions of one before it are over."""
        for number in list(self._sessions):
            await self._finish(ticket.id, number, "the process with the session ended")
        return {
            "socket": str(self._socket),
            "scope": ticket.scope,
            "host_key": str(host_key.path(self._host.config.uplink.support)),
            "group": self._socket.parent.stat().st_gid,  # the link's, who alone may open the folder beside pbxd
        }

    async def _listening(self, _ticket: Ticket, _facts: dict[str, Any]) -> dict[str, Any]:
        if self._hall is not None:
            self._hall.listening.set()
        return {}

    async def _admit(self, ticket: Ticket, facts: dict[str, Any]) -> dict[str, Any]:
        found = self._decide(ticket, str(facts["user"]), str(facts["certificate"]))
        if isinstance(found, Admission):
            return {"person": found.person}
        self._refuse(ticket, found)
        return {"message": found.message}

    async def _knocked(self, ticket: Ticket, _facts: dict[str, Any]) -> dict[str, Any]:
        self._refuse(ticket, NOT_A_CERTIFICATE)
        return {}

    def _refuse(self, ticket: Ticket, found: Refusal) -> None:
        """Write down whom nobody lets in."""
        self.refused += 1
        told = [event for event in self.tickets.events(ticket.id) if event["event"] == "refused"]
        if len(told) < MOST_REFUSED:
            self.tickets.log(ticket.id, "refused", word=found.word, detail=found.message)
        log.warning("refused at the door of support", ticket=ticket.id, word=found.word, detail=found.message)

    def _decide(self, ticket: Ticket, user: str, certificate: str) -> Admission | Refusal:
        if (authority := self._authority()) is None:
            return Refusal("not-enrolled", "this box is not enrolled any more")
        try:
            presented = read(base64.b64decode(certificate))
        except SupportError as error:
            return Refusal("kind", str(error))
        return admit(presented, user, ticket, tickets=self.tickets.all(), authority=authority, now=self._clock())

    async def _begin(self, ticket: Ticket, facts: dict[str, Any]) -> dict[str, Any]:
        """A session wants to begin: it may when that is in the ledger and in the ticket's log."""
        known = [event["session"] for event in self.tickets.events(ticket.id) if event["event"] == "begin"]
        number = max(known, default=0) + 1
        if number > MOST_SESSIONS:
            raise SupportError(f"{MOST_SESSIONS} sessions of one ticket: open another one")
        person = str(facts["person"])
        told = {"session": number, "person": person, "what": printable(str(facts["what"]))[:LONGEST_WHAT]}
        self.tickets.log(ticket.id, "begin", **told)
        await self._ledger.event("support-begin", {"ticket": ticket.id, "scope": ticket.scope, **told})
        self._sessions[number] = person
        log.warning("a support session begins", ticket=ticket.id, **told)
        return {"session": number, "ticket": ticket.id, "path": str(self.tickets.recording(ticket.id, number))}

    async def _ended(self, ticket: Ticket, facts: dict[str, Any]) -> dict[str, Any]:
        await self._finish(ticket.id, int(facts["session"]), printable(str(facts["why"]))[:LONGEST_WHAT])
        return {}

    async def _finish(self, name: str, number: int, why: str) -> None:
        """A session is over: what it showed, by length and sum of its recording, into the ledger."""
        self._sessions.pop(number, None)
        path = self.tickets.recording(name, number)
        length, digest = await asyncio.to_thread(measure, path) if path.exists() else (0, "")
        told = {"session": number, "why": why, "bytes": length, "sha256": digest}
        try:
            self.tickets.log(name, "end", **told)
            await self._ledger.event("support-end", {"ticket": name, **told})
        except UplinkError as error:
            log.error("the end of a support session cannot be written down", ticket=name, error=str(error), **told)

    def _unfinished(self, name: str) -> list[int]:
        events = self.tickets.events(name)
        ended = {event["session"] for event in events if event["event"] == "end"}
        return [event["session"] for event in events if event["event"] == "begin" and event["session"] not in ended]

    async def _word(self, ticket: Ticket, facts: dict[str, Any]) -> dict[str, Any]:
        """Answer a word of the vocabulary."""
        number, command = int(facts["session"]), Command(str(facts["word"]), tuple(map(str, facts["arguments"])))
        if number not in self._sessions:
            raise SupportError("there is no such session")
        return {"text": await self._clerk.answer(ticket, self._sessions[number], command)}
