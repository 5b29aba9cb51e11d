"""Who belongs together, against the same question answered from all channels at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pbxd.calls.live import LiveChannel
from pbxd.recording.conversations import Conversations


def channel(n: int, bridge: str, linkedid: int, *, local: bool) -> LiveChannel:
    name = f"Local/{n // 2}@phones-00000001;{n % 2 + 1}" if local else f"PJSIP/{n}-00000001"
    return LiveChannel(f"1.{n}", f"1.{linkedid}", name, "", "", "", "up", 0.0, bridge)


def together(channels: dict[str, LiveChannel], start: str, *, whole_call: bool) -> set[str]:
    """By looking at all pairs until nothing is added."""
    found = {start}
    while True:
        more = {
            name
            for name, one in channels.items()
            for two in (channels[other] for other in found)
            if (one.bridge and one.bridge == two.bridge)
            or (whole_call and one.linkedid == two.linkedid)
            or (one.name.startswith("Local/") and one.name[:-1] == two.name[:-1])
        }
        if more <= found:
            return found
        found |= more


STEPS = st.lists(
    st.tuples(st.integers(0, 7), st.sampled_from(["", "a", "b", "c"]), st.integers(0, 3), st.booleans(), st.booleans()),
    max_size=40,
)


@given(steps=STEPS)
def test_the_same_as_looking_at_all(steps: list[tuple[int, str, int, bool, bool]]) -> None:
    known: dict[str, LiveChannel] = {}
    conversations = Conversations()
    for n, bridge, linkedid, local, gone in steps:
        name = f"1.{n}"
        if gone:
            known.pop(name, None)
            conversations.take(name, None)
            assert conversations.call(name) == conversations.conversation(name) == set()
        else:
            known[name] = channel(n, bridge, linkedid, local=local)
            conversations.take(name, known[name])
        for one in known:
            assert conversations.call(one) == together(known, one, whole_call=True)
            assert conversations.conversation(one) == together(known, one, whole_call=False)
