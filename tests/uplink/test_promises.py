"""What the service lets out of a real store under every combination of switches, with a clock that the test turns.

The canaries are looked for in everything that may leave and in everything that the hub has, in whatever form.
"""

from __future__ import annotations

import asyncio
import base64
import grp
import json
import time
import zlib
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from pbxd.calls.record import CallRecord
from pbxd.config.schema import Config
from pbxd.stats.layout import SLOT
from pbxd.stats.outgoing import used
from pbxd.stats.queries import Queries
from pbxd.stats.question import ReportSettings
from pbxd.stats.rollup import roll_up
from pbxd.stats.writer import Batch, Writer
from pbxd.uplink import gate
from pbxd.uplink.audit import verify
from pbxd.uplink.keyring import signer_text
from pbxd.uplink.service import UplinkService
from pbxd.uplink.usage import DAY, Grown
from tests.hub.running import Hub
from tests.stats import synthetic
from tests.uplink.boxes import GROUP, BoxEnd
from tests.uplink.canaries import CANARIES, files, searched

DAYS = 14
STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "rss": 1,
    "ami": {"asterisk": "22.10.1~dfsg", "connected": True},
    "live": {"calls": 0},
    "journal": {"open_calls": 0, "records": 150},
    "agi": {"sessions": 0},
    "voicemail": {"messages": 3},
    "recordings": None,
    "recording": {"handed_over": 12},
}


class Site:
    """The daemon's side of the service: a real store and configuration, and a clock that the test turns."""

    def __init__(self, end: BoxEnd, hub: Hub, store: Path, now: float) -> None:
        self.end = end
        self.now = now
        self.store = f"sqlite+aiosqlite:///{store}/stats.db"
        self.keys = end.folder / "ledger.key"
        self.keys.write_text(signer_text(end.signer))
        self.hub = hub
        self.config = self.configured()
        self.report_settings = ReportSettings(
            site="north", zone="Europe/Berlin", service_levels={"sales": 30.0, CANARIES[2]: 5.0}
        )
        self.queries = Queries(self.store)

    def configured(self, **uplink: Any) -> Config:
        return Config.model_validate(
            {
                "site": {"name": "north", "extensions": ["1XX"], "trunks": ["PJSIP/*"]},
                "people": [{"name": CANARIES[3], "login": CANARIES[3], "role": "user", "extensions": ["101"]}],
                "agi": {"lookup": {"names": {CANARIES[0]: CANARIES[2]}, "blocked": [CANARIES[0]]}},
                "comms": {"folder": f"/nowhere/{CANARIES[3]}"},
                "statistics": {"database": self.store},
                "uplink": {
                    "hub": f"{self.hub.address}:{self.hub.port}",
                    "host_keys": [self.hub.host_key],
                    "outbox": str(self.end.outbox),
                    "state": str(self.end.state),
                    "key_file": str(self.keys),
                    "group": grp.getgrgid(GROUP).gr_name,
                    "reconnect_first": "50ms",
                    **uplink,
                },
            }
        )

    def status(self) -> dict[str, Any]:
        return STATUS

    def trunks(self) -> dict[str, str]:
        return {"PJSIP/trunk-a": "reachable", f"PJSIP/{CANARIES[1]}": "unreachable"}

    async def doctor(self) -> list[dict[str, str]]:
        return [{"check": "disk", "state": "ok", "detail": CANARIES[2], "remedy": ""}]


def sung(call: CallRecord) -> CallRecord:
    """A call of which every name and outside number is a canary; one party has a canary for an extension, one for a trunk."""
    legs = tuple(
        replace(
            leg,
            name=CANARIES[2],
            number=CANARIES[1] if leg.trunk or place == 1 else leg.number,
            endpoint=f"PJSIP/{CANARIES[0]}" if leg.trunk and place else leg.endpoint,
        )
        for place, leg in enumerate(call.legs)
    )
    return replace(call, legs=legs)


