"""Waiting times between tries: exponential, with full jitter, as a pure generator."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator


def backoff(
    first: float, longest: float, factor: float = 2.0, uniform: Callable[[float, float], float] = random.uniform
) -> Iterator[float]:
    """Endless waiting times in seconds: the n-th is drawn from (half of it, all of it), with all = first * factor**n <= longest.

    The jitter keeps many clients of one server from coming back at the same moment; the lower half keeps one from hammering.
    """
    delay = first
    while True:
        yield uniform(delay / 2, delay)
        delay = min(longest, delay * factor)
