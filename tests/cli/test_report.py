"""`pbxctl report`, against a real server on a Unix socket."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from pbxd.reports.table import as_json
from tests.reports.conftest import agents

PROJECT = Path(__file__).parent.parent.parent


class Daemon:
    """Answers each report with the same one, and keeps what it was asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.answer: object = as_json(agents())
        self.code = 200

    def report(self, request: Request) -> JSONResponse:
        self.asked.append((request.url.path, dict(request.query_params)))
        return JSONResponse(self.answer, self.code)

    def pbxctl(self, *words: str, out: int = subprocess.PIPE) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "pbxd.cli.main", "--socket", str(self.path), "report", *words],
            cwd=PROJECT, env=os.environ | {"TZ": "Europe/Berlin"}, stdout=out, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "control.sock")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(made.path))
    listening.listen()  # from here on a client waits rather than fails
    app = Starlette(routes=[Route("/v1/reports/{name}", made.report)])
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    yield made
    server.should_exit = True
    thread.join()
    listening.close()


def test_text_is_the_default(daemon: Daemon) -> None:
    found = daemon.pbxctl("agents", "--from", "2025-11-24", "--to", "2025-12-01", "--by", "agent", "--queue", "sales")
    assert found.returncode == 0, found.stderr
    assert found.stdout.decode().startswith("Agents\nPraxis Łódź")
    assert daemon.asked == [
        (
            "/v1/reports/agents",
            {"start": "1763938800000000", "end": "1764543600000000", "by": "agent", "queue": "sales"},
        )
    ]


@pytest.mark.parametrize("name", ["calls", "queues", "agents", "trunks", "quality", "heatmap"])
def test_every_report_can_be_asked_for(daemon: Daemon, name: str) -> None:
    assert daemon.pbxctl(name, "--format", "json").returncode == 0
    ((route, query),) = daemon.asked
    assert route == f"/v1/reports/{name}"
    assert set(query) == {"start", "end"}
    assert int(query["start"]) < int(query["end"])


def test_formats(daemon: Daemon) -> None:
    assert json.loads(daemon.pbxctl("agents", "-f", "json").stdout) == daemon.answer
    rows = list(csv.reader(io.StringIO(daemon.pbxctl("agents", "-f", "csv").stdout.decode(), newline="")))
    assert rows[1][0] == "Zoë"
    assert daemon.pbxctl("agents", "-f", "html").stdout.startswith(b"<!doctype html>")
    assert daemon.pbxctl("agents", "-f", "pdf").stdout.startswith(b"%PDF")  # to a pipe


def test_a_file_is_replaced_whole(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_text("old")
    assert daemon.pbxctl("agents", "-f", "pdf", "-o", str(path)).returncode == 0
    assert path.read_bytes().startswith(b"%PDF")
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_mask()
    assert sorted(tmp_path.iterdir()) == [daemon.path, path]


def current_mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_failure_leaves_the_old_file(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_text("old")
    daemon.answer = {"error": "no queue is named sales"}
    daemon.code = 400
    found = daemon.pbxctl("queues", "-f", "csv", "-o", str(path))
    assert (found.returncode, found.stderr) == (1, b"pbxctl: no queue is named sales\n")
    assert path.read_text() == "old"
    daemon.answer, daemon.code = {"rows": 1}, 200
    assert b"this is no report" in daemon.pbxctl("queues", "-f", "csv", "-o", str(path)).stderr
    assert path.read_text() == "old"


def test_a_folder_that_is_not_there(daemon: Daemon, tmp_path: Path) -> None:
    found = daemon.pbxctl("agents", "-o", str(tmp_path / "none" / "report.txt"))
    assert found.returncode == 1
    assert b"cannot be written: No such file or directory" in found.stderr


def test_a_pdf_is_not_for_a_terminal(daemon: Daemon) -> None:
    ours, theirs = pty.openpty()
    try:
        found = daemon.pbxctl("agents", "-f", "pdf", out=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert found.returncode == 1
    assert b"--output" in found.stderr
    assert daemon.asked == []


def test_no_daemon(tmp_path: Path) -> None:
    found = Daemon(tmp_path / "none.sock").pbxctl("agents")
    assert found.returncode == 1
    assert b"pbxd is not running" in found.stderr


def test_a_time_that_is_none(daemon: Daemon) -> None:
    found = daemon.pbxctl("agents", "--from", "soon")
    assert b"'soon' is no time" in found.stderr
    assert daemon.asked == []
