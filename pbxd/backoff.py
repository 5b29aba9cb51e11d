"""Waiting times between tries: exponential, with full jitter, as a pure generator."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator


def backoff(
    first: float,
    longest: float,
    factor: float = 2.0,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Iterator[float]:
    """Endless waiting times in seconds: the n-th is drawn from 0 to first * factor**n, and never more than `longest`.

    Drawn from the whole range, so that many clients of one server do not come back at the same moment.
    """
    delay = min(first, longest)
    while True:
        yield uniform(0, delay)
        delay = min(longest, delay * factor)
