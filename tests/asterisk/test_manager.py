"""The AMI session against a peer that misbehaves: a small server in the test, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from pbxd.asterisk.manager import AmiSettings, ManagerSession, State
from pbxd.asterisk.wire import Framer, Message
from pbxd.errors import ActionError, ActionFailed, ActionTimeout, AmiError, Disconnected

SECRET = "s3cret"  # noqa: S105 - of a peer that lives for one test


class Peer:
    """An AMI server that a test scripts; answers login, filters and pings by itself unless told not to."""

    def __init__(self) -> None:
        self.port = 0
        self.greeting = b"Asterisk Call Manager/11.0.0\r\n"
        self.actions: list[Message] = []
        self.silent: set[str] = set()
        self.refuse = False
        self.writers: list[asyncio.StreamWriter] = []
        self.script: dict[str, Callable[[Message], bytes]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        writer.write(self.greeting)
        framer = Framer()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                for message in framer.feed(data):
                    self.actions.append(message)
                    name = self.name(message)
                    if name not in self.silent:
                        writer.write(self.answer(name, message))

    @staticmethod
    def name(message: Message) -> str:
        return message.items()[0][1]

    def answer(self, name: str, message: Message) -> bytes:
        done = f"ActionID: {message.action_id}\r\n".encode()
        if name in self.script:
            return self.script[name](message)
        if name == "Challenge":
            return b"Response: Success\r\n" + done + b"Challenge: 42\r\n\r\n"
        if name == "Login":
            key = hashlib.md5(b"42" + SECRET.encode(), usedforsecurity=False).hexdigest()
            if self.refuse or message.get("Key") != key:
                return b"Response: Error\r\n" + done + b"Message: Authentication failed\r\n\r\n"
        return b"Response: Success\r\n" + done + b"Timestamp: 1795485056.5\r\n\r\n"

    def say(self, data: bytes) -> None:
        self.writers[-1].write(data)

    def names(self) -> list[str]:
        return [self.name(message) for message in self.actions]


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    made = Peer()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    for writer in made.writers:
        writer.close()


Connect = Callable[..., Awaitable[ManagerSession]]


@pytest.fixture
async def connect(peer: Peer) -> AsyncIterator[Connect]:
    tasks: list[asyncio.Task[None]] = []

    async def make(
        handlers: dict[str, Callable[[Message], None]] | None = None,
        wait: State | None = State.CONNECTED,
        **changes: object,
    ) -> ManagerSession:
        values: dict[str, object] = {
            "reconnect_longest": 0.3,
            "refused_wait": 0.2,
            "action_timeout": 1.0,
            "ping_interval": 30.0,
        }
        settings = AmiSettings(port=peer.port, secret=SECRET, **(values | changes))  # type: ignore[arg-type]
        session = ManagerSession(settings, handlers or {}, nothing)
        tasks.append(asyncio.create_task(session.run()))
        if wait is not None:
            await until(lambda: session.state is wait)
        return session

    yield make
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def nothing(_session: ManagerSession) -> None:
    """No snapshot."""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - any condition, not only ones that somebody signals
            await asyncio.sleep(0.005)


async def test_login_by_challenge_never_sends_the_secret(peer: Peer, connect: Connect) -> None:
    session = await connect({"Hangup": lambda _event: None})
    assert session.connected
    assert peer.names()[:3] == ["Challenge", "Login", "Filter"]
    assert all(SECRET.encode() not in action.raw for action in peer.actions)
    assert peer.actions[2].get("MatchCriteria") == "action(include),name(Hangup)"


async def test_an_older_asterisk_gets_the_older_filter(peer: Peer, connect: Connect) -> None:
    def old(message: Message) -> bytes:
        outcome = b"Success" if message.get("Filter") else b"Error"
        return b"Response: " + outcome + f"\r\nActionID: {message.action_id}\r\n\r\n".encode()

    peer.script["Filter"] = old
    await connect({"Hangup": lambda _event: None})
    assert peer.actions[-1].get("Filter") == "Event: Hangup"


async def test_a_refused_login_is_told_apart_and_tried_again_later(peer: Peer, connect: Connect) -> None:
    peer.refuse = True
    session = await connect(wait=State.REFUSED)
    assert "Authentication failed" in session.last_error
    peer.refuse = False
    await until(lambda: session.connected)


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\x01\x02\x03", b"A" * 300])
async def test_a_peer_that_is_no_asterisk(peer: Peer, connect: Connect, greeting: bytes) -> None:
    peer.greeting = greeting
    session = await connect(wait=State.WAITING)
    assert "no Asterisk" in session.last_error


async def test_actions_in_flight_fail_on_disconnect_and_are_not_sent_again(peer: Peer, connect: Connect) -> None:
    session = await connect()
    peer.silent.add("Originate")
    waiting = asyncio.create_task(session.action("Originate", Channel="PJSIP/1"))
    await until(lambda: "Originate" in peer.names())
    peer.writers[-1].transport.abort()
    with pytest.raises(Disconnected):
        await waiting
    await until(lambda: session.counters.connects == 2)
    assert peer.names().count("Originate") == 1


async def test_an_action_without_a_session_fails_at_once(peer: Peer, connect: Connect) -> None:
    peer.refuse = True
    session = await connect(wait=State.REFUSED)
    with pytest.raises(Disconnected):
        await session.action("Ping")


async def test_a_time_out_leaves_nothing_behind(peer: Peer, connect: Connect) -> None:
    session = await connect(action_timeout=0.1)
    peer.silent.add("CoreStatus")
    with pytest.raises(ActionTimeout):
        await session.action("CoreStatus")
    late = peer.actions[-1].action_id
    peer.say(f"Response: Success\r\nActionID: {late}\r\n\r\n".encode())
    await until(lambda: session.counters.late_answers == 1)
    assert (await session.action("CoreSettings")).response == "Success"


async def test_no_pong_ends_the_connection(peer: Peer, connect: Connect) -> None:
    session = await connect(ping_interval=0.05, action_timeout=0.1)
    peer.silent.add("Ping")
    await until(lambda: session.counters.connects >= 2)


async def test_the_clock_offset_is_known_from_pongs(connect: Connect) -> None:
    session = await connect(ping_interval=0.01)
    await until(lambda: session.clock_offset is not None)


async def test_a_handler_that_raises_costs_its_own_event_only(peer: Peer, connect: Connect) -> None:
    seen: list[str] = []

    def handler(event: Message) -> None:
        if event.get("N") == "1":
            raise RuntimeError("a mistake of ours")
        seen.append(event.get("N"))

    session = await connect({"Hangup": handler})
    peer.say(b"Event: Hangup\r\nN: 0\r\n\r\nEvent: Hangup\r\nN: 1\r\n\r\nEvent: Hangup\r\nN: 2\r\n\r\n")
    await until(lambda: seen == ["0", "2"])
    assert session.connected
    assert session.counters.handler_errors == 1


async def test_repeated_headers_do_not_drop_the_link(peer: Peer, connect: Connect) -> None:
    session = await connect()
    peer.say(b"Event: UserEvent\r\nEvent: Other\r\nActionID: a\r\nActionID: b\r\n\r\n")
    assert (await session.action("CoreSettings")).response == "Success"


async def test_a_split_name_loses_no_letter(peer: Peer, connect: Connect) -> None:
    seen: list[str] = []
    await connect({"Newchannel": lambda event: seen.append(event.get("CallerIDName"))})
    data = "Event: Newchannel\r\nCallerIDName: Zoë\r\n\r\n".encode()
    for byte in data:
        peer.say(bytes([byte]))
        await asyncio.sleep(0)
    await until(lambda: seen == ["Zoë"])


async def test_a_message_that_is_too_long_ends_the_connection(peer: Peer, connect: Connect) -> None:
    session = await connect(max_message=10_000)
    peer.say(b"Event: " + b"x" * 50_000)
    await until(lambda: session.counters.connects == 2)


async def test_lists(peer: Peer, connect: Connect) -> None:
    def channels(message: Message) -> bytes:
        key = f"ActionID: {message.action_id}\r\n"
        rows = "".join(f"Event: CoreShowChannel\r\n{key}Uniqueid: 1.{n}\r\n\r\n" for n in range(3))
        head = f"Response: Success\r\n{key}EventList: start\r\n\r\n"
        return (head + rows + f"Event: CoreShowChannelsComplete\r\n{key}EventList: Complete\r\n\r\n").encode()

    peer.script["CoreShowChannels"] = channels
    session = await connect({"CoreShowChannel": lambda _event: None})
    peer.script["QueueStatus"] = lambda m: (
        f"Response: Error\r\nActionID: {m.action_id}\r\nMessage: no queues\r\n\r\n".encode()
    )
    with pytest.raises(ActionFailed, match="no queues"):
        await session.action_list("QueueStatus")


async def test_lists_are_whole(peer: Peer, connect: Connect) -> None:
    def channels(message: Message) -> bytes:
        key = f"ActionID: {message.action_id}\r\n"
        rows = "".join(f"Event: CoreShowChannel\r\n{key}Uniqueid: 1.{n}\r\n\r\n" for n in range(500))
        head = f"Response: Success\r\n{key}EventList: start\r\n\r\n"
        return (head + rows + f"Event: CoreShowChannelsComplete\r\n{key}EventList: Complete\r\n\r\n").encode()

    peer.script["CoreShowChannels"] = channels
    session = await connect()
    rows = await session.action_list("CoreShowChannels")
    assert [row.get("Uniqueid") for row in rows] == [f"1.{n}" for n in range(500)]


async def test_nothing_can_be_injected_into_an_action(peer: Peer, connect: Connect) -> None:
    session = await connect()
    count = len(peer.actions)
    with pytest.raises(ActionError):
        await session.action("Hangup", Channel="1\r\nAction: Originate")
    assert (await session.action("CoreSettings")).response == "Success"
    assert len(peer.actions) == count + 1


async def test_nobody_listens(unused_tcp_port: int) -> None:
    session = ManagerSession(AmiSettings(port=unused_tcp_port, reconnect_longest=0.1), {}, nothing)
    task = asyncio.create_task(session.run())
    await until(lambda: session.state is State.WAITING)
    assert "refused" in session.last_error.lower() or "connect" in session.last_error.lower()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(AmiError):
        await session.action("Ping")
