"""What goes wrong on real boxes: Asterisk dies, AMI talks garbage, the disk fills, the journal is damaged."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import load
from lab.asterisk import wait_until
from lab.box import Box
from lab.forwarder import Forwarder
from lab.phones import Handset
from lab.sip import Called, Caller
from tests.conftest import reachable, say

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """One box for all tests that need no other: each leaves it as it was, but for the calls in its store."""
    made = Box(reachable(tmp_path_factory.mktemp("faults")), say)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def box(shared: Box) -> Iterator[Box]:
    """The shared box without a call, and as it was configured at first."""
    files = [shared.pbxd.config, shared.pbxd.config.parent / "conf.d" / "test.yaml", shared.pbxd.folder / "ami.secret"]
    before = {file: file.read_text() for file in files}
    yield shared
    shared.phones.stop()
    shared.asterisk.command("channel request hangup all")
    if before != {file: file.read_text() for file in files}:
        for file, text in before.items():
            file.write_text(text)
        shared.pbxd.restart()
    wait_until(lambda: shared.pbxd.status()["ami"]["connected"], "AMI")
    wait_until(lambda: shared.pbxd.status()["journal"]["open_calls"] == 0, "all calls to be over")


def calls(box: Box) -> int:
    """How many the store has."""
    count: int = box.pbxd.status()["store"]["calls"]
    return count


def one_call(box: Box, talk: int = 300) -> None:
    called = box.phones.start(Called("111").ring().answer().expect_bye())
    caller = box.phones.start(Caller("101").answered().wait(talk).bye(), "111")
    caller.finish()
    called.finish()


def call_up(box: Box, talk: int = 60_000) -> tuple[Handset, Handset]:
    """A call in which two talk, and go on for `talk` ms: who called, who was called."""
    known = len(journal_of(box))
    called = box.phones.start(Called("111").ring().answer().expect_bye())
    caller = box.phones.start(Caller("101").answered().wait(talk).bye(), "111")
    wait_until(lambda: "BRIDGE_ENTER" in journal_of(box)[known:], "the call to be up")
    return caller, called


def test_asterisk_killed_in_a_call(box: Box) -> None:
    """The call is closed as cut, with the last time known; the daemon goes on by itself."""
    known = calls(box)
    call_up(box)
    wait_until(lambda: box.pbxd.status()["journal"]["open_calls"] == 1, "pbxd to have read that")
    last = box.asterisk.journal.read_text().splitlines()[-1].split(",")[1].strip('"')
    box.asterisk.kill()
    wait_until(lambda: not box.pbxd.status()["ami"]["connected"], "pbxd to see that Asterisk is gone")
    assert box.pbxd.ctl("doctor", check=False).returncode == 1
    box.asterisk.start()
    box.wait_for_calls(known + 1)
    record = box.pbxd.records()[-1]
    assert (record["disposition"], record["hung_up_by"]) == ("cut", "system")
    assert record["end"].endswith(f"{last.partition('.')[2]}Z")
    assert record["talk_time"] > 0 or len(record["legs"]) == 2
    box.phones.stop()
    one_call(box)
    box.wait_for_calls(known + 2)
    assert [r["disposition"] for r in box.pbxd.records()[-2:]] == ["cut", "answered"]


def journal_of(box: Box) -> str:
    return box.asterisk.journal.read_text(errors="replace") if box.asterisk.journal.exists() else ""


GARBAGE = {
    "random bytes": os.urandom(200_000),
    "a line of 100 MB": b"Event: " + b"x" * 100_000_000,
    "half a message": b"Event: Newchannel\r\nChannel: PJSIP/1",
    "a second ActionID": b"Event: UserEvent\r\nActionID: pbxd-1\r\nActionID: pbxd-2\r\n\r\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_on_ami(name: str, box: Box) -> None:
    forwarder = Forwarder(box.asterisk.address, (box.asterisk.address, 5038))
    box.pbxd.configure(port=forwarder.port, more="ami: {ping_interval: 1s, action_timeout: 1s}")
    box.pbxd.restart()
    known = calls(box)
    try:
        wait_until(lambda: box.pbxd.status()["ami"]["connected"], "AMI")
        memory = box.pbxd.status()["rss"]
        try:
            forwarder.inject(GARBAGE[name])
        except OSError:
            assert name == "a line of 100 MB"  # pbxd hung up on it
        one_call(box)
        box.wait_for_calls(known + 1)
        wait_until(lambda: box.pbxd.status()["ami"]["connected"], "AMI again")
        assert box.pbxd.status()["rss"] < memory + 30_000_000
        assert box.pbxd.process is not None
        assert box.pbxd.process.poll() is None
    finally:
        forwarder.close()


def test_refused_login_is_told_apart(box: Box) -> None:
    known = calls(box)
    (box.pbxd.folder / "ami.secret").write_text("not the secret\n")
    box.pbxd.restart()
    wait_until(lambda: box.pbxd.status()["ami"]["state"] == "refused", "the refusal")
    done = box.pbxd.ctl("doctor", check=False)
    assert done.returncode == 1
    assert "refused the login" in done.stdout
    one_call(box)
    box.wait_for_calls(known + 1)  # records need no AMI


def test_a_damaged_journal(box: Box) -> None:
    """Junk, a torn line, a missing column: kept and counted, and the calls around them are right."""
    known = calls(box)
    one_call(box)
    box.wait_for_calls(known + 1)
    with box.asterisk.journal.open("ab") as journal:
        journal.write(b"\x00\xff\xfe junk \x00" * 100 + b"\n")
        journal.write(b'"CHAN_START","1795515956.963528","too","few"\n')
        journal.write(b'"CHAN_START","1795515956.9635')  # torn: the next line follows without a line break
    one_call(box)
    box.wait_for_calls(known + 2)
    assert [record["disposition"] for record in box.pbxd.records()[known:]] == ["answered", "answered"]
    status = box.pbxd.status()
    assert status["journal"]["rejects"] == 3
    assert "3 journal lines could not be understood" in box.pbxd.ctl("doctor", check=False).stdout


@pytest.fixture
def small_disk(new_box: Box) -> Iterator[Path]:
    """A disk of 2 MB under pbxd's state."""
    state = new_box.pbxd.folder / "state"
    state.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(state)], check=True)
    try:
        yield state
    finally:
        new_box.pbxd.kill()
        subprocess.run(["umount", str(state)], check=True)


