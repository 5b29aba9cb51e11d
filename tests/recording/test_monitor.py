"""The recorder's hands, at a peer that speaks AMI and at real files: what a new run does before it knows what goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pbxd.asterisk.wire import Message
from pbxd.calls.live import LiveState
from pbxd.calls.site import Site
from pbxd.errors import ActionFailed
from pbxd.recording.monitor import Monitor, MonitorSettings
from pbxd.recording.places import Place
from pbxd.recording.policy import Consent, Mode, Rule
from pbxd.recording.recorder import Recorder, RecorderRules
from pbxd.recording.segments import Recording, Segment
from pbxd.recording.stage import write_state

NOW = 1_795_000_000
CHANNELS = {"1.1": "PJSIP/101-00000001", "1.2": "PJSIP/102-00000002"}


class Peer:
    """Answers as Asterisk does, from its channels' variables."""

    def __init__(self, variables: dict[tuple[str, str], str]) -> None:
        self.variables = variables
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def action(self, name: str, **headers: str) -> Message:
        self.asked.append((name, headers))
        if headers.get("Channel") not in CHANNELS.values():
            raise ActionFailed("No such channel")
        value = self.variables.get((headers["Channel"], headers.get("Variable", "")), "")
        return message(Response="Success", Value=value)


def message(**headers: str) -> Message:
    return Message("\r\n".join(f"{name}: {value}" for name, value in headers.items()).encode())


def monitor(spool: Path, peer: Peer) -> tuple[Monitor, LiveState]:
    live = LiveState()
    recorder = Recorder(
        Site([], ["1XX"]),
        RecorderRules((Rule(Mode.ALWAYS, consent=Consent.NONE),)),
        lambda at: datetime.fromtimestamp(at / 1_000_000, UTC),
    )
    settings = MonitorSettings((Place(spool, spool),), str(spool.parent.stat().st_gid), 0)
    return Monitor(recorder, peer, live, settings, clock=lambda: NOW, on_ready=lambda _: None), live


def left_in(spool: Path) -> None:
    """A recording that an earlier run began."""
    spool.mkdir(exist_ok=True)
    made = Recording("1.1", "1.1", NOW * 1_000_000 - 9, channels=set(CHANNELS))
    made.segments.append(
        Segment("1.1", 0, "1.1", CHANNELS["1.1"], NOW * 1_000_000 - 9, at=NOW * 1_000_000 - 8, monitor="0x1")
    )
    write_state(spool, made)


def come_up(live: LiveState) -> None:
    """Asterisk tells its channels."""
    rows = [
        message(Uniqueid=uniqueid, Linkedid="1.1", Channel=name, ChannelStateDesc="Up")
        for uniqueid, name in CHANNELS.items()
    ]
    live.replace(rows, {"b": list(CHANNELS)}, [], [], NOW)


async def test_an_event_before_the_snapshot_ends_no_recording(tmp_path: Path) -> None:
    """Between the login and the list of channels none is known; one that an event names is not gone because of that."""
    left_in(tmp_path / "spool")
    made, live = monitor(tmp_path / "spool", Peer({}))
    for _ in range(2):
        made.handlers()["BridgeLeave"](message(Event="BridgeLeave", Uniqueid="1.2"))
        come_up(live)
        await made.connected()
        assert list(made.recorder.recordings) == ["1.1"]
        assert len(made.recorder.recordings["1.1"].segments) == 1
        live.clear()
        made.disconnected()


async def test_asterisk_is_asked_what_goes_on(tmp_path: Path) -> None:
    left_in(tmp_path / "spool")
    peer = Peer({(CHANNELS["1.2"], "CHANNEL(rtp,hold)"): "1", (CHANNELS["1.1"], "CHANNEL(rtp,hold)"): "0"})
    made, live = monitor(tmp_path / "spool", peer)
    come_up(live)
    await made.connected()
    assert [channel.held for channel in live.channels.values()] == [False, True]
    assert not made.recorder.recordings["1.1"].segments[0].going_on


@pytest.mark.parametrize("mended", [False, True])
async def test_nothing_begins_before_the_spool_was_read(tmp_path: Path, *, mended: bool) -> None:
    """It may have the beginning of what would begin a second time."""
    spool = tmp_path / "spool"
    spool.write_text("no folder")
    made, live = monitor(spool, Peer({}))
    come_up(live)
    await made.connected()
    assert made.recorder.recordings == {}
    assert "cannot be used" in made.counters.last_error
    if mended:
        spool.unlink()
        left_in(spool)
        await made._try_again()
        assert len(made.recorder.recordings["1.1"].segments) == 1
