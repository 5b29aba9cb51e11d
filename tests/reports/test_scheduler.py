"""Scheduled deliveries: once each, whatever is killed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pbxd.config.schema import Reports
from pbxd.errors import ReportError, StoreError
from pbxd.reports import scheduler as module
from pbxd.reports.deliveries import Deliveries
from pbxd.reports.scheduler import Scheduler
from pbxd.stats.report import Report
from tests.reports.conftest import DAY, MONDAY
from tests.reports.host import make_report, reports
from tests.reports.postbox import Postbox

PROJECT = Path(__file__).parent.parent.parent
HOUR = 3_600_000_000
SEVEN = MONDAY + 7 * HOUR  # Monday, 07:00 in Berlin
TUESDAY = SEVEN + DAY


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Monday's delivery was accepted."""
    path = tmp_path / "reports" / "deliveries.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"morning": SEVEN}))
    return path


def made(config: Reports, clock: Callable[[], int]) -> Scheduler:
    return Scheduler(config, "Europe/Berlin", make_report, clock)


def subjects(postbox: Postbox) -> list[str]:
    return re.findall(r"Subject: Calls (\d+)", b"".join(content for _, content in postbox.taken).decode())


def begin(state: Path, port: int, moment: int) -> subprocess.Popen[bytes]:
    """A process with a scheduler, in a group of its own."""
    command = [sys.executable, "-m", "tests.reports.host", str(state), str(port), str(moment)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, start_new_session=True)


def finish(process: subprocess.Popen[bytes]) -> None:
    said, _ = process.communicate(timeout=60)
    assert said.endswith(b"done\n")


async def test_what_is_due_is_sent_once(postbox: Postbox, port: int, state: Path) -> None:
    scheduler = made(reports(state, port), lambda: TUESDAY)
    assert await scheduler.deliver_due() == TUESDAY + DAY
    assert await scheduler.deliver_due() == TUESDAY + DAY
    assert subjects(postbox) == [str(MONDAY)]
    assert Deliveries(state).read() == {"morning": TUESDAY}
    assert scheduler.status() == [
        {"name": "morning", "report": "calls", "next": TUESDAY + DAY, "delivered": TUESDAY, "error": ""}
    ]


async def test_nothing_is_sent_before_its_time(postbox: Postbox, port: int, state: Path) -> None:
    assert await made(reports(state, port), lambda: TUESDAY - 1).deliver_due() == TUESDAY
    assert postbox.taken == []


async def test_a_new_schedule_begins_with_the_next_delivery(postbox: Postbox, port: int, tmp_path: Path) -> None:
    moment = TUESDAY + HOUR
    config = reports(tmp_path / "new" / "deliveries.json", port)
    await made(config, lambda: moment).deliver_due()
    assert postbox.taken == []
    moment += DAY
    await made(config, lambda: moment).deliver_due()
    assert subjects(postbox) == [str(MONDAY + DAY)]


async def test_one_missed_delivery_is_caught_up(postbox: Postbox, port: int, state: Path) -> None:
    """Down for five days: yesterday's comes, and not five."""
    await made(reports(state, port), lambda: SEVEN + 5 * DAY).deliver_due()
    assert subjects(postbox) == [str(MONDAY + 4 * DAY)]


async def test_a_clock_that_was_wrong_does_not_end_deliveries(postbox: Postbox, port: int, state: Path) -> None:
    state.write_text(json.dumps({"morning": SEVEN + 9000 * DAY}))
    moment = TUESDAY
    scheduler = made(reports(state, port), lambda: moment)
    await scheduler.deliver_due()
    assert postbox.taken == []
    moment += DAY
    await scheduler.deliver_due()
    assert subjects(postbox) == [str(MONDAY + DAY)]


async def test_a_refusal_waits_the_longest(postbox: Postbox, port: int, state: Path) -> None:
    postbox.answers = {"anna@example.org": ["550 no such user", "250 OK"]}
    moment = TUESDAY
    scheduler = made(reports(state, port), lambda: moment)
    assert await scheduler.deliver_due() == TUESDAY + HOUR
    assert "550 no such user" in scheduler.status()[0]["error"]
    moment += HOUR - 1
    assert await scheduler.deliver_due() == TUESDAY + HOUR
    assert postbox.taken == []
    moment += 1
    await scheduler.deliver_due()
    assert subjects(postbox) == [str(MONDAY)]


async def test_a_reload_tries_again_at_once(postbox: Postbox, port: int, state: Path) -> None:
    postbox.answers = {"anna@example.org": ["550 no such user", "250 OK"]}
    scheduler = made(reports(state, port), lambda: TUESDAY)
    await scheduler.deliver_due()
    scheduler.configure(reports(state, port), "Europe/Berlin")
    await scheduler.deliver_due()
    assert len(postbox.taken) == 1


