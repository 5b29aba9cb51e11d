"""Voice quality of one channel, from the RTCP reports that Asterisk tells of over AMI. RFC 3550 §6.4.

RTCPReceived carries the far end's report on what we sent to it: direction `sent`, what the party heard. RTCPSent carries our own
report on what came from it: direction `received`. Units are those of Asterisk 22's documentation of the two events: IAJitter in RTP
timestamp units, RTT in seconds, FractionLost as the byte of the report (256 is all). RTT stands in RTCPReceived only.

A direction without a report is None: nothing is known of it, which is not the same as nothing lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pbxd.calls.emodel import CODECS, mos

BLOCKS = 31  # report blocks in one RTCP packet: its count has five bits
INTERVAL = 65_536  # packets: more than this between two reports is a new stream or a lost count, not an interval
WRAP = 2**32  # of the extended sequence number: 16 bits of cycles, 16 of sequence
PACKET_TIME = 20.0  # ms of speech that wait to fill a packet, at the usual ptime
BUFFER_LEAST, BUFFER_MOST = 20.0, 200.0  # ms of a phone's jitter buffer
JITTER_LIMIT = 60_000.0  # ms: a report that says more is garbage
ROUND_TRIP_LIMIT = 60.0  # s: likewise

CLOCK_RATES = {
    "opus": 48_000,
    "slin16": 16_000,
}  # RTP clock of formats that have not 8000; G.722's is 8000 (RFC 3551 §4.5.2)

Header = Callable[[str], str]  # the value of a header by its name, "" if there is none


@dataclass(frozen=True, slots=True)
class Direction:
    """What one way of a channel's voice went through."""

    reports: int
    loss: float  # share of packets lost, 0 to 1, over all intervals
    worst_loss: float  # of the worst interval between two reports
    jitter_mean: float  # ms
    jitter_max: float  # ms
    mos: float | None  # None for a codec that the E-model has no values for


@dataclass(frozen=True, slots=True)
class Quality:
    """Both ways of a channel's voice. None is unknown: no report came."""

    sent: Direction | None  # from Asterisk to the party: what the party heard
    received: Direction | None  # from the party to Asterisk
    rtt_mean: float | None  # ms
    rtt_max: float | None  # ms


@dataclass(slots=True)
class Mean:
    """A mean and a maximum, without keeping the values."""

    count: int = 0
    total: float = 0.0
    most: float = 0.0

    def add(self, value: float) -> None:
        """One more value, not negative."""
        self.count += 1
        self.total += value
        self.most = max(self.most, value)

    def mean(self) -> float:
        """0 if there was none."""
        return self.total / self.count if self.count else 0.0


@dataclass(slots=True)
class Tally:
    """Sums over the report blocks of one direction."""

    loss: Mean = field(default_factory=Mean)  # a report each: for the worst, and for the plain mean
    jitter: Mean = field(default_factory=Mean)  # in timestamp units
    packets: int = 0  # in the intervals whose length is known
    lost: float = 0.0  # of those
    measured: int = 0  # how many such intervals
    unmeasured: Mean = field(default_factory=Mean)  # losses of the others
    highest: dict[str, int] = field(default_factory=dict)  # by SSRC: extended sequence number at its last report

    def take(self, block: Header, clock_rate: int) -> None:
        """One report block. A block without a loss or a jitter that can be read is no report."""
        fraction, jitter = _whole(block("FractionLost")), _whole(block("IAJitter"))
        if fraction is None or jitter is None or fraction > 255 or 1000 * jitter / clock_rate > JITTER_LIMIT:
            return
        loss = fraction / 256
        self.loss.add(loss)
        self.jitter.add(jitter)
        packets = self._interval(block)
        if packets is None:
            self.unmeasured.add(loss)
        elif packets:
            self.packets += packets
            self.lost += loss * packets
            self.measured += 1

    def _interval(self, block: Header) -> int | None:
        """Packets since the report before this one; None for the first of a stream, or if it does not say."""
        source, sequence, cycles = (
            block("SourceSSRC"), _whole(block("HighestSequence")), _whole(block("SequenceNumberCycles")),
        )  # fmt: skip
        if sequence is None or cycles is None or sequence > 0xFFFF or cycles > 0xFFFF:
            return None
        highest = cycles << 16 | sequence
        before = self.highest.get(source)
        if before is None and len(self.highest) >= BLOCKS:
            return None
        self.highest[source] = highest
        if before is None:
            return None
        packets = (highest - before) % WRAP
        return packets if packets <= INTERVAL else None

    def total_loss(self) -> float:
        """Mean loss, weighted by the lengths of the intervals; one of unknown length counts as much as those do on average."""
        if not self.measured:
            return self.loss.mean()
        usual = self.packets / self.measured
        return (self.lost + usual * self.unmeasured.total) / (self.packets + usual * self.unmeasured.count)


