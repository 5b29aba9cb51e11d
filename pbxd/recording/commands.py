"""What the recorder decides on, for the service to carry out."""

from __future__ import annotations

from dataclasses import dataclass

from pbxd.recording.segments import Recording


@dataclass(frozen=True, slots=True)
class Start:
    """Put a MixMonitor on a channel."""

    folder: str
    number: int
    channel: str
    beep: bool


@dataclass(frozen=True, slots=True)
class Mute:
    """Mute the MixMonitors of a channel, or let them hear again."""

    channel: str
    on: bool


@dataclass(frozen=True, slots=True)
class Save:
    """Write the state of a recording beside its sound."""

    recording: Recording


@dataclass(frozen=True, slots=True)
class Finish:
    """The call is over: hand the recording to the pipeline."""

    recording: Recording


Command = Start | Mute | Save | Finish
