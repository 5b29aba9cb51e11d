"""The box's end, as small as it can be: it signs in, says frames and hears frames. What it says wrong it says on purpose."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncssh

from pbxd.hub.reading import catch_up
from pbxd.uplink.bodies import body_of
from pbxd.uplink.frames import DOWN, ENROL_DOWN, Decoder, Frame, encode, frame
from pbxd.uplink.notes import Checkpoint, Signer
from pbxd.uplink.vocabulary import BANNER, CIPHERS, ENROL_SUBSYSTEM, KEY_EXCHANGES, UPLINK_SUBSYSTEM
from tests.hub.running import Hub

PATIENCE = 60.0  # s after which a test gives up waiting

CREATED = "2026-11-28T07:00:00Z"
HEALTH: dict[str, Any] = {
    "at": CREATED,
    "uptime": 1,
    "versions": {"pbxd": "0.1.0", "python": "3.11.7"},
    "cpu": {"count": 2, "load": [0.1, 0.2, 0.3], "busy": 0.1},
    "memory": {"total": 1, "available": 1, "pbxd": 1},
    "disks": {},
    "temperatures": [],
    "asterisk": {"connected": True, "calls": 0, "open_calls": 0},
    "trunks": [],
    "doctor": [],
    "usage": {},
}
CONFIG: dict[str, Any] = {
    "site": "pbx",
    "zone": "Europe/Berlin",
    "version": "0.1.0",
    "share_statistics": True,
    "report": {"service_level": 20.0, "service_levels": {}, "service_target": 0.8, "short_abandon": 5.0, "wrapup": 0.0},
    "config": {},
    "counts": {},
    "tickets": [],
    "messages": [],
}


def health(uptime: int) -> bytes:
    """The body of an entry, another for each number."""
    return body_of("health", {**HEALTH, "uptime": uptime})


def config(**more: Any) -> bytes:
    """The body of an entry of class `config`."""
    return body_of("config", {**CONFIG, **more})


def entry(number: int, body: bytes, class_: str = "health", **more: Any) -> Frame:
    """An entry in one piece."""
    fields = {
        "number": number, "class_": class_, "size": len(body), "sha256": hashlib.sha256(body).hexdigest(), "offset": 0,
        "created": CREATED, **more,
    }  # fmt: skip
    return frame("entry", body, **fields)


def pieces(number: int, body: bytes, length: int, start: int = 0, class_: str = "health") -> list[Frame]:
    """The same in pieces, from `start` on."""
    fields = entry(number, body, class_).fields
    return [
        Frame("entry", {**fields, "offset": offset}, body[offset : offset + length])
        for offset in range(start, len(body), length)
    ]


class BannerClient(asyncssh.SSHClient):
    """Keeps what the hub says at the door."""

    def __init__(self) -> None:
        self.banners: list[str] = []

    def auth_banner_received(self, msg: str, _lang: str) -> None:
        self.banners.append(msg.strip())


class Refused(Exception):
    """The hub does not let us in."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Link:
    """A channel of frames, from the box's end."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes], decoder: Decoder) -> None:
        self.process = process
        self._decoder = decoder
        self._frames: deque[Frame] = deque()

    async def send(self, *frames: Frame) -> None:
        await self.raw(b"".join(map(encode, frames)))

    async def raw(self, data: bytes) -> None:
        self.process.stdin.write(data)
        await self.process.stdin.drain()

    async def next(self) -> Frame | None:
        """The next frame; None when the hub says no more."""
        async with asyncio.timeout(PATIENCE):
            while not self._frames:
                data = await self.process.stdout.read(65536)
                if not data:
                    return None
                self._frames.extend(self._decoder.feed(data))
        return self._frames.popleft()

    async def until(self, *kinds: str) -> Frame:
        """The next frame of these types; others are passed over."""
        while (one := await self.next()) is not None:
            if one.type in kinds:
                return one
        raise EOFError(f"the hub ended before {kinds}")

    async def ended(self) -> list[Frame]:
        """All frames until the hub ends the channel."""
        found = []
        while (one := await self.next()) is not None:
            found.append(one)
        return found


class Peer:
    """A box."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.ledger = Signer("pbxd-ledger-test", os.urandom(32))
        self.id = ""
        self.certificate = ""
        self.enrolled: Frame | None = None

    @property
    def public(self) -> str:
        return self.key.export_public_key().decode().strip()

    @asynccontextmanager
    async def connection(self, user: str, **credentials: Any) -> AsyncIterator[asyncssh.SSHClientConnection]:
        """A connection to the hub, cut behind the block. Refused, with the hub's word."""
        client = BannerClient()
        known = asyncssh.import_known_hosts(f"[{self.hub.address}]:{self.hub.port} {self.hub.host_key}")
        try:
            made = await asyncssh.connect(
                self.hub.address, self.hub.port, username=user, known_hosts=known, config=None, agent_path=None,
                client_factory=lambda: client, kex_algs=list(KEY_EXCHANGES), encryption_algs=list(CIPHERS),
                **{"client_keys": None, **credentials},
            )  # fmt: skip
        except asyncssh.PermissionDenied as error:
            why = next((line.removeprefix(BANNER) for line in client.banners if line.startswith(BANNER)), "")
            raise Refused(why) from error
        try:
            yield made
        finally:
            made.abort()
            await made.wait_closed()

    def signed(self) -> dict[str, Any]:
        """What signs in with the certificate."""
        return {"client_keys": [(self.key, asyncssh.import_certificate(self.certificate))]}

    async def ask(self, token: str, **more: Any) -> Frame:
        """Enrol; the hub's answer."""
        async with self.connection("enrol", password=token) as connection:
            process = await connection.create_process(subsystem=ENROL_SUBSYSTEM, encoding=None)
            link = Link(process, Decoder(ENROL_DOWN))
            fields = {"protocol": 1, "key": self.public, "ledger": self.ledger.verifier.text, "name": "Praxis", **more}
            await link.send(frame("enrol", **fields))
            answer = await link.next()
            assert answer is not None
            return answer

    async def enrol(self, token: str = "", **more: Any) -> Frame:
        """Enrol, and keep what came."""
        answer = await self.ask(token or await self.hub.token(), **more)
        assert answer.type == "enrolled", answer
        self.id, self.certificate, self.enrolled = answer["box"], answer["certificate"], answer
        return answer

    def hello(self, size: int = 0) -> Frame:
        return frame("hello", protocol=1, version="0.1.0", ledger=self.ledger.verifier.fingerprint, size=size)

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[Link]:
        """The uplink's channel, before anything was said."""
        async with self.connection("box", **self.signed()) as connection:
            yield Link(await connection.create_process(subsystem=UPLINK_SUBSYSTEM, encoding=None), Decoder(DOWN))

    @asynccontextmanager
    async def uplink(self, size: int = 10_000) -> AsyncIterator[tuple[Link, Frame]]:
        """The uplink behind its greeting: (link, welcome)."""
        async with self.channel() as link:
            await link.send(self.hello(size))
            yield link, await link.until("welcome")

    async def read(self) -> None:
        """Everything that the hub holds has been read, by its own process or by us."""
        await self.hub.ask(catch_up)

    def checkpoint(self, size: int, root: bytes) -> Frame:
        text = Checkpoint(self.ledger.name, size, root).text
        return frame("checkpoint", self.ledger.sign(text).encode())
