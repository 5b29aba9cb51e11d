"""How long a link waits before it tries again; and 500 of them whose hub restarts, on a clock of their own."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from itertools import pairwise

import asyncssh

from pbxd.config.uplink import Uplink
from pbxd.errors import FrameError, HubAway, HubRefused, HubUntrusted, LedgerError, UplinkError
from pbxd.uplink.reconnect import DISK, Reconnect

BOXES = 500
FIRST, LONGEST = Uplink().reconnect_first, Uplink().reconnect_longest  # what a box does that was told nothing else
WINDOW = 0.1  # s
SIGN_IN = 1 / 40  # s of the hub's time that a sign-in takes (bench.hub)
AT_THE_DOOR = 64  # the hub's limits.signing_in


def upper(_low: float, high: float) -> float:
    return high


def waits(seed: int) -> Reconnect:
    return Reconnect(FIRST, LONGEST, random.Random(seed).uniform)


def fullest(times: list[float]) -> int:
    """Most of these times in any window, wherever it begins."""
    times = sorted(times)
    most = behind = 0
    for ahead, at in enumerate(times):
        while times[behind] < at - WINDOW:
            behind += 1
        most = max(most, ahead - behind + 1)
    return most


def test_only_a_connection_that_stayed_up_starts_the_waiting_anew() -> None:
    link = Reconnect(10, 60, upper)
    assert [link.failed() for _ in range(5)] == [10, 20, 40, 60, 60]
    assert link.refused() == 60
    assert link.failed() == 60
    assert (link.stayed(), link.failed(), link.failed()) == (10, 10, 20)


def test_a_refusal_waits_at_least_half_of_the_longest() -> None:
    low = Reconnect(10, 600, lambda low, _high: low)
    assert (low.refused(), low.failed(), low.disk()) == (300, 0, DISK)


def test_what_came_of_a_try_decides_for_the_link_and_for_the_line_of_support() -> None:
    """Dropped again and again, also by a hub that lets in and drops at once, the waits grow; only what stayed up begins anew."""
    link = Reconnect(10, 600, upper)
    away = [HubAway("dropped"), FrameError("no frame"), OSError("reset"), asyncssh.ConnectionLost("lost")]
    assert [link.after(error, stayed=False) for error in away] == [10, 20, 40, 80]
    assert link.after(HubAway("dropped"), stayed=True) == 10
    assert [link.after(HubAway("dropped"), stayed=False) for _ in range(8)] == [10, 20, 40, 80, 160, 320, 600, 600]
    for refusal in (HubRefused("revoked", "no"), HubUntrusted("another key"), UplinkError("no key")):
        assert link.after(refusal, stayed=True) == 600
    assert Reconnect(10, 600, upper).after(LedgerError("disk full"), stayed=True) == DISK + 10


def test_500_boxes_that_were_cut_at_once_come_back_spread_out() -> None:
    """The hub stays down: the n-th tries of all boxes. No 100 ms have more than 4 % of them, and each turn spreads them further."""
    tries: list[list[float]] = [[] for _ in range(8)]
    for seed in range(BOXES):
        link, at = waits(seed), 0.0
        for turn, found in enumerate(tries):
            at += link.stayed() if turn == 0 else link.failed()
            found.append(at)
    shares = [fullest(found) / BOXES for found in tries]
    assert shares[0] <= 0.04, shares
    assert shares[3] <= 0.02, shares
    assert all(later <= earlier + 0.01 for earlier, later in pairwise(shares)), shares
    spread = [max(found) - min(found) for found in tries]
    assert all(earlier < later for earlier, later in pairwise(spread)), spread
    thirds = Counter(int(at // (FIRST / 3)) for at in tries[0])  # the whole range is used, not its ends
    assert all(count > BOXES * 0.25 for count in thirds.values()), thirds
    assert len(thirds) == 3


def test_no_two_boxes_go_in_step() -> None:
    """Two boxes that try at the same moment do not try together again and again."""
    histories = []
    for seed in range(BOXES):
        link, at, history = waits(seed), 0.0, []
        for _ in range(6):
            at += link.failed()
            history.append(int(at / WINDOW))
        histories.append(tuple(history))
    assert len(set(histories)) == BOXES
    for turns in (2, 3):
        together = Counter(history[:turns] for history in histories)
        assert max(together.values()) <= 2


def test_500_boxes_are_in_again_soon_with_the_hub_s_door_as_it_is() -> None:
    """The hub is back after 3 s, signs in 40 boxes a second, has room for 64 at the door, and sends the others away."""
    links = [waits(seed) for seed in range(BOXES)]
    queue = [(link.stayed(), number) for number, link in enumerate(links)]
    heapq.heapify(queue)
    door: list[float] = []  # when those at the door are signed in
    inside, free, tries = [], 3.0, 0
    while queue:
        at, number = heapq.heappop(queue)
        tries += 1
        door = [end for end in door if end > at]
        if at < 3.0 or len(door) >= AT_THE_DOOR:
            heapq.heappush(queue, (at + links[number].failed(), number))
            continue
        free = max(free, at) + SIGN_IN
        door.append(free)
        inside.append(free)
    assert tries < 3 * BOXES
    assert max(inside) < 60
