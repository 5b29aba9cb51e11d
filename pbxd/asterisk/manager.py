"""The AMI session: connects, logs in, stays connected, asks and listens. The only module that knows panoramisk.

panoramisk's `Manager` keeps the configuration and its `Action` makes ids and headers, which is what its users know. What a phone
system cannot live with is replaced here: framing and decoding (`wire`), dispatch (one dictionary look-up, a failing handler costs
its own event only), login (MD5 challenge), keepalive (a Pong that is waited for), reconnection (backoff with jitter, a refused
login told apart), and actions in flight, which fail when the link does and are never sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any, cast

import structlog
from panoramisk.actions import Action
from panoramisk.manager import Manager

from pbxd.asterisk.wire import GREETING, MAX_GREETING, Framer, Message, encode_action
from pbxd.backoff import backoff
from pbxd.errors import (
    ActionFailed,
    ActionTimeout,
    AmiError,
    ConnectFailed,
    Disconnected,
    LoginRefused,
    MessageTooLarge,
)

MAX_LIST = 200_000  # messages of one list answer: more than any PBX has channels
STEADY = 30.0  # s that a connection stays up before the next failure begins with short waits again
Handler = Callable[[Message], None]


class State(StrEnum):
    """Where the session stands."""

    STOPPED = "stopped"
    CONNECTING = "connecting"
    LOGGING_IN = "logging in"
    CONNECTED = "connected"
    WAITING = "waiting"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class AmiSettings:
    """How to reach AMI. Times in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: int = 5038
    username: str = "pbxd"
    secret: str = field(default="", repr=False)
    tls: bool = False
    ca_file: Path | None = None
    verify: bool = True
    connect_timeout: float = 10.0
    action_timeout: float = 10.0
    ping_interval: float = 15.0
    reconnect_longest: float = 30.0
    refused_wait: float = 60.0
    max_message: int = 1024 * 1024


@dataclass(slots=True)
class AmiCounters:
    """Since the start of the daemon."""

    events: int = 0  # handled
    ignored: int = 0  # events that nobody asked for
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


class AmiProtocol(asyncio.Protocol):
    """One connection: bytes in, messages to the session. Replaces panoramisk's."""

    def __init__(self, session: ManagerSession) -> None:
        self.session = session
        self.framer = Framer(session.settings.max_message)
        self.greeting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.pending: dict[bytes, Pending] = {}
        self.transport: asyncio.Transport | None = None
        self._head = b""
        self.responses: dict[str, Any] = {}  # panoramisk's own name, looked at by its Manager

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The link is up."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's own is no subclass

    def data_received(self, data: bytes) -> None:
        """Cut, look up, hand over. Never raises: a peer's fault closes this connection, ours costs one event."""
        self.session.counters.bytes += len(data)
        if not self.greeting.done():
            data = self._greet(data)
        if not data or self.closed.done():
            return
        try:
            blocks = self.framer.blocks(data)
        except MessageTooLarge as error:
            self.fail(str(error))
            return
        session = self.session
        dispatch(
            blocks, session.handlers, session.counters, self._answer, session.handler_failed, asked=bool(self.pending)
        )

    def _greet(self, data: bytes) -> bytes:
        """Take the greeting line; what follows it is given back."""
        self._head += data
        line, found, rest = self._head.partition(b"\r\n")
        if found or len(self._head) > MAX_GREETING or not GREETING.startswith(self._head[: len(GREETING)]):
            if found and line.startswith(GREETING):
                self.greeting.set_result(line[len(GREETING) :].decode(errors="replace"))
                return rest
            self.fail(f"the peer greets with {self._head[:40]!r}: that is no Asterisk manager")
        return b""

    def _answer(self, block: bytes) -> None:
        """A message that is no event with a handler: the answer to an action, a line of a list, or nothing of ours."""
        message = Message(block)
        key = message.action_id.encode("utf-8", "surrogateescape")
        pending = self.pending.get(key) if key else None
        if pending is None:
            if message.response and key:
                self.session.counters.late_answers += 1
            elif not message.response:
                self.session.counters.ignored += 1
            return
        pending.got.append(message)
        if is_last(message, pending) or len(pending.got) > MAX_LIST:
            del self.pending[key]
            if not pending.future.done():
                pending.future.set_result(pending.got)

    def fail(self, reason: str) -> None:
        """Close, because of what the peer did."""
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
            if not pending.future.done():
                pending.future.set_exception(Disconnected(f"{reason}; whether the action was carried out is unknown"))
        self.pending.clear()

    def close(self) -> None:
        """Close, because we want to. Named as panoramisk's Manager calls it."""
        if self.transport is not None:
            self.transport.close()


