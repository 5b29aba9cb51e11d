"""What must be true of the recordings after many kills: each talk's recording, and the store, judged against what the phones did.

The rule for a recording that begins late: pbxd can only ask Asterisk to record while it is up. So a recording must have begun at
the end of the first LATE seconds of the talk in which pbxd was up without a break (up: its AMI session was seen to be there). A
talk without such seconds may have a recording or none. Once it has begun, nothing may be missing until the end of the talk, however
often pbxd is killed: Asterisk writes on by itself. No talk has two.

Once begun it is one piece: a second one would mean that a start of pbxd stopped Asterisk and asked it again. Within that piece a
side may be silent for QUIET seconds in all, which are counted: on a busy machine a phone, or Asterisk, stands still for a moment,
and what was not sent is in no file. A tone that is not that side's is always wrong.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from lab.hearing import Sound, heard, pitch

LATE = 2.0  # s in which a pbxd that is up has begun to record, on a busy machine
EARLY = 1.0  # s by which the phones may see the talk's beginning after Asterisk
ENDS = 1.0  # s by which the recording's end and the talk's may differ
LENGTH = 0.1  # s by which the sound's length and the recording's times may differ
STEP = 0.2  # s in which one pitch is heard
EDGE = 0.6  # s at both ends in which a side may still, or already, be silent
QUIET = 2.0  # s
NEAR = 40  # Hz; a tone with a break in it is heard beside its pitch, and the phones' tones are 100 Hz apart
PLAIN = (b"OpusHead", b"WAVEfmt ")  # what every file of plain sound has in it


@dataclass(frozen=True, slots=True)
class Talk:
    """Two phones that talked, as they saw it; epoch seconds."""

    caller: str
    called: str
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Made:
    """A recording, as it was heard."""

    id: str
    start: float  # epoch seconds, as all times here
    end: float
    left: frozenset[str]  # numbers of the recorded parties
    numbers: frozenset[str]  # of all parties
    seconds: float  # of sound
    heard: tuple[tuple[int, int], ...]  # the pitch on both sides, each STEP
    faults: tuple[str, ...]
    pieces: int = 1

    @property
    def inner(self) -> tuple[tuple[int, int], ...]:
        """What was heard, without both ends."""
        edge = round(EDGE / STEP)
        return self.heard[edge : len(self.heard) - edge]

    @property
    def quiet(self) -> float:
        """For how long a side was silent, in s."""
        return STEP * sum(0 in pair for pair in self.inner)


def due(talk: Talk, downs: Sequence[tuple[float, float]]) -> float | None:
    """When at the latest the talk's recording must have begun; None if it need not."""
    at = talk.begin
    for begin, end in sorted(downs):
        if end > at and begin < at + LATE:
            at = max(at, end)
    return at + LATE if at + LATE < talk.end else None


def made_of(file: Path, facts: dict[str, Any]) -> Made:
    """Listen to a recording."""
    sound, rate = heard(file)
    parties = facts["parties"]
    number = {party["endpoint"]: party["number"] for party in parties}
    return Made(
        id=facts["id"],
        start=facts["start"] / 1e6,
        end=facts["end"] / 1e6,
        left=frozenset(number[segment["left"]] for segment in facts["segments"]),
        numbers=frozenset(number.values()),
        seconds=len(sound) / rate,
        heard=tuple(_pitches(sound, rate)),
        faults=tuple(facts["faults"]),
        pieces=len(facts["segments"]),
    )


def _pitches(sound: Sound, rate: int) -> Iterator[tuple[int, int]]:
    step = round(rate * STEP)
    for at in range(0, len(sound) - step + 1, step):
        part = sound[at : at + step]
        yield pitch(part[:, 0], rate), pitch(part[:, 1], rate)