@pytest.fixture
async def site(hub: Hub, end: BoxEnd, tmp_path: Path) -> AsyncIterator[Site]:
    """Two weeks of calls in the store; the clock stands at their beginning."""
    await end.enrol(hub)
    end.ledger.close()
    now = int(time.time()) // 900 * 900.0 - DAYS * 86_400
    made = Site(end, hub, tmp_path, now)
    writer = await Writer.open(made.store)
    calls = synthetic.calls(9, 150, int((now + 3600) * 1_000_000), (DAYS * 86_400 - 10_000) * 1_000_000)
    await writer.commit(Batch(records=[sung(call) for call in calls]))
    await roll_up(writer)
    await writer.close()
    yield made
    await made.queries.close()


def uplink(site: Site) -> UplinkService:
    return UplinkService(site, lambda: site.now)


async def looked(service: UplinkService) -> None:
    """Look until nothing more is queued."""
    before = -1
    while (after := service.status()["lines"]) != before:
        before = after
        await service._look()


def stats(end: BoxEnd) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (end.outbox / "ledger").read_text().splitlines()]
    return [line for line in lines if line["what"] == "entry" and line["class"] == "stats"]


async def test_two_weeks_of_statistics_spooled_off_line_arrive_once_each_in_order(site: Site) -> None:
    service = uplink(site)
    await looked(service)
    assert stats(site.end) == []  # nothing of before it was switched on
    for _ in range(DAYS):
        site.now += 86_400
        await looked(service)
    slots = [line["slot"] for line in stats(site.end)]
    assert slots == sorted(set(slots))
    assert len(slots) > 100
    site.end.start()
    await_sent(service, site)
    await looked(service)
    held = [
        json.loads(body)["slot"]
        for (body,) in await site.hub.query("SELECT body FROM entries WHERE \"class\" = 'stats' ORDER BY number")
    ]
    assert held == slots
    await service.close()
    site.end.kill()
    assert verify(site.end.outbox, site.end.signer.verifier).faults == []
    everything = b"".join(path.read_bytes() for path in [*files(site.end.outbox), *files(site.hub.folder)])
    assert searched(everything) == []
    assert b"PJSIP/trunk-a" in everything  # it is not that nothing was sent


def await_sent(service: UplinkService, site: Site) -> None:
    """Wait until the hub has taken everything."""
    ledger = service.ledger

    def nothing_open() -> bool:
        ledger.fold(site.end.state)
        return not ledger.book.open

    site.end.wait(nothing_open, "everything to be sent")


async def test_P2_without_shared_statistics_none_is_queued_and_what_waits_is_destroyed(site: Site) -> None:
    service = uplink(site)
    await looked(service)
    site.now += 2 * 86_400
    await looked(service)
    queued = len(stats(site.end))
    assert queued > 5
    site.config = site.configured(share_statistics=False)
    await service.reload()  # while whatever goes on goes on
    assert [item for item in service.preview() if item["class"] == "stats"] == []
    bodies = {int(path.name) for path in (site.end.outbox / "bodies").iterdir()}
    assert bodies.isdisjoint(line["number"] for line in stats(site.end))
    site.now += 2 * 86_400
    await looked(service)
    assert len(stats(site.end)) == queued  # nothing more
    newest = [item for item in service.preview() if item["class"] == "config"][-1]
    assert json.loads(service.body(newest["number"]))["share_statistics"] is False
    site.config = site.configured()
    await looked(service)
    again = int(site.now * 1_000_000) // SLOT
    site.now += 2 * 86_400
    await looked(service)
    assert all(line["slot"] > again for line in stats(site.end)[queued:])  # the time in between stays on the box
    await service.close()