def dispatch(
    blocks: list[bytes],
    handlers: Mapping[bytes, Handler],
    counters: AmiCounters,
    otherwise: Callable[[bytes], None],
    failed: Callable[[bytes, Exception], None],
    *,
    asked: bool,
) -> None:
    """Give each event to its handler; everything else to `otherwise`. An event that nobody handles costs one look-up.

    `asked` is whether an action waits for its answer: only then can an event be a line of one.
    """
    handled = 0
    ignored = 0
    for block in blocks:
        # `wire.event_name`, written out: the call alone would cost a tenth of all.
        name = block[7 : block.find(b"\r\n", 7)] if block[:7] == b"Event: " else b""
        handler = handlers.get(name)
        if handler is not None:
            handled += 1
            try:
                handler(Message(block))
            except Exception as error:  # noqa: BLE001 - one bad event must not cost the link; it is logged and counted
                failed(name, error)
        elif name and not (asked and b"\r\nActionID: " in block):
            ignored += 1
        elif block:
            otherwise(block)
    counters.events += handled
    counters.ignored += ignored


def is_last(message: Message, pending: Pending) -> bool:
    """Whether `message` completes the answer: at once, or with the list's `…Complete` event."""
    if not pending.whole_list:
        return True
    if message.response:
        return message.response != "Success" or message.get("EventList").lower() not in ("start", "")
    return message.get("EventList").lower() in ("complete", "cancelled")


class HardenedManager(Manager):  # type: ignore[misc]  # panoramisk has no types
    """panoramisk's Manager as a holder of configuration; none of its connecting, resending and pinging is used."""

    def __init__(self, settings: AmiSettings) -> None:
        super().__init__(host=settings.host, port=settings.port, username=settings.username, ssl=settings.tls)

    def send_awaiting_actions(self, *_: object) -> None:
        """Nothing: an action that was not answered is never sent again."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing: the session reconnects, with backoff."""


