"""The AMI session against a peer that misbehaves: a small server in the test, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pbxd.asterisk import link, manager
from pbxd.asterisk.manager import AmiSettings, ManagerSession, State
from pbxd.asterisk.wire import Framer, Message
from pbxd.errors import ActionError, ActionFailed, ActionTimeout, AmiError, Disconnected

BOOTED = b"Event: FullyBooted\r\nPrivilege: system,all\r\nUptime: 60\r\nStatus: Fully Booted\r\n\r\n"
SECRET = "s3cret"  # noqa: S105 - of a peer that lives for one test


class Peer:
    """An AMI server that a test scripts; answers login, filters and pings by itself unless told not to."""

    def __init__(self) -> None:
        self.port = 0
        self.greeting = b"Asterisk Call Manager/11.0.0\r\n"
        self.actions: list[Message] = []
        self.silent: set[str] = set()
        self.refuse = False
        self.booted = True
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
                    if name == "Login" and self.booted:
                        writer.write(BOOTED)

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
            if self.refuse or (message.get("Key") != key and message.get("Secret") != SECRET):
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
OnConnect = Callable[[ManagerSession], Awaitable[None]]


@pytest.fixture
async def connect(peer: Peer) -> AsyncIterator[Connect]:
    tasks: list[asyncio.Task[None]] = []

    async def make(
        handlers: dict[str, Callable[[Message], None]] | None = None,
        wait: State | None = State.CONNECTED,
        on_connect: OnConnect | None = None,
        **changes: object,
    ) -> ManagerSession:
        values: dict[str, object] = {
            "reconnect_longest": 0.3,
            "refused_wait": 0.2,
            "action_timeout": 1.0,
            "ping_interval": 30.0,
        }
        settings = AmiSettings(port=peer.port, secret=SECRET, **(values | changes))  # type: ignore[arg-type]
        session = ManagerSession(settings, handlers or {}, on_connect or nothing)
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
    assert peer.names()[:2] == ["Challenge", "Login"]
    assert all(SECRET.encode() not in action.raw for action in peer.actions)


async def test_only_the_events_that_are_handled_are_asked_for(peer: Peer, connect: Connect) -> None:
    await connect({"Hangup": lambda _event: None, "QueueCallerJoin": lambda _event: None})
    assert peer.actions[1].get("Events") == "agent,call,system"
    filters = [action.get("MatchCriteria") for action in peer.actions if peer.name(action) == "Filter"]
    assert filters == [f"action(include),name({name})" for name in ("FullyBooted", "Hangup", "QueueCallerJoin")]


async def test_keyed_digits_are_never_asked_for(peer: Peer, connect: Connect) -> None:
    await connect({"SomethingNew": lambda _event: None})
    assert "dtmf" not in peer.actions[1].get("Events")
    assert peer.actions[1].get("Events") not in ("on", "all", "")


async def test_an_older_asterisk_gets_the_older_filter(peer: Peer, connect: Connect) -> None:
    def old(message: Message) -> bytes:
        outcome = b"Success" if message.get("Filter") else b"Error"
        return b"Response: " + outcome + f"\r\nActionID: {message.action_id}\r\n\r\n".encode()

    peer.script["Filter"] = old
    await connect({"Hangup": lambda _event: None})
    assert peer.actions[-1].get("Filter") == "^Event: (FullyBooted|Hangup)[[:space:]]"


async def test_a_user_who_may_not_filter_is_served_too(peer: Peer, connect: Connect) -> None:
    peer.script["Filter"] = refusal
    seen: list[str] = []
    await connect({"Hangup": lambda event: seen.append(event.get("N"))})
    peer.say(b"Event: Other\r\nN: 0\r\n\r\nEvent: Hangup\r\nN: 1\r\n\r\n")
    await until(lambda: seen == ["1"])


def refusal(message: Message) -> bytes:
    return f"Response: Error\r\nActionID: {message.action_id}\r\nMessage: Permission denied\r\n\r\n".encode()


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


def channel_list(count: int, event: str = "CoreShowChannel") -> Callable[[Message], bytes]:
    """An answer of `count` rows."""

    def answer(message: Message) -> bytes:
        key = f"ActionID: {message.action_id}\r\n"
        rows = "".join(f"Event: {event}\r\n{key}Uniqueid: 1.{n}\r\n\r\n" for n in range(count))
        head = f"Response: Success\r\n{key}EventList: start\r\n\r\n"
        return (head + rows + f"Event: {event}sComplete\r\n{key}EventList: Complete\r\n\r\n").encode()

    return answer


async def test_a_list_that_is_refused(peer: Peer, connect: Connect) -> None:
    peer.script["QueueStatus"] = refusal
    session = await connect()
    with pytest.raises(ActionFailed, match="Permission denied"):
        await session.action_list("QueueStatus")


async def test_a_list_is_whole_though_its_rows_have_a_handler(peer: Peer, connect: Connect) -> None:
    seen: list[Message] = []
    peer.script["DeviceStateList"] = channel_list(3, "DeviceStateChange")
    session = await connect({"DeviceStateChange": seen.append})
    assert len(await session.action_list("DeviceStateList")) == 3
    assert seen == []


async def test_a_list_without_end_is_cut(peer: Peer, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "MAX_LIST", 10)
    peer.script["CoreShowChannels"] = channel_list(20)
    session = await connect()
    with pytest.raises(ActionFailed, match="more than 10"):
        await session.action_list("CoreShowChannels")
    assert (await session.action("CoreSettings")).response == "Success"


async def test_lists_are_whole(peer: Peer, connect: Connect) -> None:
    peer.script["CoreShowChannels"] = channel_list(500)
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


async def test_the_snapshot_waits_until_asterisk_is_fully_booted(peer: Peer, connect: Connect) -> None:
    peer.booted = False
    session = await connect({}, None)
    await until(lambda: "Filter" in peer.names())
    assert session.state is State.LOGGING_IN
    peer.say(BOOTED)
    await until(lambda: session.connected)
    assert session.asterisk_started is not None


async def test_an_asterisk_that_does_not_say_that_it_is_booted(peer: Peer, connect: Connect) -> None:
    peer.booted = False
    session = await connect(boot_wait=0.05)
    assert session.asterisk_started is None


async def test_events_while_the_snapshot_is_taken_are_handled_after_it(peer: Peer, connect: Connect) -> None:
    seen: list[str] = []
    peer.script["CoreShowChannels"] = lambda message: (
        b"Event: Hangup\r\nN: 1\r\n\r\n" + channel_list(2)(message) + b"Event: Hangup\r\nN: 2\r\n\r\n"
    )

    async def snapshot(session: ManagerSession) -> None:
        rows = await session.action_list("CoreShowChannels")
        await session.action("CoreSettings")  # answered after the events
        seen.append(f"{len(rows)} channels")

    session = await connect({"Hangup": lambda event: seen.append(event.get("N"))}, on_connect=snapshot)
    await until(lambda: len(seen) == 3)
    peer.say(b"Event: Hangup\r\nN: 3\r\n\r\n")
    await until(lambda: len(seen) == 4)
    assert seen == ["2 channels", "1", "2", "3"]
    assert session.counters.events == 4  # with FullyBooted


async def test_a_snapshot_that_never_ends_holds_no_endless_events(
    peer: Peer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "MAX_HELD", 10)
    peer.script["CoreShowChannels"] = lambda _message: b"Event: Hangup\r\n\r\n" * 20

    async def snapshot(session: ManagerSession) -> None:
        await session.action_list("CoreShowChannels")

    session = await connect({"Hangup": lambda _event: None}, State.WAITING, on_connect=snapshot)
    assert "more than 10 events" in session.last_error


async def test_a_snapshot_that_fails_costs_the_connection_and_not_the_session(peer: Peer, connect: Connect) -> None:
    tries: list[int] = []

    async def snapshot(_session: ManagerSession) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise KeyError("a mistake of ours")

    session = await connect({}, None, on_connect=snapshot)
    await until(lambda: len(tries) == 2 and session.connected)
    assert session.counters.handler_errors == 1
    assert len(peer.writers) == 2


async def test_an_event_cannot_pass_for_an_answer(peer: Peer, connect: Connect) -> None:
    """A dialplan's UserEvent can carry any header, also the id of our action."""
    peer.script["CoreSettings"] = lambda message: (
        f"Event: UserEvent\r\nResponse: Success\r\nActionID: {message.action_id}\r\nForged: yes\r\n\r\n"
        f"Response: Success\r\nActionID: {message.action_id}\r\nForged: no\r\n\r\n"
    ).encode()
    session = await connect()
    assert (await session.action("CoreSettings")).get("Forged") == "no"


