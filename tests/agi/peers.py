"""Peers of a real FastAGI server over real sockets: they play Asterisk, well or badly."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from pbxd.agi.application import Application, Services
from pbxd.agi.routes import Routes
from pbxd.agi.scripts import Scripts
from pbxd.agi.server import AgiServer
from pbxd.config.agi import Agi

PATIENCE = 10.0  # s for what has to come about


def environment(script: str, *arguments: str, **more: str) -> bytes:
    values = {"network": "yes", "network_script": script, "request": f"agi://127.0.0.1/{script}", "channel": "PJSIP/101-00000001",
              "uniqueid": "1795618355.1", "callerid": "101", "calleridname": "Phone 101", "context": "phones"}  # fmt: skip
    values |= {f"arg_{n}": word for n, word in enumerate(arguments, 1)} | more
    return "".join(f"agi_{name}: {value}\n" for name, value in values.items()).encode() + b"\n"


class Peer:
    """A connection that plays Asterisk by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def line(self) -> str:
        """The next command; empty at the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            try:
                return (await self.reader.readline()).decode().rstrip("\n")
            except ConnectionError:
                return ""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def play(self, answer: Callable[[str], bytes] = lambda _: b"200 result=0\n") -> list[str]:
        """Answer each command; all of them, when the server has closed."""
        commands = []
        while line := await self.line():
            commands.append(line)
            await self.send(answer(line))
        self.writer.close()
        return commands

    def close(self) -> None:
        self.writer.close()


class Host:
    """A server with applications of a test, on a port of its own."""

    def __init__(self, server: AgiServer) -> None:
        self.server = server
        self.peers: list[Peer] = []

    async def peer(self, data: bytes = b"") -> Peer:
        host, _, port = self.server.listening[0].rpartition(":")
        peer = Peer(*await asyncio.open_connection(host, int(port)))
        self.peers.append(peer)
        await peer.send(data)
        return peer

    async def session(
        self, script: str, *arguments: str, answer: Callable[[str], bytes] | None = None, **more: str
    ) -> list[str]:
        """One session as a good Asterisk has it: the commands that came."""
        peer = await self.peer(environment(script, *arguments, **more))
        return await (peer.play(answer) if answer else peer.play())

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - what it looks at is a server's own state
                await asyncio.sleep(0.01)

    async def good(self) -> None:
        """Another call gets what it asks for."""
        assert (await self.session("ok"))[-1] == STATUS("OK")


def STATUS(name: str) -> str:
    return f'SET VARIABLE "PBXD_STATUS" "{name}"'


async def ok(session: Any, _request: Any, _services: Any) -> None:
    await session.verbose("hello")


@contextlib.asynccontextmanager
async def serving(
    applications: dict[str, Application] | None = None, folder: Path = Path("/nonexistent"), **keys: Any
) -> AsyncIterator[Host]:
    """A running server."""
    scripts, listen = keys.pop("scripts", {}), keys.pop("listen", "127.0.0.1:0")
    scripts = {"folder": str(folder), "own_user": "user" not in scripts and "service" not in scripts} | scripts
    config = Agi.model_validate({"listen": "127.0.0.1:1", "scripts": scripts} | keys)
    services = Services(config.model_copy(update={"listen": listen}))
    server = AgiServer(services, Routes({"ok": ok} | (applications or {})), Scripts(services))
    task = asyncio.create_task(server.run())
    host = Host(server)
    try:
        await host.until(lambda: bool(server.listening))
        yield host
        await server.drain()
    finally:
        for peer in host.peers:
            peer.close()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
