"""What of the calls in progress a supervisor is shown: those of their teams' people and queues."""

from __future__ import annotations

from pbxd import overview
from pbxd.calls.live import LiveChannel, LiveQueue, LiveState
from pbxd.calls.site import Site

SITE = Site(["PJSIP/trunk-*"], ["1XX"])


def office() -> LiveState:
    """101 talks to the outside, 102 to 103, and somebody from outside, who says that they are 101, waits in a queue."""
    state = LiveState()
    for uniqueid, linkedid, name, number, queue in (
        ("1.1", "1.1", "PJSIP/101-1", "101", ""), ("1.2", "1.1", "PJSIP/trunk-a-2", "+4930", ""),
        ("1.3", "1.3", "PJSIP/102-3", "102", ""), ("1.4", "1.3", "PJSIP/103-4", "103", ""),
        ("1.5", "1.5", "PJSIP/trunk-a-5", "101", "support"),
    ):  # fmt: skip
        state.channels[uniqueid] = LiveChannel(uniqueid, linkedid, name, number, "", "", "up", 0.0, queue=queue)
    state.queues = {name: LiveQueue(name) for name in ("sales", "support")}
    state.endpoints = {"101": "reachable", "102": "reachable", "trunk-a": "reachable"}
    return state


def seen(numbers: set[str], teams: set[str]) -> tuple[list[str], list[str], list[str]]:
    state = office()
    found = overview.narrowed(overview.live(state), state, SITE, frozenset(numbers), frozenset(teams))
    return (
        [call["id"] for call in found["calls"]], [queue["name"] for queue in found["queues"]], sorted(found["endpoints"])
    )  # fmt: skip


def test_a_supervisor_sees_the_calls_of_their_teams() -> None:
    assert seen({"101"}, {"sales"}) == (["1.1"], ["sales"], ["101"])
    assert seen({"103"}, set()) == (["1.3"], [], [])
    assert seen(set(), {"support"}) == (["1.5"], ["support"], [])
    assert seen(set(), set()) == ([], [], [])
