"""What goes on in Asterisk when pbxd comes back to it: asked once after each connect, before anything is decided.

A kill between asking Asterisk for a MixMonitor and hearing its answer leaves open whether there is one; one that was to be ended
may run still. Asterisk keeps the id of each in a variable of the channel (`variable_of`), and knows of SIP phones whether they are
held and of all channels whether the announcement was heard. Of other phones the hold is what the spool's state said last.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pbxd.calls.live import Event, LiveChannel
from pbxd.errors import ActionFailed, ActionTimeout
from pbxd.recording.commands import Command, Save, Stop
from pbxd.recording.segments import Recording, Segment

AT_ONCE = 200  # questions that wait for an answer at one time; the AMI session allows 1,000
HELD = {"1": True, "0": False}
CLASS = "PBXD_CLASS"  # set by the FastAGI application record to the class that was said
ANNOUNCED = "PBXD_ANNOUNCED"  # set to `yes` by the FastAGI application announce


class Asterisk(Protocol):
    """What is needed of the AMI session."""

    async def action(self, name: str, **headers: str) -> Event:
        """Send an action and give its answer; AmiError if it fails."""


@dataclass(frozen=True, slots=True)
class Told:
    """Asterisk's answers; what it cannot tell is in none of them."""

    held: Mapping[str, bool] = field(default_factory=dict)  # uniqueid -> whether its phone has put the others on hold
    announced: Collection[str] = ()  # uniqueids that heard the announcement
    classes: Mapping[str, str] = field(default_factory=dict)  # uniqueid -> class that was said of its call
    monitors: Mapping[tuple[str, int], str] = field(default_factory=dict)  # segment's folder, number -> id; "" is none


def variable_of(segment: Segment) -> str:
    """The channel's variable in which Asterisk puts the id of this segment's MixMonitor."""
    return re.sub(r"\W", "_", f"PBXD_MONITOR_{segment.folder}_{segment.number}")


async def monitor_of(asterisk: Asterisk, segment: Segment) -> str:
    """Asterisk's id of a segment's MixMonitor; empty if it never began one. AmiError if it cannot be asked."""
    return await _variable(asterisk, segment.channel, variable_of(segment)) or ""


async def ask(
    asterisk: Asterisk,
    channels: Mapping[str, LiveChannel],
    recordings: Iterable[Recording],
    *,
    announcements: bool,
    classes: Collection[str] = (),
) -> Told:
    """Ask for all that is not known of these; `classes` are those that there are. AmiError if the link fails meanwhile."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def value(channel: str, variable: str) -> str | None:
        async with turns:
            return await _variable(asterisk, channel, variable)

    sip = [one for one in channels.values() if one.bridge and one.name.startswith("PJSIP/")]
    holds = await asyncio.gather(*(value(one.name, "CHANNEL(rtp,hold)") for one in sip))
    every = list(channels.values()) if announcements else []
    heard = await asyncio.gather(*(value(one.name, ANNOUNCED) for one in every))
    several = list(channels.values()) if len(classes) > 1 else []
    said = await asyncio.gather(*(value(one.name, CLASS) for one in several))
    unsure = [segment for one in recordings for segment in one.segments if is_unsure(segment, channels)]
    ids = await asyncio.gather(*(value(segment.channel, variable_of(segment)) for segment in unsure))
    return Told(
        {one.uniqueid: HELD[hold] for one, hold in zip(sip, holds, strict=True) if hold in HELD},
        {one.uniqueid for one, answer in zip(every, heard, strict=True) if answer == "yes"},
        {one.uniqueid: kind for one, kind in zip(several, said, strict=True) if kind and kind in classes},
        {(one.folder, one.number): found for one, found in zip(unsure, ids, strict=True) if found is not None},
    )


async def _variable(asterisk: Asterisk, channel: str, variable: str) -> str | None:
    """A channel's variable, empty if it is not set; None if the channel is gone or cannot tell."""
    try:
        return (await asterisk.action("Getvar", Channel=channel, Variable=variable)).get("Value")
    except (ActionFailed, ActionTimeout):
        return None


def is_unsure(segment: Segment, channels: Collection[str]) -> bool:
    """Whether only Asterisk knows if it has, or had, a MixMonitor for this segment."""
    return segment.at is None and not segment.monitor and not segment.stopped and segment.uniqueid in channels


def settle(
    recording: Recording, channels: Collection[str], monitors: Mapping[tuple[str, int], str], now: int
) -> list[Command]:
    """Bring a recording's segments in line with what Asterisk told: those that never began, and those that must not go on. Pure."""
    for segment in recording.segments:
        if segment.uniqueid not in channels:
            segment.stop(now)  # it ended while nobody looked; its files tell when
            segment.stopped = True
        elif is_unsure(segment, channels):
            segment.monitor = monitors.get((segment.folder, segment.number), "")
            if not segment.monitor:
                segment.stop(segment.asked_at)  # the next look begins another one
                segment.stopped = True
    running = {(segment.uniqueid, segment.monitor) for segment in recording.segments if segment.going_on}
    # An id is the address of the MixMonitor, which Asterisk may have given to a later one.
    left = [
        segment
        for segment in recording.segments
        if not segment.going_on and not segment.stopped and (segment.uniqueid, segment.monitor) not in running
    ]
    return [Save(recording), *map(Stop, left)]
