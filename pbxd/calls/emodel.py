"""The E-model: what a call sounds like, from loss and delay. ITU-T G.107 (narrow band) with its default values.

    R = 93.2 - Idd - Ie,eff                                        (G.107 §7.1 with every default of its table 2)
    Ie,eff = Ie + (95 - Ie) · Ppl / (Ppl / BurstR + Bpl)           (G.107 §7.5; Ppl in per cent)
    Idd = 0 up to 100 ms, else 25 · ((1 + X⁶)^(1/6) - 3 · (1 + (X/3)⁶)^(1/6) + 2), X = log2(Ta / 100 ms)   (G.107 §7.4)
    MOS = 1 + 0.035 · R + R · (R - 60) · (100 - R) · 7·10⁻⁶        (G.107 annex B), held between 1 and 4.5

R is a planning value: it knows nothing of microphones, rooms, echo or the far network behind a trunk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

R_DEFAULT = 93.2  # Ro - Is - Id of a connection without loss and delay, G.107 table 2 and §7.7
NO_DELAY_HEARD = 100.0  # ms up to which delay alone takes nothing away, G.107 §7.4
LOWEST, HIGHEST = 1.0, 4.5


@dataclass(frozen=True, slots=True)
class Codec:
    """What a codec itself takes away: Ie without loss, and Bpl, its robustness against loss (higher is better)."""

    ie: float
    bpl: float


G711 = Codec(0.0, 25.1)  # with packet loss concealment (G.711 appendix I), as phones and Asterisk's endpoints have it

# By Asterisk's name of the format. Ie and Bpl of G.113 appendix I. It gives no Bpl for GSM full rate and G.726: they get the 10 of
# GSM EFR. G.722, Opus and signed linear are rated as G.711: wider than this scale, which is for narrow-band telephony, knows.
CODECS: dict[str, Codec] = {
    "ulaw": G711,
    "alaw": G711,
    "slin": G711,
    "slin16": G711,
    "g722": G711,
    "opus": G711,
    "g726": Codec(7.0, 10.0),
    "g729": Codec(11.0, 19.0),
    "ilbc": Codec(11.0, 32.0),
    "g723": Codec(15.0, 16.1),
    "gsm": Codec(20.0, 10.0),
}


def delay_impairment(delay: float) -> float:
    """Idd of a one-way delay, mouth to ear, in milliseconds."""
    if delay <= NO_DELAY_HEARD:
        return 0.0
    x = math.log2(delay / NO_DELAY_HEARD)
    # The two roots are near each other where x is small: held at 0, so that rounding makes no delay an improvement.
    return max(0.0, 25 * (_sixth(x) - 3 * _sixth(x / 3) + 2))


def _sixth(x: float) -> float:
    return math.pow(1 + math.pow(x, 6), 1 / 6)


def loss_impairment(loss: float, codec: Codec, burst: float = 1.0) -> float:
    """Ie,eff of a share of lost packets, 0 to 1. `burst` is BurstR: 1 for random loss, more when losses come together."""
    percent = 100 * loss
    return codec.ie + (95 - codec.ie) * percent / (percent / burst + codec.bpl)


def rating(loss: float, delay: float, codec: Codec = G711, burst: float = 1.0) -> float:
    """R, at most 93.2; below 0 for what nobody can use. `loss` is a share, `delay` one way in milliseconds."""
    return R_DEFAULT - delay_impairment(delay) - loss_impairment(loss, codec, burst)


def mean_opinion(r: float) -> float:
    """MOS (listening and conversation, estimated: MOS-CQE) of R. The polynomial dips below 1 for R < 6.5; held at 1 there."""
    if r <= 0:
        return LOWEST
    if r >= 100:
        return HIGHEST
    return max(LOWEST, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)


def mos(loss: float, delay: float, codec: Codec = G711, burst: float = 1.0) -> float:
    """MOS of a share of lost packets (0 to 1) and a one-way delay in milliseconds."""
    return mean_opinion(rating(loss, delay, codec, burst))