async def test_a_report_that_cannot_be_made_is_tried_again(port: int, state: Path) -> None:
    async def fails(_name: str, _start: int, _end: int, _by: str) -> Report:
        raise StoreError("the store is away")

    scheduler = Scheduler(reports(state, port), "Europe/Berlin", fails, lambda: TUESDAY)
    wake = await scheduler.deliver_due()
    assert wake is not None
    assert TUESDAY <= wake <= TUESDAY + HOUR
    assert scheduler.status()[0]["error"] == "the store is away"


async def test_a_delivery_that_takes_too_long_is_ended(
    postbox: Postbox, port: int, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROCESS_LIMIT", 0.2)
    postbox.may_answer.clear()
    scheduler = made(reports(state, port), lambda: TUESDAY)
    await scheduler.deliver_due()
    assert "it took more than" in scheduler.status()[0]["error"]


async def test_a_damaged_state_sends_nothing(postbox: Postbox, port: int, state: Path) -> None:
    """Rather none than all of them again each minute."""
    state.write_text("{")
    assert await made(reports(state, port), lambda: TUESDAY).deliver_due() is None
    assert postbox.taken == []


async def test_no_schedules(state: Path, port: int) -> None:
    config = reports(state, port).model_copy(update={"schedules": ()})
    assert await made(config, lambda: TUESDAY).deliver_due() is None


@pytest.mark.parametrize("program", ["/bin/false", "/bin/true", "/nonexistent"])
async def test_a_process_that_breaks_is_told_of(
    port: int, state: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    scheduler = made(reports(state, port), lambda: TUESDAY)
    assert await scheduler.deliver_due() is not None
    assert re.search(r"the process ended with|No such file", scheduler.status()[0]["error"])


async def test_it_runs_until_it_is_stopped(postbox: Postbox, port: int, state: Path) -> None:
    running = asyncio.create_task(made(reports(state, port), lambda: TUESDAY).run())
    await asyncio.to_thread(postbox.asked.wait, 20)
    running.cancel()  # while the mail is being taken: it is given the time
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(postbox.taken) == 1
    assert Deliveries(state).read() == {"morning": TUESDAY}


class TestKills:
    """Real processes, really killed."""

    def test_all_killed_before_the_server_took_it(self, postbox: Postbox, port: int, state: Path) -> None:
        postbox.may_answer.clear()
        first = begin(state, port, TUESDAY)
        assert postbox.asked.wait(20)
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
        assert postbox.gone.wait(20)
        assert Deliveries(state).read() == {"morning": SEVEN}
        postbox.may_answer.set()
        finish(begin(state, port, TUESDAY))
        assert subjects(postbox) == [str(MONDAY)]
        assert Deliveries(state).read() == {"morning": TUESDAY}

    def test_the_daemon_killed_while_the_server_takes_it(self, postbox: Postbox, port: int, state: Path) -> None:
        """The process that delivers goes on; the next daemon waits for it and sends nothing."""
        postbox.may_answer.clear()
        first = begin(state, port, TUESDAY)
        assert postbox.asked.wait(20)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        second = begin(state, port, TUESDAY)
        postbox.may_answer.set()
        finish(second)
        first.communicate()
        assert subjects(postbox) == [str(MONDAY)]
        assert Deliveries(state).read() == {"morning": TUESDAY}

    def test_a_restart_after_it_was_taken(self, postbox: Postbox, port: int, state: Path) -> None:
        for _ in range(2):
            finish(begin(state, port, TUESDAY))
        assert subjects(postbox) == [str(MONDAY)]


class TestDeliveries:
    """The file that remembers."""

    def test_a_change_shows_when_it_is_put_in_place(self, state: Path) -> None:
        deliveries = Deliveries(state)
        commit = deliveries.prepare({"other": 5})
        assert deliveries.read() == {"morning": SEVEN}
        commit()
        assert deliveries.read() == {"morning": SEVEN, "other": 5}

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"a": "b"}'])
    def test_a_damaged_file_is_told_of(self, state: Path, text: str) -> None:
        state.write_text(text)
        with pytest.raises(ReportError, match="delete it"):
            Deliveries(state).read()


JOB: dict[str, Any] = {"schedule": "a", "due": 1, "to": ["a@b.c"]}


@pytest.mark.parametrize("job", ["", "{", "[]", "{}", json.dumps(JOB)])
def test_what_is_no_job_is_told_of(job: str) -> None:
    command = [sys.executable, "-m", "pbxd.reports.deliver"]
    found = subprocess.run(command, cwd=PROJECT, input=job, capture_output=True, text=True, check=False)
    assert found.returncode == 65
    assert json.loads(found.stdout)["result"] == "failed"
    assert "no job" in json.loads(found.stdout)["error"]
