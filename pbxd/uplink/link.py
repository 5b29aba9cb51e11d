"""The link to the vendor's hub: a process of its own, under its own user, which reads the outbox and nothing else of the box.

    python -m pbxd.uplink.link OUTBOX STATE [USER]

It runs while `OUTBOX/enabled` is there and `OUTBOX/off` is not. When that ends it closes its connection and exits: switched off,
there is no process, no connection, and no look-up of a name. It listens on nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import encodings.idna  # noqa: F401 - names are looked up by it, and our later user may not be able to read it
import os
import pwd
import signal
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncssh
import structlog
import uvloop

from pbxd import logs
from pbxd.errors import FrameError, HubAway, HubRefused, HubUntrusted, LedgerError, UplinkError
from pbxd.family import PR_SET_NO_NEW_PRIVS, prctl
from pbxd.heap import keep_freed_memory
from pbxd.uplink.conversation import Conversation
from pbxd.uplink.enrolment import LinkSettings
from pbxd.uplink.frames import DOWN, LARGEST_BODY, Decoder, encode
from pbxd.uplink.notes import Verifier
from pbxd.uplink.outbox import Outbox
from pbxd.uplink.place import Place
from pbxd.uplink.reconnect import Reconnect
from pbxd.uplink.secure import WHYS, Identity, Meter, dial
from pbxd.uplink.support_line import SupportLine
from pbxd.uplink.vocabulary import BOX_USER, UPLINK_SUBSYSTEM, time_of, time_text
from pbxd.uplink.watch import Switch, Watch

STATUS = 10.0  # s between two looks at the socket for the status
CHECKPOINT = 600.0  # s between two checkpoints on one connection
CLOCK = 60.0  # s of difference to the hub's clock that are worth a word
CLOCK_FAR = 86_400.0  # s of it with which nothing is sent: certificates that end are no limit to a clock that is behind
SMALLEST_PIECE = 4096  # bytes
READ = 64 * 1024  # bytes

WHY: Mapping[type[UplinkError], str] = {HubUntrusted: "untrusted"}

log = structlog.get_logger("pbxd.uplink")


class Link:
    """One running link."""

    def __init__(self, outbox: Path, state: Path) -> None:
        self.outbox = Outbox(outbox)
        self.place = Place(state, self.outbox)
        self._meter: Meter | None = None  # of the connection, while there is one
        self._status: dict[str, Any] = {"state": "starting", "pid": os.getpid()}

    async def run(self) -> None:
        """Keep the connection up until the link is switched off, or a signal comes. LedgerError if it cannot start."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        self.place.open()
        self._watch = Watch(self.outbox.folder)
        try:
            if self.outbox.allowed:  # else not even the first step of a connection is made
                await self._until_it_may_not(stop)
        finally:
            self._tell("stopped" if self.outbox.allowed else "off")
            self._watch.close()
            self.place.close()

    async def _until_it_may_not(self, stop: asyncio.Event) -> None:
        running = asyncio.create_task(self._forever())
        line = SupportLine(self.outbox, self.place, self._watch)
        visits = asyncio.create_task(line.run())
        ends = [asyncio.create_task(self._off()), asyncio.create_task(stop.wait())]

        def cut() -> None:
            for meter in (self._meter, line.meter):
                if meter is not None:
                    meter.cut()

        Switch(self.outbox.folder, lambda: self.outbox.allowed, cut).start()
        await asyncio.wait([running, visits, *ends], return_when=asyncio.FIRST_COMPLETED)
        cut()  # before anything else, which may wait for the disk
        for task in (running, visits, *ends):
            task.cancel()
        await asyncio.wait([running, visits, *ends])
        for task in (running, visits):
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _off(self) -> None:
        """Wait until the link may run no more."""
        while self.outbox.allowed:
            await self._watch.change()

    async def _forever(self) -> None:
        waits: Reconnect | None = None
        while True:
            settings = LinkSettings.read(self.outbox.folder)
            if settings is None:
                await self._watch.change()
                continue
            waits = waits or Reconnect(settings.reconnect_first, settings.reconnect_longest)
            wait = await self._try(settings, waits)
            self._tell(self._status["state"], wait=round(wait, 1))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._settings_other_than(settings)
                waits = None

    async def _try(self, settings: LinkSettings, waits: Reconnect) -> float:
        """Connect and talk, until it ends. How long to wait before the next time, in seconds."""
        began = time.monotonic()
        try:
            await self._connected(settings)
        except LedgerError as error:
            self._tell("waiting", why="disk", detail=str(error))
            log.error("nothing is sent", error=str(error))
            return waits.after(error, stayed=False)
        except (HubAway, FrameError, asyncssh.Error, OSError) as error:
            self._tell("waiting", why="away", detail=str(error) or type(error).__name__)
            log.info("the link is down", error=str(error) or type(error).__name__)
            stayed = time.monotonic() - began >= settings.stable and bool(self._status.get("welcomed"))
            return waits.after(error, stayed=stayed)
        except UplinkError as error:  # the hub refuses us, or is not the hub, or we have no key to sign in with
            self._tell("refused", why=getattr(error, "why", WHY.get(type(error), "setup")), detail=str(error))
            log.error("the link cannot be made; waiting will not mend it", error=str(error))
            return waits.after(error, stayed=False)
        return waits.stayed()  # the settings are others now

    async def _settings_other_than(self, settings: LinkSettings) -> None:
        """Wait until the core tells something else."""
        while LinkSettings.read(self.outbox.folder) == settings:
            await self._watch.change()

    async def _connected(self, settings: LinkSettings) -> None:
        self._tell("connecting", hub=settings.hub)
        log.debug("a try to connect", hub=settings.hub)
        now = time.time()
        identity = Identity.read(self.outbox.folder, self.place.certificate())
        connection = await dial(settings, BOX_USER, identity, now)
        meter = self._meter = Meter(connection)
        since = time_text(datetime.now(UTC))
        try:
            await self._talk(settings, connection, meter)
        finally:
            meter.cut()
            connection.abort()
            _, sent, received = meter.read()
            self._meter = None
            meter.close()
            self.place.say("connection", since=since, sent=sent, received=received)
            self.place.sync()

    async def _talk(self, settings: LinkSettings, connection: asyncssh.SSHClientConnection, meter: Meter) -> None:
        writer, reader, _ = await connection.open_session(subsystem=UPLINK_SUBSYSTEM, encoding=None)
        piece = LARGEST_BODY if settings.bandwidth is None else max(SMALLEST_PIECE, settings.bandwidth // 4)
        talk = Conversation(self.outbox, self.place, Verifier.of(settings.ledger), settings.version, piece)
        self.outbox.refresh()
        writer.write(encode(talk.hello()))
        came = asyncio.Event()  # a frame came, so that there may be something to say
        tasks = [
            asyncio.create_task(self._listen(talk, reader, came)),
            asyncio.create_task(self._speak(talk, writer, came, settings.bandwidth)),
            asyncio.create_task(self._report(talk, meter)),
            asyncio.create_task(self._settings_other_than(settings)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self.place.sync()
        for task in done:
            task.result()

    async def _listen(self, talk: Conversation, reader: asyncssh.SSHReader[bytes], came: asyncio.Event) -> None:
        """Take the hub's frames. FrameError if it says what it may not, HubAway at the end."""
        decoder = Decoder(DOWN)
        while data := await reader.read(READ):
            for one in decoder.feed(data):
                talk.take(one)
                self._agree(talk)
            self.place.sync()
            came.set()
        raise HubAway("the hub closed the connection")

    def _agree(self, talk: Conversation) -> None:
        """HubRefused if the hub's clock and ours are far apart: the times in all that we would send would be wrong."""
        if talk.time is None or self._status.get("welcomed"):
            return
        offset = time.time() - time_of(talk.time).timestamp()
        if abs(offset) > CLOCK_FAR:
            days = f"the hub's clock stands {abs(offset) / 86_400:.0f} days {'behind' if offset > 0 else 'before'} this box's"
            raise HubRefused("clock", f"{WHYS['clock']} ({days})")

    async def _speak(
        self, talk: Conversation, writer: asyncssh.SSHWriter[bytes], came: asyncio.Event, bandwidth: int | None
    ) -> None:
        """Send what there is, and wait for more."""
        loop = asyncio.get_running_loop()
        told = free = loop.time()  # when the last checkpoint went; when the line is free again, with a limit
        while True:
            if loop.time() - told >= CHECKPOINT:
                told = loop.time()
                talk.checkpoint()
            one = talk.next()
            if one is None:
                await self._news(came)
                self.outbox.refresh()
                self.place.turn()
                continue
            data = encode(one)
            writer.write(data)
            await writer.drain()
            if bandwidth is not None:
                free = max(free, loop.time()) + len(data) / bandwidth
                await asyncio.sleep(free - loop.time())

    async def _news(self, came: asyncio.Event) -> None:
        """Wait until a frame came or the outbox changed."""
        waits = [asyncio.create_task(came.wait()), asyncio.create_task(self._watch.change())]
        try:
            await asyncio.wait(waits, timeout=CHECKPOINT, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        came.clear()

    async def _report(self, talk: Conversation, meter: Meter) -> None:
        """Tell how the link stands, as the socket has it."""
        welcomed = False
        while True:
            up, sent, received = meter.read()
            if talk.time is not None and not welcomed:
                welcomed = True
                offset = time.time() - time_of(talk.time).timestamp()
                self._status |= {"welcomed": True, "clock_offset": round(offset, 1)}
                if abs(offset) > CLOCK:
                    log.warning("clock? The hub's clock differs from ours", seconds=round(offset))
                log.info("the link is up")
            self._status |= {"sent": sent, "received": received, "certificate_until": talk.certificate_until}
            self._tell("connected" if up and welcomed else "connecting")
            await asyncio.sleep(STATUS if welcomed else STATUS / 100)

    def _tell(self, state: str, **more: Any) -> None:  # noqa: ANN401 - JSON
        """Write the status, if anything of it changed but counters."""
        at = time_text(datetime.now(UTC))
        since = self._status.get("since", at) if state == self._status["state"] else at
        kept = {} if state == "connecting" and self._status["state"] != state else self._status
        self._status = {**kept, "pid": os.getpid(), "state": state, "since": since, "at": at, **more}
        try:
            self.place.status(self._status)
        except LedgerError as error:
            log.error("the status cannot be written", error=str(error))


def become(user: str) -> None:
    """Go on as this user, with its groups, and with no way back."""
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def main() -> None:
    """Entry point of `pbxd-link`."""
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: pbxd-link OUTBOX STATE [USER]")
    if len(sys.argv) == 4:
        become(sys.argv[3])  # after all modules are loaded: the user need not be able to read the program
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    os.umask(0o027)
    keep_freed_memory()
    logs.configure("info", "auto")
    asyncssh.set_log_level("WARNING")  # it would tell of every connection and key exchange
    try:
        link = Link(Path(sys.argv[1]), Path(sys.argv[2]))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(link.run())
    except UplinkError as error:
        sys.exit(f"pbxd-link: {error}")


if __name__ == "__main__":
    main()
