"""Live state from AMI events and snapshots. The events are as Asterisk 22 sends them, without the headers that nobody reads."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxd.asterisk import events
from pbxd.asterisk.wire import Message
from pbxd.calls.cel import HOOK
from pbxd.calls.live import RULES, LiveCall, LiveState

NOW = 1_795_485_056.0


def message(event: str, **headers: str) -> Message:
    """A message as it comes from the wire."""
    return Message("\r\n".join([f"Event: {event}", *(f"{k}: {v}" for k, v in headers.items())]).encode())


def new(
    n: int, number: str, exten: str = "", *, linked: int | None = None, name: str = "", state: str = "Down"
) -> Message:
    """Newchannel of the n-th channel of a box."""
    return message(
        "Newchannel",
        Channel=name or f"PJSIP/{number}-{n:08x}",
        ChannelStateDesc=state,
        CallerIDNum=number,
        CallerIDName=f"Phone {number}",
        Exten=exten,
        Uniqueid=f"1795485056.{n}",
        Linkedid=f"1795485056.{n if linked is None else linked}",
    )


def of(event: str, n: int, **headers: str) -> Message:
    """An event of the n-th channel."""
    return message(event, Uniqueid=f"1795485056.{n}", **headers)


def state_of(n: int, word: str, number: str, linked: int = 0) -> Message:
    """Newstate, with what it tells of the caller."""
    return of(
        "Newstate", n, ChannelStateDesc=word, CallerIDNum=number, CallerIDName="", Linkedid=f"1795485056.{linked}"
    )


def enter(n: int, bridge: str = "b", linked: int = 0) -> Message:
    """BridgeEnter."""
    return of("BridgeEnter", n, BridgeUniqueid=bridge, Linkedid=f"1795485056.{linked}")


def after(told: Iterable[Message]) -> LiveState:
    """The state after these events."""
    live = LiveState()
    for event in told:
        live.apply(event, NOW)
    return live


DIALLED = [new(9, "101", "111", state="Ring"), new(10, "111", linked=9)]
RINGING = [*DIALLED, state_of(10, "Ringing", "111", 9)]
UP = [*RINGING, state_of(10, "Up", "111", 9), state_of(9, "Up", "101", 9), enter(10, linked=9), enter(9, linked=9)]
QUEUED = [new(1, "491", "5000"), state_of(1, "Up", "491", 1), of("QueueCallerJoin", 1, Queue="support")]


@pytest.mark.parametrize(
    ("told", "state"),
    [
        (DIALLED, "dialing"),
        (RINGING, "ringing"),
        (UP, "up"),
        ([*UP, of("Hold", 9)], "held"),
        ([*UP, of("Hold", 9), of("Unhold", 9)], "up"),
        ([*UP, of("BridgeLeave", 10), of("Hangup", 10)], "up"),
        (QUEUED, "queued"),
        ([*QUEUED, new(2, "108", linked=1), state_of(2, "Ringing", "108", 1)], "queued"),
        ([*QUEUED, of("QueueCallerLeave", 1, Queue="support"), enter(1, linked=1)], "up"),
    ],
)
def test_the_state_of_a_call(told: list[Message], state: str) -> None:
    (call,) = after(told).calls()
    assert call.state == state


def test_a_call_shows_who_called_whom() -> None:
    """The first channel is the caller's: the ninth comes before the tenth, which no comparison of texts would say."""
    channels = ("PJSIP/101-00000009", "PJSIP/111-0000000a")
    assert after(RINGING).calls() == [
        LiveCall("1795485056.9", "101", "Phone 101", "111", "ringing", NOW, channels),
    ]


def test_a_number_that_the_dialplan_looked_up_is_shown() -> None:
    (call,) = after([*DIALLED, state_of(9, "Up", "+49301234", 9)]).calls()
    assert call.caller == "+49301234"


