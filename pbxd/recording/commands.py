"""What the recorder decides on, for the service to carry out."""

from __future__ import annotations

from dataclasses import dataclass

from pbxd.recording.segments import Recording, Segment


@dataclass(frozen=True, slots=True)
class Start:
    """Put a MixMonitor on a channel."""

    segment: Segment
    beep: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """Take that MixMonitor off the channel, and leave others that it has."""

    segment: Segment


@dataclass(frozen=True, slots=True)
class Listen:
    """Have Asterisk tell of keys on this channel though nothing is recorded.

    Without a MixMonitor it lets two phones' RTP pass by itself (bridge_native_rtp), and does not look at the keys in it.
    """

    segment: Segment


@dataclass(frozen=True, slots=True)
class Save:
    """Write the state of a recording beside its sound."""

    recording: Recording


@dataclass(frozen=True, slots=True)
class Finish:
    """The call is over: hand the recording to the pipeline."""

    recording: Recording


Command = Start | Stop | Listen | Save | Finish