class ChannelQuality:
    """Takes a channel's RTCP events, one at a time, in constant memory. Never raises for what stands in them."""

    def __init__(self, codec: str = "alaw") -> None:
        """`codec` is Asterisk's name of the format; it gives the RTP clock rate and the E-model's values."""
        self.codec = codec
        self.clock_rate = CLOCK_RATES.get(codec, 8000)
        self._sent = Tally()
        self._received = Tally()
        self._rtt = Mean()

    def take(self, kind: str, header: Header) -> None:
        """One event: `kind` is RTCPSent or RTCPReceived (others are ignored), `header` gives its headers."""
        if kind not in ("RTCPSent", "RTCPReceived"):
            return
        tally = self._received if kind == "RTCPSent" else self._sent
        for number in range(min(_whole(header("ReportCount")) or 0, BLOCKS)):
            tally.take(lambda name, number=number: header(f"Report{number}{name}"), self.clock_rate)  # type: ignore[misc]
        if kind == "RTCPReceived" and _whole(header("Report0LSR")):  # without LSR, RTT is 0.0000 and means nothing
            rtt = _decimal(header("RTT"))
            if rtt is not None and rtt <= ROUND_TRIP_LIMIT:
                self._rtt.add(1000 * rtt)

    def quality(self) -> Quality:
        """What is known so far."""
        known = self._rtt.count > 0
        return Quality(
            sent=self._direction(self._sent),
            received=self._direction(self._received),
            rtt_mean=self._rtt.mean() if known else None,
            rtt_max=self._rtt.most if known else None,
        )

    def _direction(self, tally: Tally) -> Direction | None:
        if not tally.loss.count:
            return None
        jitter = 1000 * tally.jitter.mean() / self.clock_rate
        loss = tally.total_loss()
        codec = CODECS.get(self.codec)
        return Direction(
            reports=tally.loss.count,
            loss=loss,
            worst_loss=tally.loss.most,
            jitter_mean=jitter,
            jitter_max=1000 * tally.jitter.most / self.clock_rate,
            mos=None if codec is None else mos(loss, one_way_delay(self._rtt.mean(), jitter), codec),
        )


def one_way_delay(rtt: float, jitter: float) -> float:
    """Mouth to ear, all in ms: half the round trip, a packet's time, and a jitter buffer of twice the jitter (20 to 200 ms).

    An unknown round trip is 0 here: the MOS is then that of a near network, and is not too low.
    """
    return rtt / 2 + PACKET_TIME + min(BUFFER_MOST, max(BUFFER_LEAST, 2 * jitter))


def _whole(text: str) -> int | None:
    """A whole number that is not negative; None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else None


def _decimal(text: str) -> float | None:
    """A decimal number that is not negative, as `0.0213`; None for anything else."""
    whole, _, part = text.partition(".")
    digits = whole + part
    return float(text) if digits.isascii() and digits.isdecimal() and len(digits) <= 20 else None
