"""One connection to AMI: bytes in, events to their handlers, answers to those who wait for them.

Nothing that a peer says escapes as an exception: its faults end this connection (`closed` says why), and a mistake in one of our
handlers costs that one event. The socket is read at all times, for Asterisk cuts off slow readers: handlers are called at once, and
are short.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

import structlog

from pbxd.asterisk.wire import EOL, EVENT, GREETING, MAX_GREETING, Framer, Message, event_name, text, unpadded
from pbxd.errors import ActionFailed, ConnectFailed, Disconnected, MessageTooLarge

MAX_LIST = 200_000  # messages of one list answer: more than any PBX has channels
MAX_LIST_BYTES = 128 * 1024 * 1024  # of them together: as many channels at 650 bytes each
MAX_PENDING = 1000  # actions that wait at once: at more, Asterisk has stopped to answer
MAX_HELD = 100_000  # events held while the snapshot is taken: some minutes of a busy PBX
Handler = Callable[[Message], None]


@dataclass(slots=True)
class AmiCounters:
    """Since the start of the daemon."""

    events: int = 0  # handled
    ignored: int = 0  # events that nobody asked for
    unknown: int = 0  # messages that are neither an event nor an answer
    bytes: int = 0
    connects: int = 0
    handler_errors: int = 0
    late_answers: int = 0  # answers to actions that had timed out


@dataclass(slots=True)
class Pending:
    """An action that waits for its answer."""

    future: asyncio.Future[list[Message]]
    whole_list: bool
    got: list[Message] = field(default_factory=list)
    size: int = 0  # bytes of `got`

    def take(self, message: Message) -> bool:
        """Take what carries this action's id; whether nothing is waited for any more."""
        if not self.got and not message.response:
            return False  # an event that names our action before it is answered; its answer is still to come
        self.got.append(message)
        self.size += len(message.raw)
        if len(self.got) > MAX_LIST or self.size > MAX_LIST_BYTES:
            self.fail(ActionFailed(f"the list has more than {MAX_LIST} entries or {MAX_LIST_BYTES} bytes"))
        elif self._complete(message) and not self.future.done():
            self.future.set_result(self.got)
        return self.future.done()

    def _complete(self, message: Message) -> bool:
        if not self.whole_list:
            return True
        if message.response:
            return message.response != "Success" or message.get("EventList").lower() not in ("start", "")
        return message.get("EventList").lower() in ("complete", "cancelled")

    def fail(self, error: Exception) -> None:
        """There will be no answer."""
        if not self.future.done():
            self.future.set_exception(error)


class AmiLink(asyncio.Protocol):
    """asyncio's end of one connection. Replaces panoramisk's protocol."""

    def __init__(self, handlers: Mapping[str, Handler], counters: AmiCounters, max_message: int) -> None:
        self.handlers = {
            EVENT + name.encode(): handler for name, handler in handlers.items()
        }  # by an event's first line
        self.counters = counters
        self.framer = Framer(max_message)
        loop = asyncio.get_running_loop()
        self.greeting: asyncio.Future[str] = loop.create_future()  # what follows `Asterisk Call Manager/`
        self.closed: asyncio.Future[str] = loop.create_future()  # why
        self.pending: dict[str, Pending] = {}  # action id -> who waits
        self.transport: asyncio.Transport | None = None
        self._head = b""  # of the greeting
        self._held: list[bytes] | None = None  # events that wait for the end of the snapshot
        self.log = structlog.get_logger("pbxd.ami")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The link is up."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's own is no subclass

    def data_received(self, data: bytes) -> None:
        """Cut, look up, hand over."""
        self.counters.bytes += len(data)
        if not self.greeting.done():
            data = self._greet(data)
        if not data or self.closed.done():
            return
        try:
            blocks = self.framer.blocks(data)
        except MessageTooLarge as error:
            self.fail(str(error))
            return
        if self.pending or self._held is not None:
            for block in blocks:
                self._sort(block)
        else:
            self.dispatch(blocks)

    def _greet(self, data: bytes) -> bytes:
        """Take the greeting line; what follows it is given back."""
        self._head += data
        line, found, rest = self._head.partition(EOL)
        if not found and len(line) <= MAX_GREETING and GREETING.startswith(line[: len(GREETING)]):
            return b""
        if found and line.startswith(GREETING):
            self.greeting.set_result(line[len(GREETING) :].decode(errors="replace"))
            return rest
        self.fail(f"the peer greets with {line[:40]!r}: that is no Asterisk manager")
        return b""

    def dispatch(self, blocks: Iterable[bytes]) -> None:
        """Give each event to its handler. One that nobody handles costs a look-up of its first line, and nothing is parsed."""
        get = self.handlers.get
        handled = ignored = 0
        for block in blocks:
            end = block.find(EOL)
            handler = get(block[:end])
            if handler is not None and end > 0:
                handled += 1
                try:
                    handler(Message(block))
                except Exception as error:  # noqa: BLE001 - one bad event must not cost the link; it is logged and counted
                    self._handler_failed(block, error)
            elif end > 0 and block.startswith(EVENT):
                ignored += 1
            elif block:
                self._sort(block)
        self.counters.events += handled
        self.counters.ignored += ignored

    def _sort(self, block: bytes) -> None:
        """The long way, for what may be an answer: by its action's id first, then by its name."""
        message = Message(unpadded(block))
        action_id = message.action_id if self.pending and b"actionid:" in block.lower() else ""
        pending = self.pending.get(action_id)
        if pending is not None:
            if pending.take(message):
                self.pending.pop(action_id, None)
        elif message.response:
            self.counters.late_answers += 1
        elif (handler := self.handlers.get(EVENT + event_name(message.raw))) is not None:
            self._hold_or_handle(handler, message)
        elif message.event:
            self.counters.ignored += 1
        elif message.raw:
            self.counters.unknown += 1

    def _hold_or_handle(self, handler: Handler, message: Message) -> None:
        if self._held is not None:
            self._held.append(message.raw)
            if len(self._held) > MAX_HELD:
                self.fail(f"more than {MAX_HELD} events came while the snapshot was taken")
            return
        self.counters.events += 1
        try:
            handler(message)
        except Exception as error:  # noqa: BLE001 - as in `dispatch`
            self._handler_failed(message.raw, error)

    def _handler_failed(self, block: bytes, error: Exception) -> None:
        """One event was lost to a mistake of ours; the link and the other events are not."""
        self.counters.handler_errors += 1
        self.log.error("event handler failed", ami_event=text(event_name(block)), exc_info=error)

    def hold(self) -> None:
        """Keep the events that have a handler from now on, in order; see `release`."""
        self._held = []

    def release(self) -> None:
        """Handle the events that were held, and from now on each at once."""
        held, self._held = self._held, None
        self.dispatch(held or ())

    def fail(self, reason: str) -> None:
        """Close at once, because of what the peer did."""
        self._end(reason)
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The link is down."""
        self._end(str(exc) if exc else "Asterisk closed the connection")

    def _end(self, reason: str) -> None:
        """Tell everyone who waits, once."""
        if not self.closed.done():
            self.closed.set_result(reason)
        if not self.greeting.done():
            self.greeting.set_exception(ConnectFailed(reason))
            self.greeting.exception()  # looked at here, in case that nobody waits for it any more
        for pending in self.pending.values():
            pending.fail(Disconnected(f"{reason}; whether the action was carried out is unknown"))
        self.pending.clear()
