"""A recorder alone: what happens to channels goes in, what Asterisk would be asked for comes out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from pbxd.calls.live import LiveChannel
from pbxd.calls.site import Site
from pbxd.recording.commands import Command, Finish, Listen, Start, Stop
from pbxd.recording.policy import Consent, Mode, Rule
from pbxd.recording.recorder import Recorder, RecorderRules
from pbxd.recording.segments import Recording, finished, recording_of, state_of
from pbxd.recording.takeover import Told

SECOND = 1_000_000
SITE = Site(["PJSIP/trunk-*"], ["1XX"])
ALWAYS = Rule(Mode.ALWAYS, consent=Consent.NONE)


class Stage:
    """A recorder, and channels by their number; a second passes with each thing that happens."""

    def __init__(self, *rules: Rule, **more: Any) -> None:
        self.recorder = Recorder(
            SITE, RecorderRules(rules or (ALWAYS,), **more), lambda at: datetime.fromtimestamp(at / SECOND, UTC)
        )
        self.now = 1_000 * SECOND
        self.live: dict[int, LiveChannel] = {}
        self.done: list[Recording] = []
        self.asked: list[str] = []

    def do(self, commands: list[Command]) -> None:
        """Carry out what was decided, as Asterisk would."""
        for command in commands:
            if isinstance(command, Start):
                self.asked.append(f"record {command.segment.channel}")
                self.do(self.recorder.started(command.segment, self.now, "0x1"))
            elif isinstance(command, Stop):
                self.asked.append(f"stop {command.segment.channel}")
            elif isinstance(command, Finish):
                self.done.append(command.recording)
            elif isinstance(command, Listen):
                self.asked.append(f"listen {command.segment.channel}")
            else:
                assert recording_of(state_of(command.recording)) == command.recording

    def tell(self, n: int) -> None:
        self.now += SECOND
        self.do(self.recorder.changed(f"1.{n}", self.live.get(n), self.now))

    def new(self, n: int, endpoint: str, linked: int | None = None, exten: str = "", queue: str = "") -> None:
        name = endpoint if endpoint.startswith("Local/") else f"{endpoint}-{n:08x}"
        number = endpoint.rpartition("/")[2]
        linkedid = f"1.{n if linked is None else linked}"
        self.live[n] = LiveChannel(f"1.{n}", linkedid, name, number, "", exten, "up", self.now / SECOND, queue=queue)
        self.tell(n)

    def bridge(self, bridge: str, *numbers: int) -> None:
        """These enter a bridge; the oldest linkedid of those in it is everybody's."""
        for n in numbers:
            self.live[n].bridge = bridge
            inside = [one for one in self.live.values() if bridge and one.bridge == bridge]
            for one in inside:
                one.linkedid = min((other.linkedid for other in inside), key=lambda text: int(text[2:]))
            self.live[n].queue = ""
            self.tell(n)

    def hold(self, n: int, *, held: bool = True) -> None:
        self.live[n].held = held
        self.tell(n)

    def hang_up(self, *numbers: int) -> None:
        for n in numbers:
            del self.live[n]
            self.tell(n)

    def call(self, caller: int = 1, called: int = 2, bridge: str = "a") -> None:
        self.new(caller, f"PJSIP/10{caller}", exten=f"10{called}")
        self.new(called, f"PJSIP/10{called}", linked=caller)
        self.bridge(bridge, caller, called)

    def files(self, recording: Recording) -> dict[tuple[str, int], tuple[str, str]]:
        return {
            (s.folder, s.number): (f"{s.folder}-{s.number}.rx.wav", f"{s.folder}-{s.number}.tx.wav")
            for s in recording.segments
        }

    def live_now(self) -> dict[str, LiveChannel]:
        """All channels, by their uniqueids."""
        return {channel.uniqueid: channel for channel in self.live.values()}

    def told(self) -> dict[str, Any]:
        (recording,) = self.done
        made: dict[str, Any] = json.loads(json.dumps(finished(recording, self.files(recording))))
        return made


class After(Stage):
    """pbxd was killed, and started again while the channels of an earlier stage go on."""

    def __init__(self, before: Stage, told: Told | None = None, *rules: Rule) -> None:
        super().__init__(*rules)
        self.now = before.now + SECOND
        self.live = before.live
        for recording in before.recorder.recordings.values():
            self.recorder.adopt(recording_of(state_of(recording)))
        self.do(self.recorder.replaced({one.uniqueid: one for one in self.live.values()}, self.now, told))