@pytest.mark.parametrize(
    ("told", "calls"),
    [
        ([new(1, "101"), new(2, "102")], 2),
        ([new(1, "101"), new(2, "102", linked=1)], 1),
        ([new(1, "101"), new(2, "102"), enter(1, linked=1), enter(2, linked=2)], 1),  # as after a pickup
        ([new(1, "101"), new(2, "102"), enter(1, "b", 1), enter(2, "c", 2)], 2),
        ([new(1, "1", name="Local/1@q-01;1"), new(2, "1", name="Local/1@q-01;2")], 1),
        ([new(1, "1", name="Local/1@q-01;1"), new(2, "1", name="Local/1@q-02;2")], 2),
        (
            [
                new(1, "101"),
                new(2, "102"),
                of("Rename", 2, Newname="Local/1@q-01;1"),
                new(3, "1", name="Local/1@q-01;2"),
            ],
            2,
        ),
    ],
)
def test_what_is_one_call(told: list[Message], calls: int) -> None:
    assert len(after(told).calls()) == calls


def test_events_of_unknown_channels_change_nothing() -> None:
    ended = [of(event, 7, Queue="support") for event in (*events.CHANNELS[1:], *events.BRIDGES, "QueueCallerJoin")]
    live = after(ended)
    assert (live.channels, live.queues) == ({}, {})
    assert after([message("Hangup"), message("Newchannel"), message("DTMFEnd", Digit="1")]).channels == {}


def test_a_beep_is_no_call() -> None:
    live = LiveState()
    live.apply(message("Newchannel", Channel="Local/hook@x-0;1", Context=HOOK, Uniqueid="1795485056.9"), NOW)
    assert live.calls() == []


def test_queues() -> None:
    member = {"Queue": "support", "MemberName": "Ann", "Interface": "PJSIP/108", "Paused": "0", "Status": "1"}
    live = after(
        [*QUEUED, message("QueueMemberAdded", **member), message("QueueMemberPause", **(member | {"Paused": "1"}))]
    )
    assert live.queues["support"].waiting == {"1795485056.1"}
    assert live.queues["support"].members == {"PJSIP/108": {"name": "Ann", "paused": True, "status": "1"}}
    live.apply(of("QueueCallerJoin", 1, Queue="sales"), NOW)  # a caller waits in one queue
    live.apply(message("QueueMemberRemoved", **member), NOW)
    assert {name: len(queue.waiting) for name, queue in live.queues.items()} == {"support": 0, "sales": 1}
    assert live.queues["support"].members == {}


@pytest.mark.parametrize(
    ("word", "state"),
    [("Reachable", "reachable"), ("Unreachable", "unreachable"), ("Registered", "reachable"), ("Unknown", "unknown")],
)
def test_endpoints(word: str, state: str) -> None:
    assert after([message("PeerStatus", Peer="PJSIP/101", PeerStatus=word)]).endpoints == {"101": state}


def snapshot(live: LiveState, channels: list[Message]) -> None:
    """What Asterisk answered, taken over."""
    queues = [
        message("QueueParams", Queue="support"),
        message("QueueMember", Queue="support", Name="Ann", Location="PJSIP/108", Paused="0", Status="2"),
        message("QueueEntry", Queue="support", Uniqueid="1795485056.1"),
    ]
    endpoints = [message("EndpointList", ObjectName="101", DeviceState=state) for state in ("Unavailable", "In use")]
    live.replace(channels, {"b": ["1795485056.9", "1795485056.10", "1795485056.77"]}, queues, endpoints, NOW)


def row(n: int, number: str, linked: int, duration: str) -> Message:
    """A row of CoreShowChannels."""
    made = new(n, number, "111", linked=linked, state="Up")
    return Message(made.raw.replace(b"Newchannel", b"CoreShowChannel") + f"\r\nDuration: {duration}".encode())


