"""Carries out by AMI what the recorder decides, and tells it what happens: the I/O around `recorder`.

Commands are carried out one after the other: the state of a recording is in the spool before Asterisk is asked to write beside it.
Only what takes long, handing over a recording whose files Asterisk has yet to close, is done beside them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from pbxd.asterisk.events import BRIDGES, CHANNELS, KEYS
from pbxd.calls.live import Event, LiveState
from pbxd.calls.site import Site
from pbxd.errors import AmiError, RecordingError
from pbxd.recording import takeover
from pbxd.recording.classes import unknown
from pbxd.recording.commands import Command, Finish, Listen, Save, Start, Stop
from pbxd.recording.places import Place, Rooms, chosen
from pbxd.recording.policy import Consent
from pbxd.recording.recorder import Recorder, RecorderRules
from pbxd.recording.segments import Recording, Segment
from pbxd.recording.stage import NOWHERE, complete, left_behind, names, open_spool, write_state

FOLLOWED = (*CHANNELS, *BRIDGES, "QueueCallerJoin", "QueueCallerLeave")
AT_ONCE = 8  # recordings that are handed over at one time
SHORT = 1_000_000  # µs; a shorter piece of a call may end before Asterisk has written anything
# Turns of the loop: keys that were told of while it stood still count before the time since the last is up.
READ_FIRST = 2
WROTE_NOTHING = "Asterisk wrote nothing into"
AGAIN = 5.0  # s between tries to hand over a recording that the spool did not take
log = structlog.get_logger("pbxd.recording")


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """Where recordings are made."""

    places: tuple[Place, ...]  # spools; that in memory before that on a disk
    group: str  # by which Asterisk may write there
    reserve: int  # bytes; with less than half of them free nothing is recorded, until all are
    calls: int = 0  # of an hour, for which the first spool must have room to be used first; 0 is any
    beep_every: int = 15  # s between the beeps of a recording that asks for them


@dataclass(slots=True)
class MonitorCounters:
    """What became of it since the start."""

    handed_over: int = 0
    empty: int = 0  # ended before there was any sound
    failed: int = 0  # states or recordings that the spool did not take
    last_error: str = ""  # empty when the last try worked


class Monitor:
    """Records calls for as long as `run` runs."""

    def __init__(
        self,
        recorder: Recorder,
        asterisk: takeover.Asterisk,
        live: LiveState,
        settings: MonitorSettings,
        *,
        clock: Callable[[], float],
        on_ready: Callable[[str], None],
    ) -> None:
        self.recorder = recorder
        self.counters = MonitorCounters()
        self._asterisk = asterisk
        self._live = live
        self._settings = settings
        self._clock = clock
        self._on_ready = on_ready
        self._queue: asyncio.Queue[Command] = asyncio.Queue()
        self._finishing: set[asyncio.Task[None]] = set()
        self._up = False  # AMI is up, `live` is what Asterisk has, and what an earlier run left was taken over
        self._waiting = False  # AMI is up, and the spool cannot be used
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._spools = [place.folder for place in settings.places]  # those that could be opened
        self._rooms: Rooms | None = None  # before they were
        self._adopting = asyncio.Lock()
        self._adopted = False

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)

    # What is told

    def handlers(self) -> dict[str, Callable[[Event], None]]:
        """What to do at each AMI event, when the live state has taken it."""
        made: dict[str, Callable[[Event], None]] = dict.fromkeys(FOLLOWED, self._channel)
        if self.recorder.rules.pause_on_digits:
            made |= dict.fromkeys(KEYS, self._key)
        return made

    def _channel(self, event: Event) -> None:
        if not self._up:
            return  # the live state is empty, or of an earlier session: `connected` comes, with all that there is
        uniqueid = event.get("Uniqueid")
        self._do(self.recorder.changed(uniqueid, self._live.channels.get(uniqueid), self._now()))

    def _key(self, event: Event) -> None:
        # Which key it was is in the event too. It is not read: it may be part of a card number.
        self._do(self.recorder.key(event.get("Uniqueid"), self._now(), down=event.event == "DTMFBegin"))

    async def connected(self) -> None:
        """AMI is up, and the live state is what Asterisk has now; events wait until this returns. AmiError if the link fails."""
        self._waiting = not await self._adopt()
        if self._waiting:
            return
        announcements = any(rule.consent is Consent.ANNOUNCEMENT for rule in self.recorder.rules.rules)
        recordings = list(self.recorder.recordings.values())
        told = await takeover.ask(
            self._asterisk,
            dict(self._live.channels),
            recordings,
            announcements=announcements,
            classes=self.recorder.rules.kept,
        )
        self._up = True
        self._do(self.recorder.replaced(dict(self._live.channels), self._now(), told))

    def disconnected(self) -> None:
        """Nothing is known of Asterisk; it goes on recording what it was asked to."""
        self._up = self._waiting = False

    def ask(self, uniqueid: str, what: str) -> None:
        """`start`, `stop`, `pause` or `resume` the recording of the call of this channel. RecordingError if there is none."""
        found, commands = self.recorder.ask(uniqueid, what, self._now())
        if not found:
            raise RecordingError(
                f"no call with the channel {uniqueid} is {'up' if what in ('start', 'stop') else 'being recorded'}"
            )
        self._do(commands)

    def configure(self, site: Site, rules: RecorderRules, local_time: Callable[[int], datetime]) -> None:
        """Take up other rules and numbers, for the calls in progress too."""
        self._do(self.recorder.configure(site, rules, local_time, self._now()))

    def classify(self, uniqueid: str, kind: str) -> None:
        """The call of this channel is of this class. RecordingError if there is no such class."""
        if kind not in self.recorder.rules.kept:
            raise RecordingError(unknown(kind, self.recorder.rules.kept))
        self._do(self.recorder.classify(uniqueid, kind, self._now()))

    def payment(self, uniqueid: str, *, begins: bool) -> None:
        """Somebody pays in the call of this channel, or no longer does."""
        self._do(self.recorder.payment(uniqueid, self._now(), begins=begins))

    def consented(self, uniqueid: str) -> None:
        """The announcement was heard on this channel, to its end."""
        self._do(self.recorder.consented(uniqueid, self._now()))

    def _do(self, commands: Iterable[Command]) -> None:
        for command in commands:
            self._queue.put_nowait(command)

    # What is done

    async def run(self) -> None:
        """Until cancelled. Recordings that an earlier run began are taken over first."""
        await self._adopt()
        ticking = asyncio.create_task(self._tick())
        try:
            while True:
                await self._carry_out(await self._queue.get())
        finally:
            for task in (ticking, *self._finishing):
                task.cancel()

    async def _adopt(self) -> bool:
        """Take over what an earlier run left, once, before anything is decided: else its recordings would begin a second time.

        False if the spool cannot be used.
        """
        async with self._adopting:
            if not self._adopted:
                try:
                    left = await asyncio.to_thread(self._opened)
                except OSError as error:
                    self._failed(f"the spool {error.filename} cannot be used", error)
                    return False
                await self._look_at_room()
                for recording in left:
                    self.recorder.adopt(recording)
                self._adopted = True
        return True

    def _opened(self) -> list[Recording]:
        settings, opened = self._settings, []
        for place in settings.places:
            try:
                open_spool(place.folder, settings.group)
                opened.append(place)
            except OSError as error:
                if not opened and place == settings.places[-1]:
                    raise
                log.error("a spool cannot be used before the next start", spool=str(place.folder), error=str(error))
        choice = chosen(opened, settings.reserve, settings.calls)
        log.info("where recordings are made", spools=[str(place.folder) for place in choice.places], why=choice.why)
        self._spools, self._rooms = [place.folder for place in opened], Rooms(choice, settings.reserve)
        return left_behind(*self._spools)

    async def _tick(self) -> None:
        """Let the recorder know when time is up for something."""
        while True:
            deadline = self.recorder.deadline
            wait = 1.0 if deadline is None else max(0.05, deadline / 1_000_000 - self._clock())
            await asyncio.sleep(min(wait, 1.0))
            for _ in range(READ_FIRST):
                await asyncio.sleep(0)
            self._do(self.recorder.tick(self._now()))
            await self._look_at_room()
            if self._waiting:
                await self._try_again()

    async def _try_again(self) -> None:
        """The spool could not be used when AMI came up: nothing is recorded before it can."""
        try:
            await self.connected()
        except AmiError as error:
            log.info("Asterisk cannot tell what goes on; it is asked when AMI is up again", error=str(error))

    async def _carry_out(self, command: Command) -> None:
        if isinstance(command, Save):
            await self._save(command)
        elif isinstance(command, Start):
            await self._start(command.segment, beep=command.beep)
        elif isinstance(command, Stop):
            await self._stop(command.segment)
        elif isinstance(command, Listen):
            await self._listen(command.segment)
        else:
            task = asyncio.create_task(self._finish(command))
            self._finishing.add(task)
            task.add_done_callback(self._finishing.discard)

    async def _save(self, command: Save) -> None:
        if command.recording.id not in self.recorder.recordings:
            return  # it was finished, or became part of another, while this waited
        try:
            await asyncio.to_thread(write_state, Path(command.recording.place), command.recording)
        except OSError as error:
            self._failed("the spool of recordings takes nothing", error)

    def _failed(self, what: str, error: OSError) -> None:
        self.counters.failed += 1
        self.counters.last_error = f"{what}: {error.strerror or error}"
        log.error(what, error=str(error))

    async def _start(self, segment: Segment, *, beep: bool) -> None:
        if not segment.going_on:
            return  # it was stopped while this waited
        await self._look_at_room()
        if not segment.going_on:
            return  # for lack of room
        try:
            received, sent = (self._in_asterisk(segment) / segment.folder / name for name in names(segment))
            # Without `i` Asterisk does not tell the id, and a stop without one ends whichever MixMonitor the channel got last.
            options = f"r({received})t({sent})i({takeover.variable_of(segment)})" + (
                f"B({self._settings.beep_every})" if beep else ""
            )
            answer = await self._asterisk.action("MixMonitor", Channel=segment.channel, Options=options)
        except AmiError as error:
            log.warning("a call is not recorded", channel=segment.channel, error=str(error))
            self._do(self.recorder.refused(segment, str(error), self._now()))
        else:
            self._do(self.recorder.started(segment, self._now(), answer.get("MixMonitorID")))

    async def _look_at_room(self) -> None:
        """Record nothing in a spool that is missing or nearly full; what is recorded there goes on in another, if one has room."""
        rooms, counters = self._rooms, self.counters
        if rooms is None:
            return
        if await asyncio.to_thread(rooms.look):
            self._do([Save(recording) for recording in self.recorder.recordings.values()])
        if rooms.why:
            counters.last_error = rooms.why
        elif self._adopted and counters.last_error.startswith("the spool"):
            counters.last_error = ""
        if self.recorder.full == rooms.full and self.recorder.place:
            return
        if rooms.why:
            log.error("nothing is recorded", error=rooms.why)
        elif self.recorder.short:
            log.info("calls are recorded again", spool=rooms.place)
        elif rooms.full != self.recorder.full:
            log.warning("the spools' room changed", full=sorted(rooms.full), recorded_in=rooms.place)
        self._do(self.recorder.room(self._now(), short=bool(rooms.why), place=rooms.place, full=rooms.full))

    def _in_asterisk(self, segment: Segment) -> Path:
        """The spool of a segment, as Asterisk sees it."""
        known = {str(place.folder): place.in_asterisk for place in self._settings.places}
        return known.get(segment.place, Path(segment.place))

    async def _stop(self, segment: Segment) -> None:
        if segment.uniqueid not in self.recorder.channels:
            return
        try:
            monitor = segment.monitor or await takeover.monitor_of(self._asterisk, segment)
            if monitor:
                await self._asterisk.action("StopMixMonitor", Channel=segment.channel, MixMonitorID=monitor)
            segment.stopped = True
        except AmiError as error:
            # The channel is gone, most often. If not, what is written from now on is left out when the pieces are put together.
            log.info("Asterisk did not stop a recording", channel=segment.channel, error=str(error))

    async def _listen(self, segment: Segment) -> None:
        """A MixMonitor that writes nowhere keeps the channel's sound in Asterisk's own hands, until the channel ends."""
        options = f"r({self._in_asterisk(segment) / NOWHERE})"
        try:
            await self._asterisk.action("MixMonitor", Channel=segment.channel, Options=options)
        except AmiError as error:
            log.info("Asterisk may not tell of all keys", channel=segment.channel, error=str(error))

    async def _finish(self, command: Finish) -> None:
        recording = command.recording
        length = max(
            ((segment.end or segment.at) - segment.at for segment in recording.segments if segment.at is not None),
            default=0,
        )
        while (ready := await self._handed_over(recording)) is None:  # noqa: ASYNC110 - a full disk tells nobody when it is not
            await asyncio.sleep(AGAIN)
        if self.counters.last_error.startswith(_waits(recording)):
            self.counters.last_error = ""
        if not ready:
            self.counters.empty += 1
            if length > SHORT:
                where = ", ".join(sorted({str(self._in_asterisk(segment)) for segment in recording.segments}))
                self.counters.last_error = f"{WROTE_NOTHING} {where}: may it, and is that the spool?"
                log.error("a call was not recorded", recording=recording.id, error=self.counters.last_error)
            return
        self.counters.handed_over += 1
        if self.counters.last_error.startswith(WROTE_NOTHING):
            self.counters.last_error = ""
        for fault in recording.faults:
            log.warning("a recording is not whole", recording=recording.id, fault=fault)
        self._on_ready(recording.id)

    async def _handed_over(self, recording: Recording) -> bool | None:
        """Whether there was any sound; None if the spool does not take it now."""
        try:
            async with self._turns:
                return await asyncio.to_thread(complete, self._spools, recording)
        except OSError as error:
            self._failed(_waits(recording), error)
            return None

    def under_way(self) -> list[dict[str, Any]]:
        """The calls that are being recorded, oldest first."""
        recordings = sorted(self.recorder.recordings.values(), key=lambda recording: recording.start)
        return [
            {
                "id": recording.id,
                "start": recording.start,
                "direction": recording.direction,
                "queue": recording.queue,
                "class": recording.kind,
                "consent": recording.consent.name.lower(),
                "paused": recording.paused,
                "pauses": sorted(recording.pauses),  # why: asked, digits, payment
                "parties": [asdict(party) for party in recording.parties.values()],
            }
            for recording in recordings
        ]

    def status(self) -> Mapping[str, Any]:
        """State, for people."""
        recordings = self.recorder.recordings.values()
        return {
            "recording": len(recordings),
            "short": self.recorder.short,
            "spool": self.recorder.place,
            "full": len(self.recorder.full),
            "why": self._rooms.choice.why if self._rooms is not None else "",
            "spools": self._rooms.status() if self._rooms is not None else [],
            "calls_wanted": self._settings.calls,
            "paused": sum(recording.paused for recording in recordings),
            **asdict(self.recorder.counters),
            **asdict(self.counters),
        }


def _waits(recording: Recording) -> str:
    return f"the recording {recording.id} waits in the spool"
