"""One connection from Asterisk: bytes in and out, one command at a time, deadlines that the server's sweep looks at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from pbxd.agi.wire import Environment, Hangup, Reply, Wire
from pbxd.errors import AGIException, AGISIGPIPEHangup, AGITimeout, AGIUnknownError

LINGER = 5.0  # s that a peer gets to take what was written before its connection is cut


class House(Protocol):
    """What the connections belong to: the server."""

    @property
    def answer_time(self) -> float:
        """Seconds that a peer may owe an environment or a quick answer."""

    def arrived(self, link: AgiLink, transport: asyncio.BaseTransport) -> bool:
        """A connection was made; False: there are too many, or its peer may not speak; it is cut."""

    def began(self, link: AgiLink, environment: Environment) -> asyncio.Task[None]:
        """Its environment has come whole: the task that serves it."""

    def left(self, link: AgiLink) -> None:
        """It is gone."""

    def failed(self, link: AgiLink, error: AGIException) -> None:
        """It broke the protocol or a limit before it had a session."""


class AgiLink(asyncio.Protocol):
    """A session's `Channel`. Everything that goes wrong ends up in `ask`, or cancels the session's task."""

    __slots__ = (
        "_answer",
        "_house",
        "_if_hung_up",
        "_late",
        "_transport",
        "_wire",
        "begun",
        "closing",
        "deadline",
        "due",
        "error",
        "finishing",
        "gone",
        "guarded",
        "hung_up",
        "loop",
        "on_hangup",
        "on_stray",
        "task",
    )

    def __init__(self, house: House, wire: Wire, loop: asyncio.AbstractEventLoop, *, guarded: bool) -> None:
        self._house = house
        self.guarded = guarded  # whoever reaches the port can connect: its peer has to be looked at
        self._wire = wire
        self.loop = loop
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Reply] | None = None
        self._late: asyncio.Future[None] | None = None  # set while `ask` waits for the answer to a cancelled command
        self.due: float | None = None  # loop time until which the peer has to say something
        self.deadline = float("inf")  # loop time at which the session has lasted too long
        self.hung_up = False
        self.gone = False  # the connection has ended
        self.closing = False
        self.finishing = False  # the last command is sent
        self._if_hung_up = b""
        self.begun = False  # the task has made its first step: before that, cancelling it would end it without a word
        self.task: asyncio.Task[None] | None = None
        self.error: AGIException | None = None  # why the session was cancelled
        self.on_hangup: Callable[[], None] | None = None
        self.on_stray: Callable[[bytes], None] | None = (
            None  # takes lines that answer nothing; without it they are a fault
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer is there; it owes its environment."""
        self._transport = transport  # type: ignore[assignment]  # of a stream, as the server makes them
        self.due = self.loop.time() + self._house.answer_time
        if not self._house.arrived(self, transport):
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        if self.closing:
            return
        reply = self._wire.plain(data)
        if reply is not None:
            self._replied(reply)
            return
        try:
            for event in self._wire.receive(data):
                if isinstance(event, Reply):
                    self._replied(event)
                elif isinstance(event, Hangup):
                    self._told_hangup()
                else:
                    self.due = None
                    self.task = self._house.began(self, event)
        except AGIUnknownError as error:
            self.fail(error)

    def _replied(self, reply: Reply) -> None:
        if self.finishing and not reply.stray:
            self._finished()
            return
        if reply.stray:
            if self.on_stray is None:
                raise AGIUnknownError("the peer answers what was not asked")
            self.on_stray(reply.raw)
            return
        self.due = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(reply)
        if self._late is not None and not self._late.done():
            self._late.set_result(None)

    def _told_hangup(self) -> None:
        self.hung_up = True
        if self.on_hangup is not None:
            self.on_hangup()

    def fail(self, error: AGIException) -> None:
        """The session cannot go on: whoever waits is told, or else its task is cancelled."""
        self.error = error
        self.due = None
        if self.finishing:
            self.close()
        elif self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        elif self.task is not None:
            self._cancel()
        else:
            self._house.failed(self, error)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended, by whomever."""
        self.gone = self.closing = True
        self.due = None
        self._house.left(self)
        if self._late is not None and not self._late.done():
            self._late.set_result(None)
        if self.task is not None and not self.task.done() and self.error is None:
            self.fail(AGISIGPIPEHangup(f"Asterisk closed the connection{f': {exc}' if exc else ''}"))

    async def ask(self, line: bytes, mark: bytes | None = None, *, slow: bool = False) -> Reply:
        """Send a command and give its answer; see `session.Channel`."""
        if self._wire.pending and not self.closing:  # the answer to a command whose wait was cancelled is still to come
            self._late = self.loop.create_future()
            await self._late
        if self.closing or self._transport is None:
            raise self.error or AGISIGPIPEHangup("the connection has ended")
        self._wire.asked(mark)
        answer: asyncio.Future[Reply] = self.loop.create_future()
        self._answer = answer
        self.due = None if slow else self.loop.time() + self._house.answer_time
        self._transport.write(line)
        return await answer

    @property
    def busy(self) -> bool:
        """Whether Asterisk is at a command that is not answered yet."""
        return self._wire.pending

    def overdue(self, now: float) -> None:
        """The sweep's look at this connection: end what has lasted too long."""
        if self.closing:
            if self.due is not None and now > self.due:
                self.abort()
        elif self.due is not None and now > self.due:
            self.fail(AGITimeout("the peer owes an answer for too long"))
        elif now > self.deadline and self.error is None:
            self.end(AGITimeout("the session has lasted too long"))

    def end(self, error: AGIException) -> None:
        """End the session's application, whatever it is at; `error` says why. Asterisk finishes the command that it is at."""
        if self.error is None and not self.closing:
            self.error = error
            self._cancel()

    def _cancel(self) -> None:
        if self.task is not None and self.begun:
            self.task.cancel()

    def forget(self) -> None:
        """The session is over: let go of what holds this in a circle, so that it is freed at once."""
        self.task = self._answer = self._late = self.on_hangup = self.on_stray = None

    def finish(self, last: bytes, if_hung_up: bytes = b"") -> None:
        """Send the last command, and close when it is answered. `if_hung_up` follows it, if its answer comes with a HANGUP:

        Asterisk tells of a hang-up when it looks at the next command. No task waits for this: it would cost a tenth of a session.
        """
        if self.closing or self._transport is None:
            return
        self._wire.asked()
        self.finishing = True
        self._if_hung_up = if_hung_up
        self.due = self.loop.time() + self._house.answer_time
        self._transport.write(last)

    def _finished(self) -> None:
        more, self._if_hung_up = self._if_hung_up, b""
        if more and self.hung_up:
            self.finish(more)
        else:
            self.close()

    def close(self, last: bytes = b"") -> None:
        """End the connection when `last` is written; a peer that does not take it is cut off after a while."""
        if self._transport is None or self.closing:
            return
        self.closing = True
        self.due = self.loop.time() + LINGER
        if last:
            self._transport.write(last)
        self._transport.close()

    def abort(self) -> None:
        """Cut it."""
        if self._transport is not None:
            self._transport.abort()
