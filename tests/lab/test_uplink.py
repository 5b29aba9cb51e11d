"""P6: no call notices the uplink, whatever becomes of it."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.asterisk import wait_until
from lab.box import Box
from lab.desk import Desk
from lab.transfers import connect
from tests.conftest import say
from tests.hub.conftest import hub, hub_template, new_hub, shared_hub
from tests.hub.running import Hub
from tests.uplink.boxes import GROUP, USER
from tests.uplink.conftest import open_folder
from tests.uplink.test_service import link_of, settings

__all__ = ["hub", "hub_template", "new_hub", "open_folder", "shared_hub"]
pytestmark = [pytest.mark.lab, pytest.mark.timeout(280)]


class Linked:
    """A box with calls, and its link."""

    def __init__(self, folder: Path, hub: Hub) -> None:
        self.hub = hub
        self.folder = folder
        self.box = Box(folder, say)
        (folder / "link").mkdir()
        os.chown(folder / "link", pwd.getpwnam(USER).pw_uid, GROUP)
        self.process: subprocess.Popen[bytes] | None = None
        self.configure(share=True)
        self.box.start()

    def configure(self, *, share: bool) -> None:
        self.box.pbxd.configure(more=settings(self.folder, self.hub, share=share))

    def link(self) -> None:
        """Start the link, and wait until it is up."""
        self.process = link_of(self.folder)
        self.connected(so=True)

    def connected(self, *, so: bool) -> None:
        wait_until(lambda: self.box.pbxd.status()["uplink"]["connected"] is so, f"the uplink, up: {so}")

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def calls(self) -> list[str]:
        """The calls that are up, by their channels."""
        found = json.loads(self.box.pbxd.ctl("live", "--json").stdout)["calls"]
        return sorted(channel for call in found for channel in call["channels"])


@pytest.fixture
def linked(open_folder: Path, hub: Hub) -> Iterator[Linked]:
    made = Linked(open_folder, hub)
    yield made
    made.kill()
    made.box.stop()


async def test_P6_no_call_notices_what_becomes_of_the_uplink(linked: Linked) -> None:
    """Enrolled, connected, off, on, statistics switched off, the link killed, the hub killed: all during one call."""
    pbxd, token = linked.box.pbxd, await linked.hub.token()
    desk = Desk(linked.box.asterisk)
    a, _ = connect(desk, "121", "122")
    wait_until(lambda: len(linked.calls()) == 2, "the call to be seen")
    channels = linked.calls()
    pbxd.ctl("uplink", "enrol", "--token", token)
    linked.link()
    assert linked.calls() == channels
    pbxd.ctl("uplink", "off")
    linked.connected(so=False)
    assert linked.process is not None
    assert linked.process.wait(timeout=60) == 0
    pbxd.ctl("uplink", "on")
    linked.configure(share=False)
    assert "uplink.share_statistics" in pbxd.ctl("reload").stdout
    linked.link()
    assert linked.calls() == channels
    linked.kill()
    linked.hub.kill()
    linked.connected(so=False)
    assert linked.calls() == channels
    a.hang_up()
    desk.quiet(["121", "122"])
    desk.close()
    linked.box.wait_for_calls(1)
    (record,) = pbxd.records()
    assert record["disposition"] == "answered"
    assert pbxd.status()["ami"]["reconnects"] == 0
