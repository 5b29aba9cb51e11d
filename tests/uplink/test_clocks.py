"""A clock on the wall that is off by a year, the link's or the hub's, against the real other end: refused, and told why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.asterisk import wait_until
from tests.hub.conftest import NewHub
from tests.moved_clock import MovedClock
from tests.uplink.test_service import UplinkBox, enrolled

YEAR = 366 * 86_400
SAID = "clock? The hub's clock and this box's do not agree on whether a certificate is valid; set this box's clock"


class Clocks:
    """A box and a hub, each with a clock of its own."""

    def __init__(self, folder: Path, new_hub: NewHub) -> None:
        self.hub = new_hub()
        self.hubs = MovedClock(self.hub.folder / "clock")
        self.hub.start(**self.hubs.environment)
        self.box = UplinkBox(folder, self.hub)
        self.links = MovedClock(folder / "clock")
        self.box.start()

    def link_says(self, *words: str) -> None:
        """Start the link anew, and wait until `pbxctl uplink status` says so of it."""
        if self.box.link is not None:
            self.box.stop_link()
        self.box.start_link(**self.links.environment)

        def said() -> bool:
            shown = self.box.ctl_here("uplink", "status").stdout
            (line,) = [line for line in shown.splitlines() if line.startswith("link ")]
            return all(word in line for word in words)

        wait_until(said, f"`pbxctl uplink status` to say {words} of the link")


@pytest.fixture
def clocks(open_folder: Path, new_hub: NewHub) -> Iterator[Clocks]:
    made = Clocks(open_folder, new_hub)
    yield made
    made.box.kill()


async def test_a_clock_that_is_off_by_a_year_is_refused_with_its_own_message(clocks: Clocks) -> None:
    await enrolled(clocks.box)
    wait_until(lambda: clocks.box.status()["waiting"] >= 2, "something to be queued")
    for clock, years, told in (
        (clocks.links, 1, "(the hub's clock stands 366 days behind this box's)"),
        (clocks.links, -1, "(the hub's clock stands 366 days before this box's)"),
        (clocks.hubs, 1, SAID),  # by the hub's the box's certificate has expired, by ours it holds
        (clocks.hubs, -1, SAID),  # the hub's stands before the hub's own beginning
    ):
        clock.set(years * YEAR)
        clocks.link_says("refused", SAID, told)
        clock.set(0)
    assert await clocks.hub.query("SELECT number FROM entries") == []  # nothing went up
    clocks.link_says("connected")
    clocks.box.becomes(waiting=0)