async def test_a_peer_that_says_nothing(peer: Peer, connect: Connect) -> None:
    peer.greeting = b""
    session = await connect(wait=State.WAITING, connect_timeout=0.1)
    assert "says nothing" in session.last_error


async def test_half_a_message_and_then_silence(peer: Peer, connect: Connect) -> None:
    session = await connect(ping_interval=0.05, action_timeout=0.1)
    peer.silent.add("Ping")
    peer.say(b"Event: Newchannel\r\nChannel: PJSIP/1")
    await until(lambda: session.state is State.WAITING)
    assert "Ping" in session.last_error
    peer.silent.clear()
    await until(lambda: session.connected)


async def test_a_line_of_100_mb_is_not_kept(peer: Peer, connect: Connect) -> None:
    session = await connect()
    writer = peer.writers[-1]
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            writer.write(b"x" * 1_000_000)
            await writer.drain()
    await until(lambda: session.counters.connects == 2)
    assert session.counters.bytes < 20_000_000  # the link was closed long before the end of the line


async def test_random_bytes(peer: Peer, connect: Connect) -> None:
    session = await connect({"Hangup": lambda _event: None})
    peer.say(random.Random(1).randbytes(200_000) + b"\r\n\r\n")
    assert (await session.action("CoreSettings")).response == "Success"
    assert session.counters.unknown >= 1