async def test_P3_no_canary_under_any_combination_of_switches(site: Site) -> None:
    service = uplink(site)
    for share, enabled, off in product((True, False), repeat=3):
        site.config = site.configured(share_statistics=share, enabled=enabled)
        await service.reload()
        await looked(service)
        await service.switch(on=not off)
        site.now += 86_400
        service._health_due = 0.0
        before = service.status()["entries"]
        await looked(service)
        assert (service.status()["entries"] > before) is (enabled and not off)
        assert service.on is (enabled and not off)
    classes = {json.loads(line).get("class") for line in (site.end.outbox / "ledger").read_text().splitlines()} - {None}
    assert classes == {"config", "stats", "health"}
    await service.close()
    assert searched(b"".join(path.read_bytes() for path in files(site.end.outbox))) == []


async def test_P5_use_is_of_the_last_whole_day_also_after_a_restart(site: Site) -> None:
    """Counted in the store; a day of fewer than ten is not told; and nothing that is counted of calls if they are not shared."""
    days = [(site.now // DAY + number) * DAY for number in range(1, DAYS)]
    told = []
    for day in days[::4]:
        site.now = day + DAY + 7 * 3600
        counted = await used(site.queries, int(day) * 1_000_000, int(day + DAY) * 1_000_000)
        service = uplink(site)  # it has just been started
        await looked(service)
        assert usage_of(service) == gate.usage({**counted, "recordings": 12}, 10)
        told.append(counted["calls"])
        await service.close()
    assert sum(told) > 10
    whole = await used(site.queries, 0, int(site.now + DAYS * DAY) * 1_000_000)
    assert (whole["calls"], whole["queue_visits"] > 50, whole["voice_messages"] > 5) == (150, True, True)
    site.config = site.configured(share_statistics=False)
    service = uplink(site)
    await looked(service)
    assert usage_of(service) == {"recordings": "10+"}
    await service.close()


def usage_of(service: UplinkService) -> dict[str, str]:
    """What the last report of health says."""
    number = service.ledger.book.last["health"].number
    found: dict[str, str] = json.loads(service.body(number))["usage"]
    return found


def test_P5_what_counters_grew_in_a_day() -> None:
    grown = Grown()
    assert grown.look({"a": 3}, 10 * DAY + 1) == {"a": 3}  # since the start
    assert grown.look({"a": 20}, 11 * DAY - 1) == {"a": 20}
    for at, count in ((11 * DAY + 5, 22), (11 * DAY + 90, 30), (12 * DAY - 1, 50)):
        assert grown.look({"a": count}, at) == {"a": 20}  # of the day before, all day long
    assert grown.look({"a": 51}, 12 * DAY) == {"a": 30}
    assert grown.look({"a": 52}, 15 * DAY) == {"a": 0}  # nothing is known of the day before
    assert grown.look({"a": 60}, 14 * DAY) == {"a": 0}  # a clock that was set back


async def test_a_stop_in_the_moment_of_a_change_is_not_lost(site: Site) -> None:
    """asyncio.wait_for of Python 3.11 swallows a cancellation that comes with the end of what it waits for."""
    service = uplink(site)
    task = asyncio.create_task(service.run())
    while not service.status()["entries"]:  # noqa: ASYNC110 - it is read from the ledger
        await asyncio.sleep(0.01)
    async with service._lock:  # no look is under way: it waits
        await asyncio.sleep(0.1)
        service._wake.set()
        task.cancel()
        await asyncio.wait([task], timeout=60)
    assert task.cancelled()
    await service.close()


@pytest.mark.parametrize(
    "hidden",
    [
        b"x030987654321y", "Zoë Kanarienvogel".encode("utf-16-le"), b"030987654321".hex().encode(),
        base64.b64encode(b"12030987654321"), base64.b64encode(zlib.compress(b"kanarienvogel")),
        zlib.compress(b"+4930987654321"), json.dumps("Zoë Kanarienvogel").encode(),
    ],
)  # fmt: skip
def test_the_search_finds_what_is_hidden(hidden: bytes) -> None:
    assert searched(b"before " + hidden + b" after")
