"""Decides what is recorded: channels as they are now go in, commands for Asterisk come out. Pure: no I/O, no clock.

Each conversation that the rules want has one channel under a MixMonitor: its oldest one. When that leaves and others go on talking,
the next oldest follows; the pieces are one recording, for as long as any channel of the call is there. While a party is on hold,
while the recording is paused, or while someone takes part of whom the rules say never, there is no MixMonitor: nothing of that time
is anywhere. (Muting would do less: after music on hold, Asterisk 22's MixMonitor does not hear the other side any more.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import inf

from pbxd.calls.cel import id_order
from pbxd.calls.live import LiveChannel
from pbxd.calls.site import Site
from pbxd.recording import takeover
from pbxd.recording.classes import Classes
from pbxd.recording.commands import Command, Finish, Save, Start, Stop
from pbxd.recording.conversations import Conversations, is_local
from pbxd.recording.pauses import ASKED, DIGITS, Pauses
from pbxd.recording.policy import CallFacts, Consent, Party, Rule, Verdict, judge
from pbxd.recording.segments import Recording, Segment

MAX_RECORDINGS = 2000  # at once: what Asterisk itself has descriptors for; more are refused and counted
NO_ROOM = "parts of the call are missing: the spool had no room"


@dataclass(frozen=True, slots=True)
class RecorderRules:
    """What the customer configured."""

    rules: Sequence[Rule] = ()
    pause_on_digits: bool = True
    digits_before: int = 300_000  # µs before a key is told of that are silenced too
    digits_after: int = 3_000_000  # µs after the last key in which nothing is kept
    kept: Mapping[str, float] = field(default_factory=lambda: {"call": inf})  # all classes, each for how many s


@dataclass(slots=True)
class RecorderCounters:
    """What became of the decisions since the start."""

    begun: int = 0
    finished: int = 0
    refused: int = 0  # by Asterisk, or because there were too many
    without_consent: int = 0  # conversations that were not recorded because no announcement was heard


@dataclass(slots=True)
class Recorder:
    """The recordings that are being made."""

    site: Site
    rules: RecorderRules
    local_time: Callable[[int], datetime]  # microseconds -> the site's time
    channels: dict[str, LiveChannel] = field(default_factory=dict)
    recordings: dict[str, Recording] = field(default_factory=dict)
    counters: RecorderCounters = field(default_factory=RecorderCounters)
    short: bool = False  # no spool has room: nothing is recorded
    place: str = ""  # the spool in which what begins now is recorded
    full: frozenset[str] = frozenset()  # spools in which nothing goes on
    classes: Classes = field(default_factory=Classes)
    _map: Conversations = field(default_factory=Conversations)
    _of_channel: dict[str, str] = field(default_factory=dict)  # uniqueid -> recording
    _queues: dict[str, set[str]] = field(default_factory=dict)  # uniqueid -> queues that it waited in
    _consented: set[str] = field(default_factory=set)  # uniqueids that heard the announcement
    _unheard: set[str] = field(default_factory=set)  # uniqueids of conversations that lack it, each counted once
    _wanted: set[str] = field(default_factory=set)  # uniqueids of calls that somebody wants recorded
    _unwanted: set[str] = field(default_factory=set)  # and of those of which somebody stopped it
    _pauses: Pauses = field(default_factory=Pauses)

    # What happens

    def changed(self, uniqueid: str, channel: LiveChannel | None, now: int) -> list[Command]:
        """A channel is new, is elsewhere, or (None) is gone."""
        near = self._map.call(uniqueid)
        self._take(uniqueid, channel, now)
        return self._look(near | self._map.call(uniqueid) | {uniqueid}, now)

    def replaced(
        self, channels: Mapping[str, LiveChannel], now: int, told: takeover.Told | None = None
    ) -> list[Command]:
        """These are all channels that there are, and what Asterisk told beside them: AMI was away."""
        told = told or takeover.Told()
        self._pauses.reconnected()
        held = {one for recording in self.recordings.values() for one in recording.held}
        for gone in set(self.channels) - set(channels):
            self._take(gone, None, now)
        for uniqueid, channel in channels.items():
            channel.held = told.held.get(uniqueid, channel.held or uniqueid in held)
            self._take(uniqueid, channel, now)
        self._consented.update(told.announced)
        for uniqueid, kind in told.classes.items():
            self.classes.say([uniqueid], kind)
        done: list[Command] = []
        for recording in self.recordings.values():
            done += takeover.settle(recording, channels, told.monitors, now)
            self._pauses.let_go_unseen(recording, now + self.rules.digits_after)
        done += self._look(channels, now)
        for recording in list(self.recordings.values()):
            done += self._finish_if_over(recording, None)
        return done

    def _take(self, uniqueid: str, channel: LiveChannel | None, now: int) -> None:
        self._map.take(uniqueid, channel)
        if channel is not None:
            self.channels[uniqueid] = channel
            if channel.queue:
                self._queues.setdefault(uniqueid, set()).add(channel.queue)
            return
        self.channels.pop(uniqueid, None)
        self._queues.pop(uniqueid, None)
        self.classes.forget([uniqueid])
        for told in (self._consented, self._wanted, self._unwanted, self._unheard):
            told.discard(uniqueid)
        self._pauses.left(uniqueid)
        recording = self.recordings.get(self._of_channel.get(uniqueid, ""))
        for segment in recording.segments if recording is not None else ():
            if segment.uniqueid == uniqueid:
                segment.stop(now)

    def room(self, now: int, *, short: bool, place: str = "", full: frozenset[str] = frozenset()) -> list[Command]:
        """These spools are short of room: what is recorded in them goes on in `place`, or nowhere if all are short."""
        self.short, self.place, self.full = short, place, full
        return self._look(self.channels, now)

    def adopt(self, recording: Recording) -> None:
        """A recording that an earlier run of pbxd began. `replaced` says what became of its call."""
        self.recordings[recording.id] = recording
        self._of_channel |= dict.fromkeys(recording.channels, recording.id)
        if recording.consent is Consent.ANNOUNCEMENT:
            self._consented |= recording.channels
        (self._unwanted if recording.unwanted else self._wanted).update(recording.channels)
        self._pauses.adopt(recording)

    def configure(
        self, site: Site, rules: RecorderRules, local_time: Callable[[int], datetime], now: int
    ) -> list[Command]:
        """Other rules and numbers from now on: the calls in progress are judged again."""
        self.site, self.rules, self.local_time = site, rules, local_time
        return self._look(self.channels, now)

    def consented(self, uniqueid: str, now: int) -> list[Command]:
        """The announcement was heard on this channel, to its end."""
        self._consented.add(uniqueid)
        return self._look(self._map.call(uniqueid), now)

    def ask(self, uniqueid: str, what: str, now: int) -> tuple[bool, list[Command]]:
        """`start`, `stop`, `pause` or `resume` the recording of this channel's call; whether there was something to do it to."""
        call = self._map.call(uniqueid)
        if what in ("start", "stop"):
            add, remove = (self._wanted, self._unwanted) if what == "start" else (self._unwanted, self._wanted)
            add |= call
            remove -= call
            done = self._look(call, now)
            if (recording := self._recording_of(call)) is not None:
                recording.unwanted = what == "stop"
                done.insert(0, Save(recording))  # before Asterisk is asked: the next start must know of it
            return bool(call), done
        recording = self._recording_of(call)
        if recording is None:
            return False, []
        if what == "pause":
            recording.pause(ASKED, now)
        else:
            recording.resume(ASKED, now)
        return True, [*self._look(call, now), Save(recording)]

    def concerned(self, uniqueid: str) -> tuple[str, tuple[Party, ...]]:
        """The id of the recording of this channel's call, or of the call, and who talks in it now; "" and nobody if it is over."""
        call = self._map.call(uniqueid)
        if not call:
            return "", ()
        recording = self._recording_of(call)
        up = [self.channels[one] for one in sorted(call) if one in self.channels]
        talking = tuple(self._party(one) for one in up if one.state == "up" and not is_local(one.name))
        return self._call_id(call) if recording is None else recording.id, talking

    def classify(self, uniqueid: str, kind: str, now: int) -> list[Command]:
        """This channel's call is of this class."""
        self.classes.say(self._map.call(uniqueid) | {uniqueid}, kind)
        done, recording = self._look({uniqueid}, now), self._recording_of([uniqueid])
        return done if recording is None else [*done, Save(recording)]

    def payment(self, uniqueid: str, now: int, *, begins: bool) -> list[Command]:
        """The dialplan says that somebody pays in this channel's call, or no longer does.

        It holds from before the call has a recording, over transfers, and whatever `resume` says, until it ends or the call does.
        """
        call = self._map.call(uniqueid) | {uniqueid}
        self._pauses.pay(call, begins=begins)
        done = self._look(call, now)
        recording = self._recording_of(call)
        return done if recording is None else [*done, Save(recording)]

    def key(self, uniqueid: str, now: int, *, down: bool) -> list[Command]:
        """A key was pressed, or let go, on a channel. Which key is nobody's business."""
        call = self._map.call(uniqueid)
        recording = self._recording_of(call) if self.rules.pause_on_digits else None
        if recording is None:
            return []
        over = None if down else now + self.rules.digits_after
        if not self._pauses.key(recording, now - self.rules.digits_before, over):
            return []
        return [*self._pauses.listen(recording), *self._look(call, now)]

    @property
    def deadline(self) -> int | None:
        """When `tick` has something to do next, in microseconds; None: not before something happens."""
        return self._pauses.deadline

    def tick(self, now: int) -> list[Command]:
        """Go on with recordings whose keys were let go long enough ago."""
        done: list[Command] = []
        for name in self._pauses.over(now):
            recording = self.recordings.get(name)
            if recording is not None:
                recording.resume(DIGITS, now)
                done += self._look(recording.channels & self.channels.keys(), now)
                done.append(Save(recording))
        return done

    def started(self, segment: Segment, at: int, monitor: str) -> list[Command]:
        """Asterisk writes since `at`."""
        segment.at, segment.monitor = at, monitor
        return [Save(recording) for recording in self._recordings_of(segment)]

    def refused(self, segment: Segment, why: str, now: int) -> list[Command]:
        """Asterisk does not record that channel: it is gone already, or the folder cannot be written."""
        segment.stop(now)
        self.counters.refused += 1
        found = self._recordings_of(segment)
        for recording in found:
            if segment.uniqueid in self.channels:
                recording.faults.append(f"Asterisk did not record {segment.channel}: {why}")
        return [Save(recording) for recording in found]

    # What is decided

    def _recordings_of(self, segment: Segment) -> list[Recording]:
        return [recording for recording in self.recordings.values() if segment in recording.segments]

    def _recording_of(self, channels: Iterable[str]) -> Recording | None:
        names = {self._of_channel[channel] for channel in channels if channel in self._of_channel}
        return min((self.recordings[name] for name in names), key=lambda found: found.start, default=None)

    def _look(self, channels: Iterable[str], now: int) -> list[Command]:
        """Decide again about all calls that have these channels, or had them."""
        done: list[Command] = []
        waiting = set(channels)
        had = {self._of_channel[channel] for channel in waiting if channel in self._of_channel}
        while waiting:
            oldest = min(waiting, key=id_order)
            call = self._map.call(oldest)
            waiting -= call | {oldest}
            if call:
                done += self._decide(call, now)
        for name in sorted(had):
            if name in self.recordings:
                done += self._finish_if_over(self.recordings[name], now)
        return done

    def _finish_if_over(self, recording: Recording, now: int | None) -> list[Command]:
        """Let go of a recording whose channels are gone, since `now`; None: it was not seen when."""
        if recording.channels & self.channels.keys():
            return []
        if now is not None:
            for segment in recording.segments:
                segment.stop(now)
        recording.end = now
        del self.recordings[recording.id]
        self._pauses.finished(recording)
        for channel in recording.channels:
            self._of_channel.pop(channel, None)
        for told in (self._consented, self._wanted, self._unwanted):
            told.difference_update(recording.channels)  # one that was taken over has some that were never seen
        self.counters.finished += 1
        return [Finish(recording)]

    def _decide(self, call: set[str], now: int) -> list[Command]:
        recording, done = self._united(call)
        talks = self._talks(call)
        verdicts = {talk: self._judged(call, talk, now) for talk in talks}
        if recording is None and any(self._may(talk, verdict) for talk, verdict in verdicts.items()):
            if len(self.recordings) >= MAX_RECORDINGS:
                self.counters.refused += 1
                return done
            recording = self._begin(call, now)
        if recording is None:
            return done
        for uniqueid in call - recording.channels:
            recording.channels.add(uniqueid)
            self._of_channel[uniqueid] = recording.id
        before, recording.held = recording.held, {one for one in call if self.channels[one].held}
        self._pauses.settle(recording, call, now)
        wanted = {talk for talk, verdict in verdicts.items() if self._may(talk, verdict)}
        self.classes.settle(
            recording, call, {kind for talk in wanted for kind in verdicts[talk].kinds}, self.rules.kept
        )
        for talk in talks:
            done += self._follow(
                recording, talk, now, wanted=talk in wanted, beep=verdicts[talk].consent is Consent.BEEP
            )
        alone = call.difference(*talks)
        for segment in recording.segments:
            if segment.going_on and segment.uniqueid in alone:
                done += self._stop(segment, now)
        if done or before != recording.held:
            # The state is written before Asterisk is asked: a kill between the two leaves nothing that nobody knows of.
            done.insert(0, Save(recording))
        return done

    def _united(self, call: set[str]) -> tuple[Recording | None, list[Command]]:
        """The call's recording. If calls that had one each have met, the older one is that of both."""
        names = {self._of_channel[channel] for channel in call if channel in self._of_channel}
        names |= {self._call_id(call)} & self.recordings.keys()  # all its channels changed while AMI was away
        found = sorted((self.recordings[name] for name in names), key=lambda recording: (recording.start, recording.id))
        if not found:
            return None, []
        first, *others = found
        for other in others:
            first.absorb(other)
            del self.recordings[other.id]
            self._pauses.unite(first, other)
        self._of_channel |= dict.fromkeys(first.channels, first.id)
        return first, [Save(first)] if others else []

    def _talks(self, call: set[str]) -> list[frozenset[str]]:
        """The conversations of a call in which at least two parties are: their channels without the plumbing."""
        found: list[frozenset[str]] = []
        waiting = {channel for channel in call if self.channels[channel].bridge}
        while waiting:
            together = self._map.conversation(min(waiting, key=id_order))
            waiting -= together
            people = frozenset(one for one in together if not is_local(self.channels[one].name))
            if len(people) > 1:
                found.append(people)
        return found

    def _may(self, talk: frozenset[str], verdict: Verdict) -> bool:
        """Whether this conversation is to be recorded now."""
        if any(channel in self._unwanted for channel in talk):
            return False
        if not verdict.records(asked=any(channel in self._wanted for channel in talk)):
            return False
        if verdict.consent is Consent.ANNOUNCEMENT and not talk & self._consented:
            self.counters.without_consent += not talk & self._unheard
            self._unheard |= talk
            return False
        return True

    def _judged(self, call: set[str], talk: frozenset[str], now: int) -> Verdict:
        channels = [self.channels[one] for one in talk]
        parties = [self._party(channel) for channel in channels]
        queues = {queue for one in call for queue in self._queues.get(one, ())}
        first = self.channels[min(call, key=id_order)]
        began = int(min(channel.since for channel in channels) * 1_000_000)
        local, direction = self.local_time(min(began, now)), self._direction(first, parties)
        return judge(self.rules.rules, CallFacts(self._call_id(call), direction, frozenset(queues), parties, local))

    def _call_id(self, call: set[str]) -> str:
        return min({*call, *(self.channels[one].linkedid for one in call)} - {""}, key=id_order)

    def _party(self, channel: LiveChannel) -> Party:
        endpoint = channel.name.rpartition("-")[0]
        number = self.site.number_of(endpoint, channel.number)
        return Party(endpoint, number, self.site.is_trunk(endpoint), channel.caller_name)

    def _direction(self, first: LiveChannel, parties: Iterable[Party]) -> str:
        if self.site.is_trunk(first.name.rpartition("-")[0]):
            return "inbound"
        return "outbound" if any(party.trunk for party in parties) else "internal"

    def _begin(self, call: set[str], now: int) -> Recording:
        name = self._call_id(call)
        first = self.channels[min(call, key=id_order)]
        recording = Recording(
            id=name,
            call=name,
            start=now,
            direction=self._direction(first, map(self._party, (self.channels[one] for one in call))),
            caller=first.number,
            dialled=first.exten,
            queue=next((queue for one in sorted(call) for queue in sorted(self._queues.get(one, ()))), ""),
            place=self.place,
        )
        self.recordings[name] = recording
        self.counters.begun += 1
        return recording

    def _follow(
        self, recording: Recording, talk: frozenset[str], now: int, *, wanted: bool, beep: bool
    ) -> list[Command]:
        """One MixMonitor on this conversation, while what is said is to be kept."""
        for one in sorted(talk, key=id_order):
            party = self._party(self.channels[one])
            recording.parties.setdefault(party.endpoint, party)
        heard = len([one for one in talk if not self.channels[one].held]) > 1
        running = [segment for segment in recording.segments if segment.going_on and segment.uniqueid in talk]
        wanted = wanted and heard and not recording.paused
        if wanted and self.short and NO_ROOM not in recording.faults:
            recording.faults.append(NO_ROOM)
            self.counters.refused += 1
        wanted = wanted and not self.short
        # Two recorded conversations that became one have two MixMonitors: the first one hears all of it.
        kept = [segment for segment in running if segment.place not in self.full][:1] if wanted else []
        done = [command for segment in running if segment not in kept for command in self._stop(segment, now)]
        if wanted and not kept:
            channel = self.channels[min(talk, key=id_order)]
            number = sum(segment.folder == recording.id for segment in recording.segments)
            party = self._party(channel)
            uniqueid, left = channel.uniqueid, party.endpoint
            kept = [Segment(recording.id, number, uniqueid, channel.name, now, left=left, place=self.place)]
            recording.segments += kept
            recording.consent = Consent.BEEP if beep else recording.consent
            if talk & self._consented:
                recording.consent = Consent.ANNOUNCEMENT
            done.append(Start(kept[0], beep))
        for segment in kept:
            others = {self._party(self.channels[one]).endpoint for one in talk if one != segment.uniqueid}
            segment.right += sorted(others - set(segment.right))
        return done

    def _stop(self, segment: Segment, now: int) -> list[Command]:
        segment.stop(now)
        return [Stop(segment)]
