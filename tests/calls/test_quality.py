"""Voice quality from RTCP events, as Asterisk 22 writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxd.calls.emodel import CODECS, mos
from pbxd.calls.quality import ChannelQuality, Direction, Quality, one_way_delay

RECEIVED = {
    "Event": "RTCPReceived",
    "Channel": "PJSIP/101-00000000",
    "Uniqueid": "1764000000.0",
    "From": "192.0.2.10:16385",
    "RTT": "0.0300",
    "SSRC": "0x1b5a3f10",
    "PT": "200(SR)",
    "ReportCount": "1",
    "SentNTP": "1764000005.15794176",
    "SentRTP": "40160",
    "SentPackets": "250",
    "SentOctets": "40000",
    "Report0SourceSSRC": "0x3d2a1c77",
    "Report0FractionLost": "0",
    "Report0CumulativeLost": "0",
    "Report0HighestSequence": "250",
    "Report0SequenceNumberCycles": "0",
    "Report0IAJitter": "16",
    "Report0LSR": "1823400211",
    "Report0DLSR": "1.2000",
}


def event(**changes: object) -> dict[str, str]:
    return RECEIVED | {name: str(value) for name, value in changes.items()}


def report(sequence: int, fraction: int = 0, jitter: int = 16, **changes: object) -> dict[str, str]:
    return event(
        Report0HighestSequence=sequence & 0xFFFF, Report0SequenceNumberCycles=sequence >> 16,
        Report0FractionLost=fraction, Report0IAJitter=jitter, **changes,
    )  # fmt: skip


def quality_of(*events: Mapping[str, str], kind: str = "RTCPReceived", codec: str = "alaw") -> Quality:
    channel = ChannelQuality(codec)
    for headers in events:
        channel.take(kind, lambda name, headers=headers: headers.get(name, ""))  # type: ignore[misc]
    return channel.quality()


def sent(*events: Mapping[str, str], codec: str = "alaw") -> Direction:
    direction = quality_of(*events, codec=codec).sent
    assert direction is not None
    return direction


def test_what_is_not_reported_is_unknown() -> None:
    assert ChannelQuality().quality() == Quality(None, None, None, None)
    assert quality_of(event(ReportCount=0)) == Quality(None, None, 30.0, 30.0)
    assert quality_of(event(), kind="Hangup") == Quality(None, None, None, None)


def test_the_directions_are_kept_apart() -> None:
    heard = quality_of(event())
    assert heard.received is None
    assert heard.sent is not None
    ours = quality_of(event(), kind="RTCPSent")
    assert ours.sent is None
    assert ours.received is not None
    assert ours.rtt_mean is None  # RTCPSent has none


def test_jitter_is_in_timestamp_units_of_the_codecs_clock() -> None:
    found = sent(report(250, jitter=16), report(500, jitter=48))
    assert (found.reports, found.jitter_mean, found.jitter_max) == (2, 4.0, 6.0)
    assert sent(report(250, jitter=480), codec="opus").jitter_max == 10.0
    assert sent(report(250, jitter=80), codec="g722").jitter_max == 10.0


def test_loss_is_weighted_by_the_packets_of_its_interval() -> None:
    found = sent(report(0), report(100, 128), report(1000))
    # 0 to 100: half lost; 100 to 1000: none; the first interval counts as the mean of the two, 500
    assert found.loss == pytest.approx(50 / 1500)
    assert found.worst_loss == 0.5


def test_loss_without_sequence_numbers_is_the_plain_mean() -> None:
    found = sent(event(Report0FractionLost=64, Report0HighestSequence=""), event(Report0HighestSequence=""))
    assert (found.loss, found.worst_loss) == (0.125, 0.25)


def test_the_extended_sequence_number_wraps_at_32_bits() -> None:
    found = sent(report(2**32 - 100), report(100, 128), report(300))
    assert found.loss == pytest.approx(0.5 * 200 / 600)


def test_a_new_stream_begins_a_new_count() -> None:
    found = sent(
        report(60_000), report(7, 128, Report0SourceSSRC="0x00000001"), report(107, Report0SourceSSRC="0x00000001")
    )
    assert found.loss == pytest.approx(0.5 / 3)
    restarted = sent(report(60_000), report(7, 128), report(107))  # the same SSRC, and 59,993 packets back
    assert restarted.loss == pytest.approx(0.5 / 3)


def test_every_report_block_counts() -> None:
    two = {name.replace("Report0", "Report1"): value for name, value in event(Report0FractionLost=128).items()}
    assert sent(two | event(ReportCount=2)).reports == 2


def test_round_trip() -> None:
    found = quality_of(event(RTT="0.0300"), event(RTT="0.0500"))
    assert (found.rtt_mean, found.rtt_max) == (40.0, 50.0)
    assert quality_of(event(RTT="0.0000")).rtt_mean == 0.0  # below 0.1 ms: the same machine, or the same switch
    assert quality_of(event(RTT="0.0000", Report0LSR=0)).rtt_mean is None  # no sender report had come back


def test_mos() -> None:
    assert sent(event()).mos == pytest.approx(4.41, abs=0.005)
    late = sent(event(RTT="0.8000", Report0FractionLost=13), codec="g729")
    assert late.mos == pytest.approx(mos(13 / 256, one_way_delay(800, 2), CODECS["g729"]))
    assert sent(event(), codec="speex").mos is None  # G.113 has no values for it


@pytest.mark.parametrize(
    "changes",
    [
        {"Report0FractionLost": "256"},
        {"Report0FractionLost": "-1"},
        {"Report0FractionLost": ""},
        {"Report0IAJitter": "4294967295"},
        {"Report0IAJitter": "x"},
        {"ReportCount": "one"},
    ],
)
def test_a_block_that_cannot_be_true_is_no_report(changes: dict[str, str]) -> None:
    assert quality_of(event(**changes)).sent is None


def recorded(name: str) -> dict[str, Quality]:
    """What the events of a recorded call make of each of its channels."""
    channels: dict[str, ChannelQuality] = {}
    for message in (Path(__file__).parent / "rtcp" / name).read_text().split("\n\n"):
        headers = dict(line.partition(": ")[::2] for line in message.splitlines())
        channel = channels.setdefault(headers["Channel"], ChannelQuality())
        channel.take(headers["Event"], lambda header, headers=headers: headers.get(header, ""))  # type: ignore[misc]
    return {name: channel.quality() for name, channel in channels.items()}


def test_a_call_of_asterisk_22_to_itself() -> None:
    """12 s of G.711 between two of its channels, as its AMI told of it with `rtcpinterval=2000`: what one end says of the other."""
    found = recorded("clean.txt")
    assert set(found) == {"PJSIP/self-00000000", "PJSIP/101-00000001"}
    one, other = found.values()
    assert one.sent == other.received
    assert one.received == other.sent
    for quality in (one, other):
        assert quality.sent is not None
        assert (quality.sent.reports, quality.sent.loss) == (6, 0.0)
        assert quality.sent.jitter_max < 1
        assert quality.sent.mos == pytest.approx(4.41, abs=0.005)
        assert quality.rtt_max is not None
        assert 0 < quality.rtt_max < 2


VALUES = st.text("0123456789x.-+ ²٣é\n", max_size=12) | st.integers(-(2**40), 2**40).map(str) | st.floats().map(str)


@given(
    st.lists(st.dictionaries(st.sampled_from(sorted(RECEIVED)), VALUES), max_size=6), st.sampled_from(sorted(CODECS))
)
def test_any_values_raise_nothing_and_stay_on_their_scales(events: list[dict[str, str]], codec: str) -> None:
    found = quality_of(*(RECEIVED | changes for changes in events), codec=codec)
    assert found.received is None
    if found.sent is not None:
        assert 0 <= found.sent.loss <= found.sent.worst_loss <= 1
        assert 0 <= found.sent.jitter_mean <= found.sent.jitter_max + 1e-9
        assert found.sent.mos is not None
        assert 1 <= found.sent.mos <= 4.5


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_loss_lies_between_the_best_and_the_worst_interval(reports: list[tuple[int, int]]) -> None:
    found = sent(*(report(sequence, fraction) for sequence, fraction in reports))
    fractions = [fraction / 256 for _, fraction in reports]
    assert min(fractions) - 1e-9 <= found.loss <= max(fractions) + 1e-9