async def test_a_header_with_several_values_is_repeated(peer: Peer, connect: Connect) -> None:
    session = await connect()
    await session.action("Originate", Variable=["a=1", "b=2"])
    assert peer.actions[-1].all("Variable") == ["a=1", "b=2"]


async def test_ids_of_actions_are_made_by_the_session(peer: Peer, connect: Connect) -> None:
    session = await connect()
    count = len(peer.actions)
    with pytest.raises(ActionError):
        await session.action("Ping", ActionID="1")
    assert len(peer.actions) == count


async def test_nothing_is_sent_to_an_asterisk_that_does_not_answer_any_more(
    peer: Peer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "MAX_PENDING", 1)
    session = await connect()
    peer.silent.add("CoreStatus")
    waiting = asyncio.create_task(session.action("CoreStatus"))
    await until(lambda: "CoreStatus" in peer.names())
    with pytest.raises(ActionFailed, match="wait for an answer"):
        await session.action("CoreSettings")
    waiting.cancel()
    await asyncio.wait([waiting])
    assert (await session.action("CoreSettings")).response == "Success"


async def test_close_ends_the_session(peer: Peer) -> None:
    gone: list[str] = []
    settings = AmiSettings(port=peer.port, secret=SECRET)
    session = ManagerSession(settings, {}, nothing, lambda: gone.append("down"))
    task = asyncio.create_task(session.run())
    await until(lambda: session.connected)
    session.close()
    await task
    assert session.state is State.STOPPED
    assert gone == ["down"]


async def test_credentials_that_cannot_be_sent_are_for_a_person_to_mend(connect: Connect) -> None:
    session = await connect(wait=State.REFUSED, username="pbxd\r\nAction: Originate")
    assert "line break" in session.last_error


async def test_a_host_name_that_is_none() -> None:
    session = ManagerSession(AmiSettings(host="a..b", secret=SECRET), {}, nothing)
    task = asyncio.create_task(session.run())
    await until(lambda: session.state is State.WAITING)
    assert "a..b" in session.last_error
    session.close()
    await task


async def test_what_panoramisk_does_by_itself_is_closed(connect: Connect) -> None:
    session = await connect()
    for door in ("connect", "send_action", "send_awaiting_actions", "ping", "connection_lost"):
        with pytest.raises(NotImplementedError):
            getattr(session.manager, door)()


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, form, plain))
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
async def tls_peer(tmp_path: Path) -> AsyncIterator[tuple[Peer, Path]]:
    """A peer that speaks TLS, and the certificate that it shows."""
    cert, key = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    made = Peer()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    yield made, cert
    server.close()
    for writer in made.writers:
        writer.transport.abort()


async def over_tls(peer: Peer, **changes: object) -> ManagerSession:
    """A session that has come as far as it does."""
    values: dict[str, object] = {"host": "localhost", "port": peer.port, "secret": SECRET, "tls": True}
    session = ManagerSession(AmiSettings(**(values | changes)), {}, nothing)  # type: ignore[arg-type]
    task = asyncio.create_task(session.run())
    await until(lambda: session.state in (State.CONNECTED, State.WAITING))
    state = session.state
    session.close()
    await task
    session.state = state
    return session


async def test_tls(tls_peer: tuple[Peer, Path]) -> None:
    peer, cert = tls_peer
    assert (await over_tls(peer, ca_file=cert)).connected
    assert peer.names()[0] == "Login"


async def test_a_certificate_that_nobody_vouches_for_is_refused(tls_peer: tuple[Peer, Path]) -> None:
    peer, _ = tls_peer
    session = await over_tls(peer)
    assert session.state is State.WAITING
    assert "certificate" in session.last_error.lower()
    assert peer.actions == []  # the secret was not sent


async def test_a_certificate_is_not_looked_at_if_the_admin_says_so(tls_peer: tuple[Peer, Path]) -> None:
    assert (await over_tls(tls_peer[0], verify=False)).connected


async def test_a_missing_ca_file_is_named(tls_peer: tuple[Peer, Path], tmp_path: Path) -> None:
    session = await over_tls(tls_peer[0], ca_file=tmp_path / "missing.pem")
    assert "missing.pem" in session.last_error