ROWS = [row(1, "491", 1, "00:00:05"), row(9, "101", 9, "01:02:03"), row(10, "111", 9, "01:02:01")]


def test_a_snapshot_replaces_what_was_thought() -> None:
    live = after([new(3, "103"), *QUEUED])
    snapshot(live, ROWS)
    waiting, talking = live.calls()
    assert (waiting.state, waiting.since) == ("queued", NOW - 5)
    assert (talking.state, talking.since, talking.id) == ("up", NOW - 3723, "1795485056.9")
    assert live.endpoints == {"101": "reachable"}
    assert live.queues["support"].members["PJSIP/108"]["name"] == "Ann"


def test_events_that_the_snapshot_knows_already_change_nothing() -> None:
    """The session holds events back while the snapshot is taken: some of them were in it."""
    fresh, told_twice = LiveState(), LiveState()
    snapshot(fresh, ROWS)
    snapshot(told_twice, ROWS)
    for event in [*UP, *QUEUED]:
        told_twice.apply(event, NOW)
    assert [(call.id, call.state, call.since, call.channels) for call in told_twice.calls()] == [
        (call.id, call.state, call.since, call.channels) for call in fresh.calls()
    ]


def test_a_hangup_held_while_the_snapshot_was_taken_counts() -> None:
    live = LiveState()
    snapshot(live, ROWS)
    for n in (1, 9, 10):
        live.apply(of("Hangup", n), NOW)
    assert live.calls() == []
    assert live.queues["support"].waiting == set()


@pytest.mark.parametrize("text", ["", "soon", "1:2", "-1:00:00", "a:b:c"])
def test_a_duration_that_is_none_means_now(text: str) -> None:
    live = LiveState()
    snapshot(live, [row(1, "101", 1, text)])
    assert live.calls()[0].since == NOW


def test_every_event_that_is_asked_for_has_a_rule() -> None:
    assert set(events.LIVE) <= set(RULES)


names = st.sampled_from([*events.LIVE, "QueueEntry", "QueueParams", "DTMFEnd"])
values = st.sampled_from(["", "support", "sales", "b", "c", "Up", "Ringing", "Local/1@q-01;1", "1", "\udcff"])
headers = ("Queue", "BridgeUniqueid", "ChannelStateDesc", "Newname", "Linkedid", "Interface", "CallerIDNum", "Peer")
anything = st.builds(
    lambda name, n, found: Message(
        "\r\n".join(
            [f"Event: {name}", f"Uniqueid: 1795485056.{n}", *(f"{header}: {value}" for header, value in found.items())]
        ).encode("utf-8", "surrogateescape")
    ),
    names,
    st.integers(0, 5),
    st.dictionaries(st.sampled_from(headers), values),
)


@given(st.lists(anything, max_size=60))
def test_nothing_is_left_when_all_channels_have_hung_up(told: list[Message]) -> None:
    live = after(told)
    grouped = sorted(chain.from_iterable(call.channels for call in live.calls()))
    assert grouped == sorted(channel.name for channel in live.channels.values())
    for n in range(6):
        live.apply(of("Hangup", n), NOW)
    assert (live.channels, live.calls()) == ({}, [])
    assert not any(queue.waiting for queue in live.queues.values())


@given(st.lists(anything, max_size=60))
def test_an_event_told_twice_counts_once(told: list[Message]) -> None:
    twice = after(chain.from_iterable((event, event) for event in told))
    once = after(told)
    assert (twice.channels, twice.queues, twice.endpoints) == (once.channels, once.queues, once.endpoints)


def test_callers_in_a_parking_lot_are_not_connected() -> None:
    live = after([new(1, "101"), new(2, "102"), new(3, "103")])
    for n in (1, 2):
        live.apply(
            of("BridgeEnter", n, BridgeUniqueid="lot", BridgeTechnology="holding_bridge", Linkedid=f"1795485056.{n}"),
            NOW,
        )
    assert len(live.calls()) == 3
