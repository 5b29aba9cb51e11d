"""What is known of a recording while it is made: its segments, its pauses, and how both are written down beside the sound.

A segment is what one MixMonitor on one channel writes: `N.rx.wav` is what came from that party, `N.tx.wav` what it heard of the
others. All of it is kept; where nothing may be kept there is no MixMonitor. Times are microseconds since the epoch. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pbxd.recording.policy import Consent, Party

VERSION = 1
Span = tuple[int, int]


@dataclass(slots=True)
class Segment:
    """One MixMonitor."""

    folder: (
        str  # name of the spool folder in which its files are: its recording's, or that of one which became part of it
    )
    number: int  # of its files in there
    uniqueid: str  # of the channel that is recorded
    channel: str
    asked_at: int  # when Asterisk was asked for it
    at: int | None = None  # when its files begin; None: Asterisk has not said so
    end: int | None = None  # when it stopped; None: it goes on
    left: str = ""  # endpoint of the recorded party
    right: list[str] = field(default_factory=list)  # endpoints of those whom it heard
    monitor: str = ""  # Asterisk's id of the MixMonitor
    stopped: bool = False  # Asterisk has ended it, or never began it
    place: str = ""  # the spool in which its folder is; empty is its recording's

    @property
    def going_on(self) -> bool:
        """Whether Asterisk writes to its files still."""
        return self.end is None

    def stop(self, now: int) -> None:
        """What comes from now on is not in it."""
        if self.end is None:
            self.end = now


@dataclass(slots=True)
class Recording:
    """One logical recording of one call, over all its transfers, holds and parkings."""

    id: str
    call: str  # uniqueid of the call's first channel: the id of its record in the statistics
    start: int
    direction: str = ""
    caller: str = ""
    dialled: str = ""
    queue: str = ""
    consent: Consent = Consent.NONE
    end: int | None = None  # None: it goes on, or nobody saw it end; then it is where the sound ends
    parties: dict[str, Party] = field(default_factory=dict)  # endpoint -> who
    channels: set[str] = field(default_factory=set)  # uniqueids that the call has had
    segments: list[Segment] = field(default_factory=list)
    pauses: dict[str, int] = field(default_factory=dict)  # why (asked, digits) -> since when
    gaps: list[Span] = field(default_factory=list)  # pauses that are over
    merged: list[str] = field(default_factory=list)  # recordings that turned out to be of this call
    held: set[str] = field(default_factory=set)  # uniqueids whose phones have put the others on hold
    unwanted: bool = False  # somebody stopped it; a rule that says always does not begin it again
    faults: list[str] = field(default_factory=list)
    place: str = ""  # the spool in which its state is written
    said: str = ""  # its class, as it was said of the call; see `classes`
    rules_classes: list[str] = field(default_factory=list)  # of the rules by which it was recorded, kept longest first

    @property
    def kind(self) -> str:
        """Its class, by which it is kept."""
        return self.said or (self.rules_classes or ["call"])[0]

    @property
    def paused(self) -> bool:
        """Whether it is paused, for whatever reason."""
        return bool(self.pauses)

    def pause(self, why: str, since: int) -> None:
        """Keep nothing from `since` on."""
        self.pauses.setdefault(why, since)

    def resume(self, why: str, now: int) -> None:
        """That reason is over; others may stand."""
        since = self.pauses.pop(why, None)
        if since is not None and since < now:
            self.gaps.append((since, now))

    def absorb(self, other: Recording) -> None:
        """`other`, which began later, is of the same call."""
        self.channels |= other.channels
        self.held |= other.held
        self.unwanted |= other.unwanted
        self.parties = other.parties | self.parties
        self.queue = self.queue or other.queue
        self.said = self.said or other.said
        self.rules_classes += other.rules_classes
        self.segments += other.segments
        self.gaps += other.gaps
        self.merged += [other.id, *other.merged]
        self.faults += other.faults
        self.consent = min(self.consent, other.consent)
        for why, since in other.pauses.items():
            self.pause(why, since)


def state_of(recording: Recording) -> str:
    """A recording that is being made, as text; `recording_of` reads it back."""
    values = asdict(recording)
    values["channels"], values["held"] = sorted(recording.channels), sorted(recording.held)
    return json.dumps({"version": VERSION, **values}, ensure_ascii=False)


def recording_of(text: str) -> Recording:
    """A recording from its state. ValueError if that is none of ours."""
    try:
        values: dict[str, Any] = json.loads(text)
        if values.pop("version") != VERSION:
            raise ValueError("it is of another version of pbxd")
        values["consent"] = Consent(values["consent"])
        values["parties"] = {name: Party(**party) for name, party in values["parties"].items()}
        values["channels"], values["held"] = set(values["channels"]), set(values.get("held", ()))
        values["segments"] = [Segment(**segment) for segment in values["segments"]]
        values["gaps"] = [(start, end) for start, end in values["gaps"]]
        return Recording(**values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no state of a recording: {error!r}") from error


def finished(recording: Recording, files: Mapping[tuple[str, int], tuple[str, str]]) -> dict[str, Any]:
    """What the pipeline is told of a recording that is complete.

    `files` has for each segment (its folder, its number) the names of its two files in the recording's own folder.
    """
    begun = [segment for segment in recording.segments if segment.at is not None]
    end = recording.end or max(
        (segment.end or segment.asked_at for segment in recording.segments), default=recording.start
    )
    start = min((segment.at for segment in begun if segment.at is not None), default=recording.start)
    told = []
    for segment in begun:
        left, right = files[segment.folder, segment.number]
        told.append(
            {
                "at": segment.at,
                "end": end if segment.end is None else segment.end,
                "left": left,
                "right": right,
                "left_party": segment.left,
                "right_parties": segment.right,
            }
        )
    gaps = [*recording.gaps, *((since, end) for since in recording.pauses.values() if since < end)]
    return {
        "version": VERSION,
        "id": recording.id,
        "call": recording.call,
        "start": start,
        "end": max(start, end),
        "class": recording.kind,
        "caller": recording.caller,
        "dialled": recording.dialled,
        "direction": recording.direction,
        "queue": recording.queue,
        "parties": [asdict(party) for party in recording.parties.values()],
        "consent": recording.consent.name.lower(),
        "segments": told,
        "gaps": [list(span) for span in united(gaps)],
        "faults": recording.faults,
    }


def united(spans: Iterable[Span]) -> list[Span]:
    """The same times, in order and without overlaps."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif start < end:
            found.append((start, end))
    return found
