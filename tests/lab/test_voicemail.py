"""Voicemail of a real Asterisk: each operation is seen on the lamp of a real phone, as the counts of its MWI NOTIFY (RFC 3842)."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from aiosmtpd.controller import Controller

from lab.asterisk import owner, wait_until
from lab.box import Box
from lab.desk import Desk
from tests.conftest import reachable, say
from tests.reports.postbox import Postbox, free_port

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]


KEPT = """
voicemail: {{enabled: true, boxes: [{{box: '101', mail: [anna@example.org], notice: sound}}]}}
comms: {{folder: {folder}/comms, key_file: {folder}/keys/comms.key}}
reports: {{mail: {{host: 127.0.0.1, port: {port}, security: none, sender: pbx@example.org}}}}
"""


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@pytest.fixture
def box(tmp_path: Path, postbox: Postbox) -> Iterator[Box]:
    controller = Controller(postbox, "127.0.0.1", free_port())
    controller.start()
    made = Box(reachable(tmp_path), say, lamps=True)
    made.pbxd.configure(more=KEPT.format(folder=made.pbxd.folder, port=controller.port))
    try:
        made.start()
        yield made
    finally:
        made.stop()
        controller.stop()


@pytest.fixture
def desk(box: Box) -> Iterator[Desk]:
    made = Desk(box.asterisk)
    try:
        for phone in ("101", "102"):
            made.phone(phone)
        # Asterisk tells each phone its lamp twice at its start, and again and again until a phone that is late has heard it:
        # what came later than a message's own NOTIFY would put the lamp out.
        for phone in ("101", "102"):
            made.wait(lambda phone=phone: lamps(made, phone) >= 2, f"the lamp of {phone}", 40)  # type: ignore[misc]
        yield made
    finally:
        made.close()


def lamps(desk: Desk, phone: str) -> int:
    """How often a phone's lamp was told of."""
    return sum(told["event"] == "lamp" and told["phone"] == phone for told in desk.told)


