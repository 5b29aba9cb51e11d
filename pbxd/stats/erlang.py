"""Erlang C: how many agents a queue needs. Calls come at random, wait for as long as it takes, and are served in turn.

A load of A erlangs (calls · handling time / interval) on N agents:

    B(0) = 1,  B(n) = A · B(n-1) / (n + A · B(n-1))            Erlang B by recursion: no factorial, no overflow
    C = N · B(N) / (N - A · (1 - B(N)))                        probability that a call waits; 1 if N <= A
    service level within t = 1 - C · exp(-(N - A) · t / AHT)
    average speed of answer = C · AHT / (N - A)

Nobody gives up in this model: with patience that ends, fewer agents do. It is the planning value that the field uses.
"""

from __future__ import annotations

import math

AGENTS_LIMIT = 100_000  # more is a mistake in what was asked, and would only take long


def load(calls: float, interval: float, aht: float) -> float:
    """Offered load in erlangs: `calls` come in `interval` seconds, and each takes an agent `aht` seconds."""
    if calls < 0 or aht < 0 or interval <= 0:
        raise ValueError("calls and handling time are not negative, and the interval is longer than 0")
    return calls * aht / interval


def erlang_b(erlangs: float, agents: int) -> float:
    """Probability that all of `agents` are busy when calls that find them so go away."""
    blocked = 1.0
    for n in range(1, agents + 1):
        blocked = erlangs * blocked / (n + erlangs * blocked)
    return blocked


def _waiting(erlangs: float, agents: int, blocked: float) -> float:
    """Erlang C from Erlang B."""
    return 1.0 if agents <= erlangs else agents * blocked / (agents - erlangs * (1 - blocked))


def probability_of_waiting(erlangs: float, agents: int) -> float:
    """Erlang C: the share of calls that wait at all. 1 if there are not more agents than erlangs: the queue grows without end."""
    return _waiting(erlangs, agents, erlang_b(erlangs, agents))


def service_level(erlangs: float, agents: int, aht: float, target: float) -> float:
    """Share of calls answered within `target` seconds, with a handling time of `aht` seconds."""
    if agents <= erlangs:
        return 0.0
    return _level(probability_of_waiting(erlangs, agents), agents - erlangs, aht, target)


def _level(waiting: float, spare: float, aht: float, target: float) -> float:
    return 1 - waiting * math.exp(-spare * target / aht) if aht > 0 else 1.0


def average_speed_of_answer(erlangs: float, agents: int, aht: float) -> float | None:
    """Mean wait of all calls in seconds, those that do not wait included; None if the queue grows without end."""
    if agents <= erlangs:
        return None
    return probability_of_waiting(erlangs, agents) * aht / (agents - erlangs)


def occupancy(erlangs: float, agents: int) -> float:
    """Share of their time that agents talk, at most 1."""
    return min(1.0, erlangs / agents) if agents else 1.0


def agents_needed(
    calls: float, interval_s: float, aht_s: float, target_share: float, target_s: float, *, shrinkage: float = 0.0
) -> int:
    """The fewest agents with whom `target_share` of the calls are answered within `target_s` seconds; 0 without a load.

    `shrinkage` is the share of paid time in which an agent is not at the phone (breaks, training, illness): the answer is then
    the number to put on the rota. ValueError for what has no answer: a share that is not between 0 and 1, or a load beyond reason.
    """
    if not 0 < target_share < 1 or not 0 <= shrinkage < 1 or target_s < 0:
        raise ValueError("the target is a share between 0 and 1 within a time, and the shrinkage a share below 1")
    erlangs = load(calls, interval_s, aht_s)
    if erlangs >= AGENTS_LIMIT:
        raise ValueError(f"{erlangs:.0f} erlangs are more than this is made for")
    if erlangs == 0:
        return 0
    agents, blocked = 0, 1.0
    while True:
        agents += 1
        blocked = erlangs * blocked / (agents + erlangs * blocked)
        if agents <= erlangs:
            continue
        if _level(_waiting(erlangs, agents, blocked), agents - erlangs, aht_s, target_s) >= target_share:
            # 1e-9: 14 / 0.7 is 20.000000000000004, and no 21st agent
            return math.ceil(agents / (1 - shrinkage) - 1e-9)
