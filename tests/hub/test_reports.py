"""Reports of what was uploaded are those that the box makes itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pbxd.calls.site import Site
from pbxd.errors import ReportError
from pbxd.hub import reports
from pbxd.hub.database import Database
from pbxd.stats.layout import SLOT
from pbxd.stats.outgoing import next_quarter
from pbxd.stats.queries import Queries
from pbxd.stats.question import Question, ReportSettings
from pbxd.stats.report import Report
from pbxd.stats.reports import Reports
from pbxd.stats.rollup import roll_up
from pbxd.stats.writer import Batch, Writer
from pbxd.uplink import gate
from pbxd.uplink.frames import Frame
from tests.hub.conftest import NewHub, StartWithin
from tests.hub.peer import Peer, config, entry
from tests.stats import synthetic

OWN = Site(extensions=["1XX"]).is_extension
FIRST = 1_795_000_000_000_000 // (96 * SLOT) * 96 * SLOT  # midnight UTC of some day
DAYS = 2
DAY = 96 * SLOT
SETTINGS = ReportSettings(site="pbx", zone="Europe/Berlin", service_levels={"sales": 45.0}, wrapup=10.0)
REPORT = {
    "service_level": 20.0,
    "service_levels": {"sales": 45.0},
    "service_target": 0.8,
    "short_abandon": 5.0,
    "wrapup": 10.0,
}
QUESTIONS = [
    *(("calls", by, {}) for by in ("day", "hour", "weekday", "direction", "disposition", "extension", "trunk")),
    *(("queues", by, {}) for by in ("queue", "hour", "day")),
    ("queues", "day", {"queue": "sales"}),
    ("calls", "day", {"extension": "101"}),
    ("trunks", "trunk", {}),
    ("trunks", "hour", {"trunk": "PJSIP/trunk-a"}),
    ("quality", "trunk", {}),
    ("heatmap", "calls", {}),
    ("heatmap", "abandonment", {"queue": "support"}),
]  # fmt: skip


async def uploads(queries: Queries, number: int, after: int) -> list[Frame]:
    """Every quarter behind a slot that the box would send, as entries."""
    found: list[Frame] = []
    while (one := await next_quarter(queries, after, 2**31 - 1)) is not None:
        found.append(entry(number + len(found), gate.stats(one, OWN).body, "stats"))
        after = one.slot
    return found


async def send(box: Peer, frames: Sequence[Frame]) -> None:
    async with box.uplink() as (link, welcome):
        assert welcome["next"] == frames[0]["number"]
        for start in range(0, len(frames), 50):
            await link.send(*frames[start : start + 50])
            for one in frames[start : start + 50]:
                answer = await link.until("accepted", "rejected")
                assert (answer.type, answer["number"]) == ("accepted", one["number"]), answer


async def made(box: Peer, question: Question) -> Report:
    row = await box.hub.box(box.id)
    return await box.hub.ask(lambda database: reports.report(database, row, question))


async def same(box: Peer, own: Reports, first: int, end: int) -> None:
    row = await box.hub.box(box.id)

    async def compare(database: Database) -> None:
        for name, by, filters in QUESTIONS:
            question = Question(name, first, end, by, filters)
            assert await reports.report(database, row, question) == await own.make(question), question

    await box.hub.ask(compare)


async def test_reports_equal_the_boxs_own(box: Peer, tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/stats.db"
    writer, queries = await Writer.open(url), Queries(url)
    calls = synthetic.calls(5, 300, FIRST, DAYS * DAY)
    # Uploading begins in the middle of the first day, with calls in progress.
    begin = FIRST + DAY // 2
    await writer.commit(Batch(records=calls))
    await roll_up(writer)
    told = entry(0, config(report=REPORT), "config")
    stats = await uploads(queries, 1, begin // SLOT - 1)
    own = Reports(queries, writer, SETTINGS)
    await send(box, [told, *stats[: len(stats) // 2]])
    await send(box, stats[len(stats) // 2 :])
    await same(box, own, begin, FIRST + DAYS * DAY)
    await same(box, own, begin + 3 * SLOT, begin + DAY + SLOT)

    # Calls come late: their quarters are sent again, and what was said of them before is replaced.
    more = [replace(call, id=f"late-{call.id}") for call in synthetic.calls(6, 40, begin, DAY)]
    await writer.commit(Batch(records=more))
    await roll_up(writer)
    again = await uploads(queries, 1 + len(stats), begin // SLOT - 1)
    await send(box, again)
    await same(box, own, begin, FIRST + DAYS * DAY)
    await queries.close()
    await writer.close()


async def test_agents_are_persons_and_stay_on_the_box(box: Peer) -> None:
    with pytest.raises(ReportError, match="stay on the box"):
        await made(box, Question("agents", FIRST, FIRST + DAY))


async def test_a_customer_who_keeps_statistics_has_no_reports_here(box: Peer) -> None:
    await send(box, [entry(0, config(), "config"), entry(1, config(share_statistics=False), "config")])
    report = await made(box, Question("calls", FIRST, FIRST + DAY))
    assert report.rows == ()
    assert "disabled by the customer" in report.title
    assert report.notes == ("Statistics of this box: disabled by the customer.",)


async def test_pages_are_files_without_anything_fetched(new_hub: NewHub, within: StartWithin, tmp_path: Path) -> None:
    hub = new_hub()
    await within(hub)
    box = Peer(hub)
    await box.enrol()
    await send(box, [entry(0, config(share_statistics=False), "config")])
    page = tmp_path / "page.html"
    done = await asyncio.to_thread(hub.ctl, "report", box.id, "queues", "--from", "2d", "-o", str(page))
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert "disabled by the customer" in text
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org", "")
