"""An office that records its calls: a box, its phones, each with a tone of its own, and what is heard in the recordings."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile

from lab.asterisk import owner, wait_until
from lab.box import Box
from lab.desk import Desk
from lab.hearing import SILENCE, Sound, loudness, pitch, sharing

RECORDING = """
control: {{group: games}}
people: [{{name: rita, login: nobody, extensions: ['137']}}]
comms: {{folder: {box}/comms, key_file: {box}/keys/comms.key}}
recording:
  enabled: true
  spool: {spool}
  spool_group: '{group}'
  digits_after: 2s
  beep_every: 2s
  classes: [complaint, order]
  keep_classes: {{complaint: 3w, order: 730d}}
  announcement: {announcement}
  rules: {rules}
{site}
"""
T = TypeVar("T")
TOLD = {"en": 1900, "de": 2300, "other": 2700}  # language (or another announcement) -> its tone in Hz


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording: its facts, and its sound."""

    facts: dict[str, Any]
    sound: Sound
    rate: int

    @property
    def length(self) -> float:
        """In seconds."""
        return len(self.sound) / self.rate

    def talks(self) -> list[tuple[int, int]]:
        """The tones on both sides, one pair after the other; what is shorter than 0.4 s, or silent, does not count."""
        return [
            (left, right)
            for left, right in steady(
                [(pitch(part[:, 0], self.rate), pitch(part[:, 1], self.rate)) for part in self.steps()]
            )
            if left or right
        ]

    def voices(self, tones: Mapping[str, int]) -> list[tuple[str, str]]:
        """The phones on both sides, by their tones: `101+102` where both are heard at once; as `talks` otherwise."""

        def names(part: Sound) -> str:
            return "+".join(phone for phone, tone in tones.items() if sharing(part, self.rate, tone))

        return [pair for pair in steady([(names(part[:, 0]), names(part[:, 1])) for part in self.steps()]) if any(pair)]

    def steps(self) -> list[Sound]:
        """The sound in pieces of 0.2 s."""
        step = self.rate // 5
        return [self.sound[start : start + step] for start in range(0, len(self.sound) - step, step)]

    def silent_seconds(self) -> float:
        """How long nothing is to be heard on either side, in steps of 50 ms."""
        step = self.rate // 20
        return sum(loudness(self.sound[at : at + step]) < SILENCE for at in range(0, len(self.sound), step)) / 20

    def gaps(self) -> list[Sound]:
        """The sound of each pause that its facts tell of."""
        start = self.facts["start"]
        spans = [[round((at - start) * self.rate / 1_000_000) for at in span] for span in self.facts["gaps"]]
        return [self.sound[max(0, first) : max(0, last)] for first, last in spans]


def steady(found: list[T]) -> list[T]:
    """What comes at least twice in a row, once for each time that it does."""
    return [now for at, now in enumerate(found) if at and found[at - 1] == now and (at < 2 or found[at - 2] != now)]


@dataclass(frozen=True, slots=True)
class Office:
    """A box that records, and its phones."""

    box: Box
    desk: Desk
    spool: Path
    rules: str

    def recordings(self, number: str = "") -> list[dict[str, Any]]:
        """Those in the store that have `number`, newest first, when a pbxd that was started has opened it."""
        wait_until(lambda: not self.box.pbxd.status()["recordings"]["error"], "the store to be open")
        return list(self.box.pbxd.api.lines("/v1/recordings", number=number))

    def status(self) -> dict[str, Any]:
        """Of the recorder."""
        found: dict[str, Any] = self.box.pbxd.status()["recording"]
        return found

    def under_way(self, number: str) -> dict[str, Any]:
        """The recording that is being made of a call that has this phone; empty if there is none."""
        for one in self.box.pbxd.api.get("/v1/recorder")["recordings"]:
            if any(party["number"] == number for party in one["parties"]):
                return dict(one)
        return {}

    def pauses(self, number: str, *reasons: str) -> dict[str, Any]:
        """Wait until the recording of this phone's call is paused for these reasons and no other; it."""
        wait_until(lambda: self.under_way(number).get("pauses") == [*reasons], f"{number} to be paused by {reasons}")
        return self.under_way(number)

    def only_one(self, number: str) -> Heard:
        """The one recording that there ever was of this phone, decrypted."""
        wait_until(lambda: bool(self.recordings(number)), f"a recording of {number} to be stored")
        (one,) = self.recordings(number)
        return self.heard(one["id"])

    def next_one(self, known: list[dict[str, Any]]) -> Heard:
        """The recording that is stored and was not before, decrypted."""
        wait_until(lambda: len(self.recordings()) > len(known), "a recording to be stored")
        names = {one["id"] for one in known}
        (one,) = [one for one in self.recordings() if one["id"] not in names]
        return self.heard(one["id"])

    def heard(self, name: str) -> Heard:
        """A recording, decrypted."""
        data, _ = self.box.pbxd.api.file(f"/v1/recordings/{name}/sound")
        sound, rate = soundfile.read(io.BytesIO(data), always_2d=True)
        return Heard(self.box.pbxd.api.get(f"/v1/recordings/{name}"), np.asarray(sound, dtype=np.float64), int(rate))

    def record(self, made: Heard) -> dict[str, Any]:
        """The call that the recording is of, as the statistics have it."""
        wait_until(
            lambda: any(record["id"] == made.facts["call"] for record in self.box.pbxd.records()),
            "the call in the store",
        )
        return next(record for record in self.box.pbxd.records() if record["id"] == made.facts["call"])

    def configure(self, *, announcement: str = "/lab/sounds/told", rules: str = "", site: str = "") -> None:
        """Write what pbxd's configuration says of recordings; a start or a reload takes it up."""
        group = owner(self.box.asterisk.tree)[1]
        self.box.pbxd.configure(
            more=RECORDING.format(
                box=self.box.folder, spool=self.spool, group=group, rules=f"[{rules or self.rules}]", site=site,
                announcement=announcement,
            )
        )  # fmt: skip


def announcements(folder: Path) -> None:
    """Sounds that say that a call is recorded, a tone for each language: `/lab/sounds/told`, and `other` in one language."""
    for language, tone in TOLD.items():
        file = folder / (f"{language}/told.wav" if language != "other" else "other.wav")
        file.parent.mkdir(parents=True, exist_ok=True)
        times = np.arange(9600) / 8000
        soundfile.write(file, 0.3 * np.sin(2 * np.pi * tone * times), 8000, subtype="PCM_16")


def endpoint_options(box: Box, options: Mapping[str, str]) -> None:
    """Give phones options of their own in pjsip.conf."""
    file = box.asterisk.etc / "pjsip.conf"
    text = file.read_text()
    for phone, option in options.items():
        text = text.replace(f"callerid=Phone {phone} ", f"{option}\ncallerid=Phone {phone} ")
    file.write_text(text)