def exported(tar: Path, scratch: Path) -> list[Made]:
    """All recordings of a `pbxctl vault export`. Its errors are faults of a recording of the id `errors`."""
    found = []
    with tarfile.open(tar) as archive:
        facts = {member.name: member for member in archive if member.name.endswith(".json")}
        for name, member in facts.items():
            text = archive.extractfile(member)
            told = json.loads(text.read()) if text is not None else {}
            if name == "errors.json":
                if told:
                    found.append(Made("errors", 0, 0, frozenset(), frozenset(), 0, (), (str(told),)))
                continue
            archive.extract(name.removesuffix(".json"), scratch, filter="data")
            sound = scratch / name.removesuffix(".json")
            found.append(made_of(sound, told))
            sound.unlink()
    return found


def judged(
    talks: Iterable[Talk],
    made: Iterable[Made],
    downs: Sequence[tuple[float, float]],
    tones: Mapping[str, int],
) -> list[str]:
    """All that is wrong, in words: with a talk, or a recording that is of none."""
    of: dict[Talk, list[Made]] = {talk: [] for talk in talks}
    wrong = []
    for one in made:
        talk = max(of, key=lambda talk: _overlap(one, talk), default=None)
        if talk is None or _overlap(one, talk) < -EARLY:
            wrong.append(f"{one.id}: it is a recording of no talk; {one.faults}")
        else:
            of[talk].append(one)
    for talk, mine in of.items():
        latest = due(talk, downs)
        name = f"{talk.caller} with {talk.called} at {talk.begin:.2f} for {talk.end - talk.begin:.1f} s"
        wrong += [f"{name}: {one.id}: {fault}" for one in mine for fault in _faults(one, talk, latest, tones)]
        if len(mine) > 1:
            wrong.append(f"{name}: it has {len(mine)} recordings: {', '.join(one.id for one in mine)}")
        if not mine and latest is not None:
            wrong.append(f"{name}: it has no recording")
    return wrong


def _overlap(one: Made, talk: Talk) -> float:
    """For how long both were, in s; negative is how far they are apart, and infinite if others talk there."""
    if one.numbers != {talk.caller, talk.called}:
        return -inf
    return min(one.end, talk.end) - max(one.start, talk.begin)


def _faults(one: Made, talk: Talk, latest: float | None, tones: Mapping[str, int]) -> Iterator[str]:
    if one.start < talk.begin - EARLY:
        yield f"it begins {talk.begin - one.start:.2f} s before the talk"
    if latest is not None and one.start > latest:
        yield f"it begins {one.start - latest:.2f} s too late"
    if abs(one.end - talk.end) > ENDS:
        yield f"it ends {one.end - talk.end:+.2f} s from the talk's end"
    if abs(one.seconds - (one.end - one.start)) > LENGTH:
        yield f"it has {one.seconds:.2f} s of sound in {one.end - one.start:.2f} s"
    if one.pieces != 1:
        yield f"it has {one.pieces} pieces"
    if one.quiet > QUIET:
        yield f"a side is silent for {one.quiet:.1f} s"
    yield from (fault for fault in one.faults if not (fault.endswith("are missing") and one.quiet <= QUIET))
    if len(one.left) != 1:
        yield f"{sorted(one.left)} are on its left"
        return
    (near,) = one.left
    (far,) = one.numbers - one.left
    if odd := [pair for pair in one.inner if not (_is(pair[0], tones[near]) and _is(pair[1], tones[far]))]:
        yield f"{len(odd)} of {len(one.inner)} moments are not {tones[near]} and {tones[far]} Hz: {odd[:5]}"


def _is(heard_hz: int, tone: int) -> bool:
    """Whether it is that tone, or silence."""
    return heard_hz == 0 or abs(heard_hz - tone) <= NEAR


def plain_sound(folders: Iterable[Path], pieces: Iterable[bytes]) -> list[str]:
    """Files in these folders that have plain sound in them, by what such files begin with or by `pieces` of what was spoken."""
    wanted = (*PLAIN, *pieces)
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                found += [f"{path} has plain sound in it: {piece[:16]!r}" for piece in wanted if piece in content]
    return found
