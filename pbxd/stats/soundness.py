"""Voice quality of legs, added up: for rollups, and for the columns of a report. docs/statistics-quality.md has the definitions.

Sums are whole numbers, so that they are the same in whatever order they are made: loss in millionths, jitter and round trip in
microseconds, MOS in thousandths.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pbxd.stats.figures import Figure, count, made, share
from pbxd.stats.layout import ALL, EXTENSION, QUALITY, SLOT, TRUNK, Row
from pbxd.stats.rolled import Figures

POOR = 3.6  # MOS below which many are dissatisfied (ITU-T G.107 annex B)
PPM, MICROS, MILLI = 1_000_000, 1_000, 1_000  # of a share, of a millisecond, of a MOS
PLACE = {name: place for place, name in enumerate(QUALITY.sums)}


class SoundRow(NamedTuple):
    """What is needed of a leg of which something is known; `start` is that of its call."""

    start: int
    trunk: bool
    number: str
    endpoint: str
    sent_loss: float | None
    sent_jitter: float | None
    sent_mos: float | None
    received_loss: float | None
    received_jitter: float | None
    received_mos: float | None
    rtt: float | None


def tally_quality(legs: Iterable[SoundRow]) -> list[Row]:
    """The rows of rollup_quality."""
    found: dict[tuple[int, int, str], list[int]] = defaultdict(lambda: [0] * len(QUALITY.sums))
    for leg in legs:
        values = _values(leg)
        kind, key = (TRUNK, leg.endpoint) if leg.trunk else (EXTENSION, leg.number)
        slot = leg.start // SLOT
        for name in ((slot, ALL, ""), (slot, kind, key)):
            sums = found[name]
            for place, value in values:
                sums[place] += value
    return [(*name, *sums) for name, sums in found.items()]


def _values(leg: SoundRow) -> list[tuple[int, int]]:
    """What a leg adds, and to which sum."""
    values = [(PLACE["legs"], 1)]
    for way, loss, jitter, mos in (
        ("sent", leg.sent_loss, leg.sent_jitter, leg.sent_mos),
        ("received", leg.received_loss, leg.received_jitter, leg.received_mos),
    ):
        if loss is None or jitter is None:
            continue
        values += [
            (PLACE[way], 1),
            (PLACE[f"{way}_loss"], round(loss * PPM)),
            (PLACE[f"{way}_jitter"], round(jitter * MICROS)),
        ]
        if mos is not None:
            values += [
                (PLACE[f"{way}_rated"], 1),
                (PLACE[f"{way}_mos"], round(mos * MILLI)),
                (PLACE[f"{way}_poor"], mos < POOR),
            ]
    if leg.rtt is not None:
        values += [(PLACE["timed"], 1), (PLACE["rtt"], round(leg.rtt * MICROS))]
    return values


def mean(name: str, known: str, unit: int) -> Callable[[Figures], float | None]:
    """The mean of a sum over those that are known; None if none is."""
    return lambda of: of[name] / of[known] / unit if of[known] else None


COLUMNS: tuple[Figure, ...] = (
    count("legs", "Legs"),
    made("sent_mos", "MOS heard by the party", "number", mean("sent_mos", "sent_rated", MILLI)),
    made("sent_poor", "Heard poorly", "share", lambda of: share(of["sent_poor"], of["sent_rated"])),
    made("sent_loss", "Loss to the party", "share", mean("sent_loss", "sent", PPM)),
    made("sent_jitter", "Jitter to the party, ms", "number", mean("sent_jitter", "sent", MICROS)),
    made("received_mos", "MOS of the party", "number", mean("received_mos", "received_rated", MILLI)),
    made("received_poor", "Poor from the party", "share", lambda of: share(of["received_poor"], of["received_rated"])),
    made("received_loss", "Loss from the party", "share", mean("received_loss", "received", PPM)),
    made("received_jitter", "Jitter from the party, ms", "number", mean("received_jitter", "received", MICROS)),
    made("rtt", "Round trip, ms", "number", mean("rtt", "timed", MICROS)),
)