def fill(file: Path) -> None:
    """Write `file` until its disk is full."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while os.write(handle, b"x" * 4096):
            pass
    os.close(handle)


def test_a_full_disk(new_box: Box, small_disk: Path) -> None:
    """Calls go on, records wait in the journal, doctor says so; with space again, all of them are there."""
    box = new_box
    box.start()
    one_call(box)
    box.wait_for_calls(1)
    fill(small_disk / "filler")
    running = load.place(box.phones, 60, 50, talk=100)
    running.finish()
    wait_until(lambda: box.pbxd.status()["journal"]["failed_commits"] > 0, "the store to be full")
    assert "full" in box.pbxd.status()["journal"]["last_error"]
    assert box.pbxd.ctl("doctor", check=False).returncode == 1
    box.pbxd.stop()  # in order, although the last commit cannot be made
    assert "Traceback" not in box.pbxd.log.read_text()
    (small_disk / "filler").unlink()
    box.pbxd.start()
    box.wait_for_calls(61)
    assert load.wrong([r for r in box.pbxd.records() if r["direction"] == "inbound"], 60) == []


NAMES = [
    "Robert'); DROP TABLE calls;--",
    "comma, and 'quotes'",
    "Zoë 漢字 🙂",
    "x" * 200,
    "${SHELL(reboot)} `id` $(id)",
]


def test_names_that_mean_harm(box: Box) -> None:
    """What a caller sends as a name is a name: in the journal, in the store, on the screen."""
    known, rejects = calls(box), box.pbxd.status()["journal"]["rejects"]
    for name in NAMES:
        called = box.phones.start(Called("111").ring().answer().expect_bye())
        caller = Caller("4930123", name).answered().wait(100).bye()
        box.phones.start(caller, "555111", address=box.asterisk.provider).finish()
        called.finish()
    box.wait_for_calls(known + len(NAMES))
    records = box.pbxd.records()[known:]
    assert [record["disposition"] for record in records] == ["answered"] * len(NAMES)
    assert [record["caller_name"][:70] for record in records] == [name[:70] for name in NAMES]
    assert box.pbxd.status()["journal"]["rejects"] == rejects


def test_the_store_is_deleted_under_a_running_pbxd(box: Box) -> None:
    """Everything in the journal is there again after a restart: the store is made from it."""
    known = calls(box)
    one_call(box)
    box.wait_for_calls(known + 1)
    before = box.pbxd.records()
    for file in (box.pbxd.folder / "state" / "stats").iterdir():
        file.unlink()
    box.pbxd.kill()
    box.pbxd.start()
    box.wait_for_calls(known + 1)
    assert box.pbxd.records() == before


def test_the_journal_folder_taken_away_and_made_again(box: Box) -> None:
    known = calls(box)
    one_call(box)
    box.wait_for_calls(known + 1)
    folder = box.asterisk.journal.parent
    folder.rename(folder.with_name("elsewhere"))
    wait_until(lambda: "does not exist" in box.pbxd.ctl("doctor", check=False).stdout, "doctor to see it")
    box.install()
    one_call(box)
    box.wait_for_calls(known + 2)


def test_a_bad_reload_is_refused_and_a_good_one_taken(box: Box) -> None:
    known = calls(box)
    good = box.pbxd.config.read_text()
    box.pbxd.config.write_text(good.replace("trunks:", "tronks:"))
    done = box.pbxd.ctl("reload", check=False)
    assert done.returncode == 1
    assert "did you mean site.trunks" in done.stderr
    box.pbxd.config.write_text(good.replace('["PJSIP/trunk-*"]', '["PJSIP/1*"]'))
    assert "site.trunks" in box.pbxd.ctl("reload").stdout
    one_call(box)
    box.wait_for_calls(known + 1)
    assert box.pbxd.records()[-1]["direction"] == "inbound"


def test_sigterm_in_a_call_leaves_the_call_alone(box: Box) -> None:
    known = calls(box)
    caller, called = call_up(box, 2500)
    box.pbxd.stop()
    caller.finish()
    called.finish()
    box.pbxd.start()
    box.wait_for_calls(known + 1)
    assert box.pbxd.records()[-1]["disposition"] == "answered"


def test_live_state_is_right_again_after_a_reconnect(box: Box) -> None:
    forwarder = Forwarder(box.asterisk.address, (box.asterisk.address, 5038))
    box.pbxd.stop()
    box.pbxd.configure(port=forwarder.port)
    try:
        call_up(box)
        box.pbxd.start()  # after the call began: it is known from the snapshot only
        wait_until(lambda: box.pbxd.status()["live"]["channels"] == 2, "the snapshot")
        forwarder.cut()
        wait_until(lambda: box.pbxd.status()["ami"]["reconnects"] >= 1, "a new session")
        wait_until(lambda: box.pbxd.status()["live"]["channels"] == 2, "the snapshot after it")
        (call,) = json.loads(box.pbxd.ctl("live", "--json").stdout)["calls"]
        assert (call["caller"], call["dialled"], call["state"]) == ("101", "111", "up")
    finally:
        forwarder.close()
