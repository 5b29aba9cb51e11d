"""The AMI session: connects, logs in, stays connected, asks and listens. The only module that knows panoramisk.

panoramisk's `Manager` holds the connection's configuration and its `Action` makes ids and headers, which is what its users know.
What a phone system cannot live with is replaced: framing and decoding (`wire`), dispatch (`link`: one dictionary look-up, a failing
handler costs its own event only), login (MD5 challenge), keepalive (a Pong that is waited for), reconnection (backoff with jitter,
a refused login told apart), and actions in flight, which fail when the link does and are never sent again.

While `on_connect` takes its snapshot, events that have a handler are held; they are handled, in order, when it returns. So none is
lost between the snapshot's answers and the first event after it. Some of them tell what the snapshot tells already: handlers must
bear to be told twice (events come in order, so the last word is right).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn, cast

import structlog
from panoramisk.actions import Action
from panoramisk.manager import Manager

from pbxd.asterisk.events import event_mask
from pbxd.asterisk.link import MAX_PENDING, AmiCounters, AmiLink, Handler, Pending
from pbxd.asterisk.wire import MAX_MESSAGE, Message, encode_action
from pbxd.backoff import backoff
from pbxd.errors import (
    ActionError,
    ActionFailed,
    ActionTimeout,
    AmiError,
    ConnectFailed,
    Disconnected,
    LoginRefused,
)
from pbxd.waking import woken

FIRST_WAIT = 0.5  # s, the longest first wait before a connection is tried again
STEADY = 30.0  # s that a session stays up before the next failure begins with short waits again
GOOD = ("Success", "Goodbye", "Follows", "Pong")  # `Response:` of an action that was carried out


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
    boot_wait: float = 10.0  # for Asterisk to be fully booted, after which it is asked anyway
    max_message: int = MAX_MESSAGE


class HardenedManager(Manager):  # type: ignore[misc]  # panoramisk has no types
    """panoramisk's Manager as the holder of a connection's configuration, that connects with our protocol.

    What it does by itself is closed: it sends unanswered actions again, logs in in plain text and never looks at a Pong.
    """

    def __init__(self, settings: AmiSettings, protocol_factory: Callable[[], AmiLink]) -> None:
        super().__init__(
            host=settings.host,
            port=settings.port,
            ssl=settings.tls,
            protocol_factory=protocol_factory,
            forgetable_actions=(),
        )
        self.settings = settings

    async def open(self) -> AmiLink:
        """A new connection. ConnectFailed says what went wrong."""
        settings, where = self.settings, f"{self.settings.host}:{self.settings.port}"
        create = asyncio.get_running_loop().create_connection
        try:
            async with asyncio.timeout(settings.connect_timeout):
                _, link = await create(self.config["protocol_factory"], settings.host, settings.port, ssl=self._tls())
        except TimeoutError as error:
            raise ConnectFailed(f"{where} did not answer in time") from error
        except (OSError, ValueError) as error:  # ValueError: a name that is none, as `a..b`
            raise ConnectFailed(f"{where}: {getattr(error, 'strerror', None) or error}") from error
        return cast("AmiLink", link)

    def _tls(self) -> ssl.SSLContext | None:
        settings = self.settings
        if not settings.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=settings.ca_file)
        except OSError as error:
            raise ConnectFailed(f"ami.tls.ca_file {settings.ca_file}: {error.strerror or error}") from error
        if not settings.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def closed_door(self, *_args: object, **_kwargs: object) -> NoReturn:
        """Not this way."""
        raise NotImplementedError("ManagerSession connects, sends and pings")

    connect = connection_made = connection_lost = send_action = send_awaiting_actions = ping = login = closed_door


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
        self.handlers = dict(on_event)
        self.counters = AmiCounters()
        self.state = State.STOPPED
        self.last_error = ""
        self.since: float | None = None  # epoch seconds of the login
        self.greeting = ""  # version of the manager's protocol
        self.asterisk_started: float | None = None  # epoch seconds, to about one; None if Asterisk does not tell us
        self.clock_offset: float | None = None  # s, ours less Asterisk's, from its last Pong
        self.manager = HardenedManager(settings, self._new_link)
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self._link: AmiLink | None = None
        self._booted = asyncio.Event()
        self._stopping = asyncio.Event()
        self._was_steady = False  # the last session stayed up for a while
        self.log = structlog.get_logger("pbxd.ami")

    @property
    def connected(self) -> bool:
        """Whether actions can be sent now."""
        return self.state is State.CONNECTED

    def _new_link(self) -> AmiLink:
        handlers = {**self.handlers, "FullyBooted": self._fully_booted}
        return AmiLink(handlers, self.counters, self.settings.max_message)

    def _fully_booted(self, message: Message) -> None:
        """Asterisk sends it at the login, or when its start is over: before that, half of its actions do not exist."""
        uptime = message.get("Uptime")
        if uptime.isdecimal():
            self.asterisk_started = time.time() - int(uptime)
        self._booted.set()
        if (handler := self.handlers.get("FullyBooted")) is not None:
            handler(message)

    async def run(self) -> None:
        """Connect, stay connected, and connect again, until cancelled or `close`d."""
        delays = self._delays()
        try:
            while not self._stopping.is_set():
                wait, self._was_steady = 0.0, False
                try:
                    await self._once()
                except (AmiError, ActionError) as error:
                    if self._was_steady:
                        delays = self._delays()
                    hopeless = only_a_person_can_mend(error)
                    self._down(State.REFUSED if hopeless else State.WAITING, error)
                    wait = self.settings.refused_wait if hopeless else next(delays)
                await woken(self._stopping, wait)
        finally:
            self.state = State.STOPPED

    def close(self) -> None:
        """End the session; `run` returns soon after."""
        self._stopping.set()
        if self._link is not None:
            self._link.fail("pbxd closed the connection")

    def _delays(self) -> Iterator[float]:
        return backoff(FIRST_WAIT, self.settings.reconnect_longest)

    def _down(self, state: State, error: Exception) -> None:
        if self._stopping.is_set():
            return
        self.state = state
        self.last_error = str(error) or type(error).__name__
        self.log.warning("no AMI session", state=str(state), error=self.last_error, peer=self.settings.host)

    async def _once(self) -> None:
        """One connection, from its making to its end, which is always an AmiError."""
        self.state = State.CONNECTING
        link = await self.manager.open()
        self._link = link
        up_at: float | None = None
        try:
            self.state = State.LOGGING_IN
            await self._greeted(link)
            await self._login()
            up_at = time.monotonic()
            await self._filter()
            await self._wait_for_boot(link)
            self._up()
            await self._snapshot(link)
            await self._keep_alive(link)
        finally:
            self._link = None
            self.since = None
            link.fail("the session is over")
            self._was_steady = up_at is not None and time.monotonic() - up_at > STEADY
            if up_at is not None:
                self._tell_disconnected()

    def _up(self) -> None:
        self.state = State.CONNECTED
        self.since = time.time()
        self.last_error = ""
        self.counters.connects += 1
        self.log.info("AMI session up", peer=self.settings.host, version=self.greeting)

    async def _greeted(self, link: AmiLink) -> None:
        try:
            async with asyncio.timeout(self.settings.connect_timeout):
                self.greeting = await link.greeting
        except TimeoutError as error:
            raise ConnectFailed("the peer accepts the connection and says nothing") from error

    async def _login(self) -> None:
        """By MD5 challenge, so that the secret does not cross the wire; over TLS in plain, as its servers may want."""
        self._booted.clear()
        self.asterisk_started = None
        user, secret, events = self.settings.username, self.settings.secret, event_mask(self.handlers)
        try:
            if self.settings.tls:
                await self.action("Login", Username=user, Secret=secret, Events=events)
                return
            answer = await self.action("Challenge", AuthType="MD5")
            text = (answer.get("Challenge") + secret).encode("utf-8", "surrogateescape")
            key = hashlib.md5(text, usedforsecurity=False).hexdigest()  # AMI knows no other scheme
            await self.action("Login", AuthType="MD5", Username=user, Key=key, Events=events)
        except ActionFailed as error:
            raise LoginRefused(f"user {user}: {error}") from error

    async def _filter(self) -> None:
        """Let Asterisk send only the events that have a handler. Asterisk 22 compares names; older ones take a pattern."""
        names = sorted({*self.handlers, "FullyBooted"})
        try:
            for name in names:
                await self.action("Filter", Operation="Add", MatchCriteria=f"action(include),name({name})")
        except ActionFailed:
            try:
                await self.action("Filter", Operation="Add", Filter=f"^Event: ({'|'.join(names)})[[:space:]]")
            except (ActionFailed, ActionError) as error:
                # It costs both sides some time and nothing else: the login asked for no class of events with keyed digits.
                self.log.warning("Asterisk takes no event filter: give the user write=system", error=str(error))

    async def _wait_for_boot(self, link: AmiLink) -> None:
        boot = asyncio.ensure_future(self._booted.wait())
        either: set[asyncio.Future[Any]] = {boot, link.closed}
        try:
            await asyncio.wait(either, timeout=self.settings.boot_wait, return_when=asyncio.FIRST_COMPLETED)
        finally:
            boot.cancel()
        if not self._booted.is_set() and not link.closed.done():
            self.log.info("Asterisk does not say that it is fully booted: give the user read=system")

    async def _snapshot(self, link: AmiLink) -> None:
        """Let `on_connect` ask what is going on; events are held until it knows."""
        link.hold()
        try:
            await self._on_connect(self)
        except AmiError:
            raise
        except Exception as error:
            self.counters.handler_errors += 1
            self.log.exception("the snapshot failed")
            raise AmiError(f"the snapshot failed: {type(error).__name__}: {error}") from error
        link.release()

    def _tell_disconnected(self) -> None:
        try:
            self._on_disconnect()
        except Exception:
            self.counters.handler_errors += 1
            self.log.exception("on_disconnect failed")

    async def _keep_alive(self, link: AmiLink) -> NoReturn:
        """Ping until the connection ends; no answer in time ends it."""
        while True:
            await asyncio.wait({link.closed}, timeout=self.settings.ping_interval)
            if link.closed.done():
                raise Disconnected(link.closed.result())
            try:
                pong = await self.action("Ping")
            except ActionTimeout as error:
                raise Disconnected(f"the link is dead: {error}") from error
            with contextlib.suppress(ValueError):  # old versions have no Timestamp
                self.clock_offset = time.time() - float(pong.get("Timestamp"))

    async def action(self, name: str, **headers: str | Sequence[str]) -> Message:
        """Send an action and give its answer; a header with several values is repeated.

        ActionFailed if Asterisk refuses it, ActionTimeout, Disconnected (it is not sent again), or ActionError before it is sent.
        """
        (answer,) = await self._send(name, headers, whole_list=False)
        if answer.response not in GOOD:
            raise ActionFailed(answer.get("Message") or answer.response or f"{name} failed")
        return answer

    async def action_list(self, name: str, **headers: str | Sequence[str]) -> list[Message]:
        """Send an action that answers with a list: its events, without the answer and without `…Complete`. Errors: as `action`."""
        answer = await self._send(name, headers, whole_list=True)
        if answer[0].response != "Success":
            raise ActionFailed(answer[0].get("Message") or f"{name} failed")
        return [message for message in answer[1:] if message.get("EventList").lower() not in ("complete", "cancelled")]

    async def _send(self, name: str, headers: Mapping[str, str | Sequence[str]], *, whole_list: bool) -> list[Message]:
        link = self._link
        if link is None or link.transport is None or link.closed.done():
            raise Disconnected("there is no AMI session")
        if len(link.pending) >= MAX_PENDING:
            raise ActionFailed(f"{MAX_PENDING} actions wait for an answer already")
        action = Action(
            {"Action": name, **headers}
        )  # with an id that nobody can guess, so that no event can pass for an answer
        data = encode_action([("Action", name), ("ActionID", action.id), *spread(headers)])
        future: asyncio.Future[list[Message]] = action.future
        link.pending[action.id] = Pending(future, whole_list)
        link.transport.write(data)
        try:
            async with asyncio.timeout(self.settings.action_timeout):
                return await future
        except TimeoutError as error:
            raise ActionTimeout(f"Asterisk did not answer {name} in {self.settings.action_timeout:g} s") from error
        finally:
            link.pending.pop(action.id, None)


def spread(headers: Mapping[str, str | Sequence[str]]) -> list[tuple[str, str]]:
    """Headers for the wire, those with several values repeated. ActionError for the two that are ours."""
    found: list[tuple[str, str]] = []
    for name, value in headers.items():
        if name.lower() in ("action", "actionid"):
            raise ActionError(f"the header {name} of an AMI action is made here")
        found.extend((name, item) for item in ([value] if isinstance(value, str) else value))
    return found


def only_a_person_can_mend(error: Exception) -> bool:
    """Whether trying again soon is of no use: wrong credentials, or ones that cannot even be sent."""
    return isinstance(error, LoginRefused | ActionError)
