"""AMI events a second: our wire and dispatch, panoramisk's, and a minimal lazy parser, on the same bytes in the same run.

    python -m bench.ami [--capture FILE] [--json]

The synthetic stream has events of 26 headers and 590 bytes, given in reads of 64 KiB. Exit 1 if our dispatch is not at least 8
times panoramisk's.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from panoramisk.ami_protocol import AMIProtocol
from panoramisk.manager import Manager

from bench.table import show
from pbxd.asterisk.link import AmiCounters, AmiLink
from pbxd.asterisk.wire import MAX_MESSAGE, Message, event_name

READ = 64 * 1024
HEADERS = 26
EVENT_BYTES = 590
EVENTS = 40_000
ROUNDS = 5
TARGET = 8.0


def synthetic(count: int) -> bytes:
    """`count` events of 26 headers and 590 bytes."""
    lines = [
        "Event: Newstate",
        "Privilege: call,all",
        "Channel: PJSIP/101-0000002a",
        "ChannelState: 6",
        "Uniqueid: 1795485056.42",
    ]
    lines += [f"Header{n:02}: value" for n in range(HEADERS - len(lines) - 1)]
    text = "\r\n".join(lines)
    text += "\r\nLinkedid: " + "1" * (EVENT_BYTES - len(text) - len("\r\nLinkedid: ") - 4) + "\r\n\r\n"
    return text.encode() * count


def reads(stream: bytes) -> list[bytes]:
    """The stream as it comes from a socket."""
    return [stream[start : start + READ] for start in range(0, len(stream), READ)]


def three(event: Any) -> None:  # noqa: ANN401 - of either library
    """What a handler of live state does: it reads three headers."""
    event.get("Channel")
    event.get("Uniqueid")
    event.get("ChannelState")


def every(event: Message) -> None:
    """A handler that wants all headers."""
    event.items()


def ours(handler: Callable[[Message], None] | None, names: set[bytes]) -> Callable[[list[bytes]], None]:
    """Our own link: bytes as asyncio gives them, to handlers."""

    def run(chunks: list[bytes]) -> None:
        handlers = dict.fromkeys((name.decode() for name in names), handler) if handler else {}
        counters = AmiCounters()
        link = AmiLink(handlers, counters, MAX_MESSAGE)
        link.greeting.set_result("11.0.0")
        for chunk in chunks:
            link.data_received(chunk)
        if counters.handler_errors or link.closed.done():
            raise RuntimeError("the stream is not what the bench wants")

    return run


def panoramisk(handler: Callable[[Any], None], names: set[bytes]) -> Callable[[list[bytes]], None]:
    """panoramisk's own protocol and dispatch."""

    def run(chunks: list[bytes]) -> None:
        manager = Manager(log=logging.getLogger("quiet"))
        for name in names:
            manager.register_event(name.decode(), lambda _manager, event: handler(event))
        protocol = AMIProtocol()
        protocol.connection_made(None)
        protocol.factory = manager
        protocol.encoding = "utf8"
        protocol.version = "11"
        for chunk in chunks:
            protocol.data_received(chunk)

    return run


def minimal(chunks: list[bytes]) -> None:
    """The least that cuts and finds names: what a parser costs that hands nothing over."""
    rest = b""
    for chunk in chunks:
        *blocks, rest = (rest + chunk).split(b"\r\n\r\n")
        for block in blocks:
            block[7 : block.find(b"\r\n")]


def measure(stream: bytes) -> list[tuple[str, int, float]]:
    """(what, events a second, ratio to panoramisk), medians of rounds taken in turn."""
    chunks = reads(stream)
    blocks = [block for block in stream.split(b"\r\n\r\n") if block]
    names = {event_name(block) for block in blocks} - {b""}
    runs: dict[str, Callable[[list[bytes]], None]] = {
        "panoramisk 1.4, dispatched": panoramisk(three, names),
        "pbxd, dispatched, 3 headers read": ours(three, names),
        "pbxd, dispatched, all headers read": ours(every, names),
        "pbxd, dispatched, none read": ours(lambda _event: None, names),
        "pbxd, no handler": ours(None, names),
        "minimal lazy parser, no dispatch": minimal,
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            run(chunks)
            times[name].append(time.perf_counter() - start)
    rates = {name: len(blocks) / statistics.median(taken) for name, taken in times.items()}
    base = rates["panoramisk 1.4, dispatched"]
    return [(name, round(rate), rate / base) for name, rate in rates.items()]


async def main() -> int:
    """Run; panoramisk wants a loop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--capture", type=Path, default=Path(__file__).parent / "data" / "ami-capture.bin")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    head = ("what", "events/s", "ratio to panoramisk")
    rows = measure(synthetic(EVENTS))
    show("AMI events of 26 headers, 590 bytes", head, rows, as_json=arguments.json)
    captured = arguments.capture.read_bytes().partition(b"\r\n")[2]
    captured *= max(1, EVENTS * EVENT_BYTES // len(captured))
    show("AMI stream of a real Asterisk", head, measure(captured), as_json=arguments.json)
    ratio = next(ratio for name, _, ratio in rows if name == "pbxd, dispatched, 3 headers read")
    return 0 if ratio >= TARGET else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