class ManagerSession:
    """Keeps one AMI session up for as long as `run` runs."""

    def __init__(
        self,
        settings: AmiSettings,
        on_event: Mapping[str, Handler],
        on_connect: Callable[[ManagerSession], Awaitable[None]],
        on_disconnect: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.handlers = {name.encode(): handler for name, handler in on_event.items()}
        self.counters = AmiCounters()
        self.state = State.STOPPED
        self.last_error = ""
        self.since: float | None = None  # epoch seconds of the login
        self.greeting = ""
        self.clock_offset: float | None = None  # s, ours less Asterisk's, from its last Pong
        self.manager = HardenedManager(settings)
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self._protocol: AmiProtocol | None = None
        self._ids = count(1)
        self.log = structlog.get_logger("pbxd.ami")

    @property
    def connected(self) -> bool:
        """Whether actions can be sent now."""
        return self.state is State.CONNECTED

    def handler_failed(self, name: bytes, error: Exception) -> None:
        """One event was lost to a mistake of ours; the link and the other events are not."""
        self.counters.handler_errors += 1
        self.log.error("event handler failed", ami_event=name.decode(errors="replace"), exc_info=error)

    async def run(self) -> None:
        """Connect, stay connected, and connect again, until cancelled."""
        delays = self._delays()
        try:
            while True:
                started = time.monotonic()
                try:
                    await self._once()
                except LoginRefused as error:
                    self._down(State.REFUSED, error)
                    await asyncio.sleep(self.settings.refused_wait)
                    continue
                except (AmiError, OSError, TimeoutError) as error:
                    self._down(State.WAITING, error)
                if time.monotonic() - started > STEADY:
                    delays = self._delays()
                await asyncio.sleep(next(delays))
        finally:
            self.state = State.STOPPED

    def _delays(self) -> Iterator[float]:
        return backoff(0.2, self.settings.reconnect_longest)

    def _down(self, state: State, error: Exception) -> None:
        self.state = state
        self.last_error = str(error) or type(error).__name__
        self.log.warning("no AMI session", state=str(state), error=self.last_error, peer=self.settings.host)

    async def _once(self) -> None:
        """One connection, from its making to its end, which is always an AmiError."""
        self.state = State.CONNECTING
        protocol = await self._connect()
        self._protocol = protocol
        try:
            self.state = State.LOGGING_IN
            async with asyncio.timeout(self.settings.connect_timeout):
                self.greeting = await protocol.greeting
            await self._login()
            await self._filter()
            self.state = State.CONNECTED
            self.since = time.time()
            self.last_error = ""
            self.counters.connects += 1
            self.log.info("AMI session up", peer=self.settings.host, version=self.greeting)
            await self._on_connect(self)
            await self._keep_alive(protocol)
        finally:
            self._protocol = None
            self.since = None
            protocol.fail("the session is over")
            self._on_disconnect()

    async def _connect(self) -> AmiProtocol:
        loop = asyncio.get_running_loop()
        settings = self.settings
        try:
            async with asyncio.timeout(settings.connect_timeout):
                _, protocol = await loop.create_connection(
                    lambda: AmiProtocol(self), settings.host, settings.port, ssl=self._tls()
                )
        except TimeoutError as error:
            raise ConnectFailed(f"{settings.host}:{settings.port} did not answer in time") from error
        except OSError as error:
            raise ConnectFailed(f"{settings.host}:{settings.port}: {error.strerror or error}") from error
        return protocol

    def _tls(self) -> ssl.SSLContext | None:
        if not self.settings.tls:
            return None
        context = ssl.create_default_context(cafile=self.settings.ca_file)
        if not self.settings.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    async def _login(self) -> None:
        """By MD5 challenge, so that the secret does not cross the wire; over TLS in plain, as its servers may want."""
        try:
            if self.settings.tls:
                await self.action("Login", Username=self.settings.username, Secret=self.settings.secret, Events="on")
                return
            answer = await self.action("Challenge", AuthType="MD5")
            text = answer.get("Challenge") + self.settings.secret
            key = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()  # AMI's own scheme
            await self.action("Login", AuthType="MD5", Username=self.settings.username, Key=key, Events="on")
        except ActionFailed as error:
            raise LoginRefused(f"user {self.settings.username}: {error}") from error

    async def _filter(self) -> None:
        """Let Asterisk send only the events that have a handler. Asterisk 22 compares names; older ones take a pattern."""
        for name in sorted(self.handlers):
            event = name.decode()
            try:
                await self.action("Filter", Operation="Add", MatchCriteria=f"action(include),name({event})")
            except ActionFailed:
                await self.action("Filter", Operation="Add", Filter=f"Event: {event}")

    async def _keep_alive(self, protocol: AmiProtocol) -> None:
        """Ping until the connection ends; no answer in time ends it."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.ping_interval):
                    reason = await asyncio.shield(protocol.closed)
                    raise Disconnected(reason)
            pong = await self.action("Ping")
            with contextlib.suppress(ValueError):
                self.clock_offset = time.time() - float(pong.get("Timestamp"))

    async def action(self, name: str, **headers: str) -> Message:
        """Send an action and give its answer. ActionFailed, ActionTimeout, Disconnected, or ActionError before it is sent."""
        answer = (await self._send(name, headers, whole_list=False))[0]
        if answer.response not in ("Success", "Goodbye", "Follows", "Pong"):
            raise ActionFailed(answer.get("Message") or answer.response or f"{name} failed")
        return answer

    async def action_list(self, name: str, **headers: str) -> list[Message]:
        """Send an action that answers with a list: its events, without the answer and without `…Complete`."""
        answer = await self._send(name, headers, whole_list=True)
        if answer[0].response != "Success":
            raise ActionFailed(answer[0].get("Message") or f"{name} failed")
        return [message for message in answer[1:] if message.get("EventList").lower() != "complete"]

    async def _send(self, name: str, headers: Mapping[str, str], *, whole_list: bool) -> list[Message]:
        protocol = self._protocol
        if protocol is None or protocol.transport is None or protocol.closed.done():
            raise Disconnected("there is no AMI session")
        action_id = f"pbxd-{next(self._ids)}"
        action = Action({"Action": name, "ActionID": action_id, **headers})
        data = encode_action((key, str(value)) for key, value in [("Action", name), *_others(action)])
        key = action_id.encode()
        future: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
        protocol.pending[key] = Pending(future, whole_list)
        protocol.transport.write(data)
        try:
            async with asyncio.timeout(self.settings.action_timeout):
                return await future
        except TimeoutError as error:
            if name == "Ping":
                protocol.fail("Asterisk does not answer a Ping")
            raise ActionTimeout(f"Asterisk did not answer {name} in {self.settings.action_timeout:g} s") from error
        finally:
            protocol.pending.pop(key, None)


def _others(action: Action) -> list[tuple[str, str]]:
    """An action's headers but its name, with lists spread out."""
    found: list[tuple[str, str]] = []
    for key, value in action.items():
        if key.lower() != "action":
            values = value if isinstance(value, list | tuple) else [value]
            found.extend((key, str(item)) for item in values)
    return found
