"""FastAGI sessions a second: pbxd beside panoramisk's `fast_agi` and beside a bare asyncio server that only answers.

The same conversation for all three, over real sockets on loopback: the environment of a real Asterisk, `ANSWER`, then
`PBXD_STATUS` set, as pbxd does at the end of every session. Each server is a process of its own on the same event loop; the
client is another. Rounds are taken in turn, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import uvloop
from panoramisk.fast_agi import Application as Panoramisk

from bench.table import show
from lab.asterisk import cpu_seconds
from pbxd.agi.application import Services
from pbxd.agi.routes import Routes
from pbxd.agi.scripts import Scripts
from pbxd.agi.server import AgiServer
from pbxd.agi.session import Request, Session
from pbxd.config.agi import Agi

HOST = "127.0.0.1"
ROUNDS = 60  # short ones, so that each stands beside its neighbours when the machine has other work
SESSIONS = 500  # a round
TOGETHER = 50
MANY = 1000
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
TARGETS = {"panoramisk 1.4 fast_agi": 1.2, "bare asyncio": 0.9}
ENVIRONMENT = b"""agi_network: yes
agi_network_script: hello
agi_request: agi://127.0.0.1/hello
agi_channel: PJSIP/101-00000001
agi_language: en
agi_type: PJSIP
agi_uniqueid: 1795618355.1
agi_version: 22.10.1
agi_callerid: 101
agi_calleridname: Phone 101
agi_callingpres: 0
agi_callingani2: 0
agi_callington: 0
agi_callingtns: 0
agi_dnid: 500
agi_rdnis: unknown
agi_context: phones
agi_extension: 500
agi_priority: 1
agi_enhanced: 0.0
agi_accountcode:
agi_threadid: 140619043407552

"""
Serve = Callable[[int], Awaitable[None]]


async def ours(port: int) -> None:
    """pbxd's own server, as the daemon has it."""

    async def hello(session: Session, _request: Request, _services: Services) -> None:
        await session.answer()

    services = Services(Agi.model_validate({"listen": f"{HOST}:{port}"}))
    await AgiServer(services, Routes({"hello": hello}), Scripts(services)).run()


async def panoramisk(port: int) -> None:
    """panoramisk's."""

    async def hello(request: Any) -> None:  # noqa: ANN401 - it has no types
        await request.send_command("ANSWER")
        await request.send_command('SET VARIABLE "PBXD_STATUS" "OK"')

    app = Panoramisk(loop=asyncio.get_running_loop())
    app.add_route("hello", hello)
    server = await asyncio.start_server(app.handler, HOST, port, backlog=1024)
    await server.serve_forever()


async def bare(port: int) -> None:
    """The least that answers: streams, no parsing, no routes, no limits."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\n\n")
        for command in (b"ANSWER\n", b'SET VARIABLE "PBXD_STATUS" "OK"\n'):
            writer.write(command)
            await reader.readline()
        writer.close()

    server = await asyncio.start_server(handle, HOST, port, backlog=1024)
    await server.serve_forever()


class Call(asyncio.Protocol):
    """One session as Asterisk has it: every command is answered, until the server closes."""

    def __init__(self, done: asyncio.Future[int]) -> None:
        self.done = done
        self.answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what the call is."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(ENVIRONMENT)

    def data_received(self, data: bytes) -> None:
        """Answer each command."""
        count = data.count(b"\n")
        self.answered += count
        self.transport.write(b"200 result=0\n" * count)

    def connection_lost(self, exc: Exception | None) -> None:
        """The session is over."""
        if not self.done.done():
            self.done.set_result(-1 if exc else self.answered)


async def load(port: int, sessions: int, together: int) -> tuple[float, list[float], int]:
    """Sessions a second, how long each took, and how many were not as they should be."""
    loop = asyncio.get_running_loop()
    left, times, wrong = iter(range(sessions)), [], 0

    async def caller() -> None:
        nonlocal wrong
        for _ in left:
            start = time.perf_counter()
            done: asyncio.Future[int] = loop.create_future()
            await loop.create_connection(lambda done=done: Call(done), HOST, port)  # type: ignore[misc]
            wrong += await done != 2
            times.append(time.perf_counter() - start)

    begun = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(together)))
    return sessions / (time.perf_counter() - begun), times, wrong


def process(serve: Serve, port: int, loop: str) -> None:
    """A server's own process."""
    gc.freeze()  # as the daemon does
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(cast("Any", serve)(port))


async def listening(port: int) -> None:
    """Return when somebody answers there."""
    while True:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.write(ENVIRONMENT)  # panoramisk turns for ever on a peer that connects and says nothing
            await asyncio.sleep(0.1)
            writer.close()
            return


async def measure(ports: dict[str, int], pids: dict[str, int]) -> tuple[list[list[Any]], list[list[Any]], int]:
    """Rows for 50 at once, rows for 1,000 at once, and how many sessions of ours went wrong."""
    for port in ports.values():
        await listening(port)
    rates: dict[str, list[float]] = {name: [] for name in ports}
    times: dict[str, list[float]] = {name: [] for name in ports}
    wrong = dict.fromkeys(ports, 0)
    used = dict.fromkeys(ports, 0.0)
    for _ in range(ROUNDS):
        for name, port in ports.items():
            before = cpu_seconds(pids[name])
            rate, taken, faults = await load(port, SESSIONS, TOGETHER)
            used[name] += cpu_seconds(pids[name]) - before
            rates[name].append(rate)
            times[name] += taken
            wrong[name] += faults
    rows = []
    for name, found in rates.items():
        ratio = statistics.median(own / other for own, other in zip(rates["pbxd"], found, strict=True))
        cpu = used[name] / (ROUNDS * SESSIONS) * 1_000_000
        rows.append([name, round(statistics.median(found)), ratio, round(cpu), *tail(times[name]), wrong[name]])
    many = []
    for name, port in ports.items():
        rate, taken, faults = await load(port, 5 * MANY, MANY)
        many.append([name, round(rate), *tail(taken), faults])
        wrong[name] += faults
    return rows, many, wrong["pbxd"]


def tail(times: list[float]) -> tuple[float, float]:
    """Median and 99th percentile, in ms."""
    cuts = statistics.quantiles(times, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


def main() -> int:
    """Run; exit 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--loop", choices=LOOPS, default="asyncio", help="event loop of all three servers")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    servers: dict[str, Serve] = {"pbxd": ours, "panoramisk 1.4 fast_agi": panoramisk, "bare asyncio": bare}
    ports = {name: 45731 + number for number, name in enumerate(servers)}
    context = multiprocessing.get_context("spawn")
    running = [
        context.Process(target=process, args=(serve, ports[name], arguments.loop), daemon=True)
        for name, serve in servers.items()
    ]
    for each in running:
        each.start()
    pids = {name: each.pid or 0 for name, each in zip(servers, running, strict=True)}
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            rows, many, wrong = runner.run(measure(ports, pids))
    finally:
        for each in running:
            each.kill()
            each.join()
    head = ("server", "sessions/s", "pbxd is times", "CPU us", "median ms", "p99 ms", "errors")
    show(f"FastAGI sessions, {TOGETHER} at once, {arguments.loop}", head, rows, as_json=arguments.json)
    show(f"FastAGI sessions, {MANY} at once, {arguments.loop}", (*head[:2], *head[4:]), many, as_json=arguments.json)
    ratios = {row[0]: row[2] for row in rows}
    return 1 if wrong or any(ratios[name] < target for name, target in TARGETS.items()) else 0


if __name__ == "__main__":
    sys.exit(main())