def listed(box: Box, mailbox: str, *more: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(box.pbxd.ctl("voicemail", "list", mailbox, "--json", *more).stdout)
    return found


def leave(box: Box, desk: Desk, caller: str, mailbox: str) -> dict[str, Any]:
    """Leave a message with sound; it as the index has it."""
    known = {message["id"] for message in listed(box, mailbox)}
    line = desk.call(caller, "4" + mailbox[1:]).talks()
    desk.pause(2)
    line.hang_up()
    wait_until(lambda: len(listed(box, mailbox)) > len(known), "the message in the index")
    (new,) = [message for message in listed(box, mailbox) if message["id"] not in known]
    return new


def delete_by_phone(desk: Desk, phone: str) -> None:
    """Listen to the new message of one's mailbox, and delete it."""
    listens = desk.call(phone, f"*{phone}").talks()
    desk.pause(1)
    listens.key("1")  # to the new messages
    desk.pause(2)
    listens.key("7")  # deletes it
    desk.pause(2)
    listens.hang_up()


def test_operations_on_the_lamp(box: Box, desk: Desk) -> None:
    def lamp(phone: str, new: int, old: int) -> None:
        desk.wait(lambda: desk.lamp(phone) == (new, old), f"{new} new and {old} old messages on {phone}'s lamp")

    def voicemail(*arguments: str) -> str:
        return box.pbxd.ctl("voicemail", *arguments).stdout

    first = leave(box, desk, "121", "101")
    lamp("101", 1, 0)
    assert first["caller"] == "121"
    assert first["new"]
    second = leave(box, desk, "122", "101")
    lamp("101", 2, 0)

    heard = box.folder / "heard.wav"
    voicemail("play", "101", first["id"], "--output", str(heard))
    samples, rate = soundfile.read(heard)
    assert rate == 8000
    assert abs(samples).max() > 0.05  # the phone spoke a tone
    lamp("101", 2, 0)

    voicemail("mark", "101", first["id"])
    lamp("101", 1, 1)
    voicemail("mark", "101", first["id"], "--unread")
    lamp("101", 2, 0)
    voicemail("move", "101", second["id"], "Work")
    lamp("101", 1, 0)
    voicemail("move", "101", second["id"], "old")
    lamp("101", 1, 1)
    voicemail("forward", "101", second["id"], "102")
    lamp("102", 1, 0)
    lamp("101", 1, 1)
    voicemail("delete", "101", second["id"], "--yes")
    lamp("101", 1, 0)
    voicemail("delete", "101", first["id"], "--yes")
    lamp("101", 0, 0)
    assert listed(box, "101") == []
    (copy,) = listed(box, "102")
    assert copy["id"] == second["id"]
    refusals(box, copy["id"])
    voicemail("delete", "102", copy["id"], "--yes")
    lamp("102", 0, 0)


def refusals(box: Box, name: str) -> None:
    for words, said in (
        (("mark", "101", name), "there is no message"),
        (("move", "102", name, "Sent"), "is no folder"),
        (("forward", "102", name, "102"), "has the message already"),
        (("forward", "102", name, "999"), "has no mailbox 999"),
        (("list", "../etc"), "is no mailbox"),
    ):
        done = box.pbxd.ctl("voicemail", *words, check=False)
        assert done.returncode == 1, words
        assert said in done.stderr
    assert [message["folder"] for message in listed(box, "102")] == ["INBOX"]


def test_the_archive_and_holds_on_the_lamp(box: Box, desk: Desk, postbox: Postbox) -> None:
    def lamp(new: int, old: int) -> None:
        desk.wait(lambda: desk.lamp("101") == (new, old), f"{new} new and {old} old messages on the lamp")

    def archived() -> list[str]:
        return [message["id"] for message in listed(box, "101", "--archived")]

    def mailed(number: int) -> None:
        wait_until(lambda: len(postbox.taken) == number, f"mail {number}")

    first = leave(box, desk, "121", "101")
    lamp(1, 0)
    mailed(1)
    box.pbxd.ctl("voicemail", "archive", "101", first["id"])
    lamp(0, 0)
    assert archived() == [first["id"]]
    assert listed(box, "101") == []
    heard = box.folder / "archived.wav"
    box.pbxd.ctl("voicemail", "play", "101", first["id"], "--output", str(heard))
    samples, rate = soundfile.read(heard)
    assert (rate, abs(samples).max() > 0.05) == (8000, True)
    forwarded(box, desk, first, samples)
    lamp(0, 0)
    assert (archived(), listed(box, "101")) == ([first["id"]], [])

    second = leave(box, desk, "122", "101")
    mailed(2)
    box.pbxd.ctl("voicemail", "mark", "101", second["id"])
    lamp(0, 1)
    (box.pbxd.folder / "conf.d" / "z.yaml").write_text("voicemail: {boxes: [{box: '101', archive_after: 1s}]}\n")
    box.pbxd.ctl("reload")
    lamp(0, 0)
    assert set(archived()) == {first["id"], second["id"]}
    (box.pbxd.folder / "conf.d" / "z.yaml").unlink()
    box.pbxd.ctl("reload")

    third = leave(box, desk, "121", "101")
    lamp(1, 0)
    mailed(3)
    box.pbxd.ctl("voicemail", "hold", "101", "--reason", "case 4711")
    refused = box.pbxd.ctl("voicemail", "delete", "101", third["id"], "--yes", check=False)
    assert "case 4711" in refused.stderr
    delete_by_phone(desk, "101")
    lamp(0, 0)
    wait_until(lambda: third["id"] in archived(), "what the phone deleted to be in the archive")
    box.pbxd.ctl("voicemail", "play", "101", third["id"], "--output", str(heard))
    assert abs(soundfile.read(heard)[0]).max() > 0.05
    box.pbxd.ctl("voicemail", "release", "101")
    for name in archived():
        box.pbxd.ctl("voicemail", "delete", "101", name, "--yes")
    assert archived() == []
    assert len(postbox.taken) == 3
    assert all(b"audio/x-wav" in content for _, content in postbox.taken)


def forwarded(box: Box, desk: Desk, message: dict[str, Any], samples: Any) -> None:
    """From the archive into 102, as it was; and it is heard there by phone."""
    box.pbxd.ctl("voicemail", "forward", "101", message["id"], "102")
    desk.wait(lambda: desk.lamp("102") == (1, 0), "the lamp of 102")
    (copy,) = listed(box, "102")
    same = ("id", "when", "duration", "caller", "caller_name", "extension", "folder")
    assert [copy[key] for key in same] == [message[key] for key in same]
    heard = box.folder / "forwarded.wav"
    box.pbxd.ctl("voicemail", "play", "102", copy["id"], "--output", str(heard))
    assert np.array_equal(soundfile.read(heard)[0], samples)
    delete_by_phone(desk, "102")
    desk.wait(lambda: desk.lamp("102") == (0, 0), "the lamp of 102 to go out")
    assert listed(box, "102") == []


def test_boxes_and_greetings(box: Box, desk: Desk) -> None:
    """A greeting that was uploaded is the one that Asterisk plays."""
    tone = io.BytesIO()
    samples, _ = soundfile.read(box.phones.audio, samplerate=8000, channels=1, format="RAW", subtype="ALAW")
    soundfile.write(tone, samples, 44_100, format="FLAC")  # the same samples at another rate: 440 Hz become 2,425
    (box.folder / "greeting.flac").write_bytes(tone.getvalue())
    leave(box, desk, "121", "101")
    box.pbxd.ctl("voicemail", "greeting", "101", str(box.folder / "greeting.flac"))
    made = box.asterisk.folder / "spool/voicemail/default/101/unavail.wav"
    found = soundfile.info(made)
    assert (found.samplerate, found.channels, found.subtype) == (8000, 1, "PCM_16")
    assert abs(found.duration - len(samples) / 44_100) < 0.01
    boxes = {row["box"]: row for row in json.loads(box.pbxd.ctl("voicemail", "boxes", "--json").stdout)}
    assert boxes["101@default"]["greetings"] == ["unavailable"]
    assert boxes["101@default"]["new"] == 1
    assert set(boxes) == {f"{number}@default" for number in range(101, 106)}
    assert made.stat().st_uid in (0, owner(box.asterisk.tree)[0])
    bad = box.folder / "bad.wav"
    bad.write_bytes(b"RIFF and nothing more")
    done = box.pbxd.ctl("voicemail", "greeting", "101", str(bad), check=False)
    assert "no sound file" in done.stderr
    box.pbxd.ctl("voicemail", "greeting", "101", "--remove")
    assert not made.exists()
