"""`pbxctl calls import`: a history read page by page, and sent to the daemon batch by batch; what it shows meanwhile."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pbxd.asterisk.cel_file import CelFile
from pbxd.calls.history import History, Page
from pbxd.calls.interpreter import Interpreter
from pbxd.calls.record import as_json
from pbxd.calls.site import Site
from pbxd.cli.client import Client
from pbxd.errors import ControlError, SourceError
from pbxd.sources import understand
from pbxd.stats.periods import local_zone

ROUTE = "/v1/calls/import"
BATCH_LINES = 20_000  # lines of one transaction: half a second of the daemon's work
BATCH_BYTES = 8 * 1024 * 1024  # bytes of them at most, about: half of what the daemon takes
TELL_EVERY = 5.0  # s between lines of progress where there is no terminal


def zone_of(name: str) -> tzinfo:
    """The zone of this name; empty is the machine's own. SourceError if there is none."""
    try:
        return ZoneInfo(name or local_zone())
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SourceError(f"{name} is no time zone: write --zone Europe/Berlin") from error


@contextlib.contextmanager
def opened(source: str, columns: Sequence[str], table: str, zone: tzinfo) -> Iterator[History]:
    """The history that `source` names: a file, `-`, or the URL of a database. SourceError if it cannot be read."""
    history: History
    if source == "-":
        history = CelFile("standard input", sys.stdin.buffer, None, zone, columns)
    elif "://" in source:
        from pbxd.stats.cel_table import CelTable  # noqa: PLC0415 - a file needs no SQLAlchemy

        history = CelTable(source, table, zone, columns)
    else:
        history = CelFile.open(Path(source), zone, columns)
    try:
        yield history
    finally:
        history.close()


def records(history: History, trunks: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The records of a history, without a daemon; lines that cannot be understood are named on standard error."""
    interpreter = Interpreter(Site(trunks))
    unit = "byte" if history.unit == "bytes" else "row"
    for page in history.pages(""):
        for number, line in page.lines:
            for event, fault in understand(line):
                if event is None:
                    typer.echo(f"{unit} {number}: {fault}", err=True)
                else:
                    yield from map(as_json, interpreter.take(event))
    yield from map(as_json, interpreter.finish())


def count(history: History) -> str:
    """Read everything, write nothing: what an import would do."""
    interpreter = Interpreter(Site())
    began, lines, rejects = time.monotonic(), 0, 0
    with meter(history, "") as show:
        for page in history.pages(""):
            for _, line in page.lines:
                for event, _ in understand(line):
                    rejects += event is None
                    if event is not None:
                        interpreter.take(event)
            lines += len(page.lines)
            show(page.done, interpreter.calls)
    interpreter.finish()
    return "dry run: " + summary(interpreter.calls, lines, rejects, time.monotonic() - began)


def summary(calls: int, lines: int, rejects: int, seconds: float) -> str:
    """The last line of an import."""
    rate = lines / seconds if seconds else 0.0
    return f"{calls} calls from {lines} lines, {rejects} lines not understood, in {seconds:.1f} s ({rate:,.0f} lines/s)"


def send(client: Client, history: History, *, again: bool) -> str:
    """Send to the daemon what it does not have yet; what came of it. ControlError if it goes away: then the same once more."""
    begun = client.get(ROUTE, source=history.id)
    if again:
        begun = {**begun, "position": "", "lines": 0, "records": 0, "rejects": 0, "complete": False}
    elif begun["position"]:
        state = "is complete" if begun["complete"] else "was begun"
        typer.echo(
            f"{history.name} {state}: going on behind {begun['lines']} lines and {begun['records']} calls", err=True
        )
    began, done, late = time.monotonic(), begun, 0
    try:
        with meter(history, begun["position"]) as show:
            for page, last in batches(history.pages(begun["position"]), begun["position"]):
                if not page.lines and done["complete"]:
                    continue  # there is nothing new
                body = b"".join([b"%d %s\n" % numbered for numbered in page.lines])
                query = {"after": done["position"], "position": page.position, "last": int(last), "again": int(again)}
                done = client.post(ROUTE, body, patient=True, source=history.id, **query)  # rolling up takes its time
                again = False
                late += done["late"]
                show(page.done, done["records"])
    except ControlError as error:
        raise ControlError(
            f"{error}\nthe same command again goes on behind the {done['lines']} lines that are read"
        ) from error
    calls, lines, rejects = (done[name] - begun[name] for name in ("records", "lines", "rejects"))
    text = summary(calls, lines, rejects, time.monotonic() - began)
    return text + (f"; {late} calls not taken: they are older than the calls that are kept" if late else "")


def batches(pages: Iterator[Page], position: str) -> Iterator[tuple[Page, bool]]:
    """Pages put together to what one transaction takes, each with whether it is the last; there is always one."""
    gathered = Page([], position, 0)
    size = 0
    for page in pages:
        if gathered.lines and (len(gathered.lines) + len(page.lines) > BATCH_LINES or size > BATCH_BYTES):
            yield gathered, False
            gathered, size = Page([], gathered.position, gathered.done), 0
        gathered = Page(gathered.lines + page.lines, page.position, page.done)
        size += sum(len(line) for _, line in page.lines)
    yield gathered, True


class Show(Protocol):
    """Tells how far an import has come."""

    def __call__(self, done: int, calls: int) -> None:
        """`done` bytes or rows have been read, and `calls` calls made."""


@contextlib.contextmanager
def meter(history: History, position: str) -> Iterator[Show]:
    """A bar on a terminal, else a line now and then."""
    total = history.total(position)
    start = int(position or 0) if history.unit == "bytes" else 0  # rows are counted from there already
    if sys.stderr.buffer.isatty():
        with bar(history.unit, start, total) as show:
            yield show
    else:
        yield teller(history.unit, start, total, time.monotonic)


@contextlib.contextmanager
def bar(unit: str, start: int, total: int | None) -> Iterator[Show]:
    """How far, how fast, how long still."""
    amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    rest = (TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[calls]:,} calls"))
    began = time.monotonic()
    with Progress(BarColumn(), amount, *rest, console=Console(file=sys.__stderr__)) as progress:
        task = progress.add_task("", total=total, completed=start, calls=0, rate="")

        def show(done: int, calls: int) -> None:
            progress.update(
                task, completed=done, calls=calls, rate=rate_of(unit, done - start, time.monotonic() - began)
            )

        yield show


def teller(unit: str, start: int, total: int | None, clock: Callable[[], float]) -> Show:
    """A line on standard error, at most one each `TELL_EVERY` seconds."""
    began = told = clock()

    def show(done: int, calls: int) -> None:
        nonlocal told
        now = clock()
        if now - told < TELL_EVERY:
            return
        told = now
        of = f" of {total:,}" if total else ""
        left = f", {(total - done) * (now - began) / (done - start):.0f} s left" if total and done > start else ""
        rate = rate_of(unit, done - start, now - began)
        typer.echo(f"{done:,}{of} {unit}, {rate}{left}, {calls:,} calls", err=True)

    return show


def rate_of(unit: str, done: int, seconds: float) -> str:
    """What is done in a second."""
    rate = done / seconds if seconds else 0.0
    return f"{rate / 1e6:.1f} MB/s" if unit == "bytes" else f"{rate:,.0f} rows/s"
