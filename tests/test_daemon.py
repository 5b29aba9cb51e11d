"""The daemon as a process without an Asterisk: commands, control socket, reload, metrics, stop, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import select
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lab.asterisk import wait_until
from lab.tree import environment
from pbxd.cli.client import UnixConnection
from tests.conftest import reachable
from tests.running import Running


def test_records_come_without_ami(pbxd: Running, journals: Path) -> None:
    pbxd.append(journals / "answered.csv", journals / "queue.csv")
    wait_until(lambda: pbxd.calls() == 2, "both calls")
    text = pbxd.ctl("calls", "list").stdout
    assert "PJSIP/111" in text
    cut = pbxd.ctl("calls", "list", "--limit", "1")
    assert (len(cut.stdout.splitlines()), cut.stderr) == (2, "1 of 2; --limit N or --from …\n")
    assert pbxd.ctl("calls", "list", "--number", "111", "--limit", "1").stderr == ""  # there is no other
    rows = list(csv.DictReader(io.StringIO(pbxd.ctl("calls", "export", "--format", "csv").stdout)))
    assert [row["dialled"] for row in rows] == ["111", "300"]
    shown = json.loads(pbxd.ctl("calls", "show", rows[0]["id"], "--format", "json").stdout)
    imported = pbxd.ctl("calls", "import", str(journals / "answered.csv"), "--format", "json").stdout
    assert shown == json.loads(imported)


def test_import_needs_no_daemon(tmp_path: Path, journals: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pbxd.cli.main",
        "--socket",
        str(tmp_path / "none"),
        "calls",
        "import",
        "-",
        "--format",
        "json",
    ]
    data = (journals / "inbound.csv").read_bytes() + b"junk\n"
    arguments = [*command, "--trunk", "PJSIP/trunk-*"]
    done = subprocess.run(arguments, input=data, capture_output=True, check=True, env=environment())
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["direction"] == "inbound"
    assert b"byte 3334: " in done.stderr


def test_watch_tells_of_each_call(pbxd: Running, journals: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pbxd.cli.main",
        "--socket",
        str(pbxd.folder / "control.sock"),
        "calls",
        "watch",
        "-f",
        "json",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment() | {"PYTHONUNBUFFERED": "1"}
    ) as watcher:
        assert watcher.stdout is not None
        numbers = iter(range(100))

        def seen() -> bool:
            """Calls are made until the watcher has joined and sees one."""
            n = next(numbers)
            text = (journals / "nothing-there.csv").read_text()
            uniqueid = text.split('","')[14]
            with pbxd.journal.open("a") as journal:
                journal.write(text.replace(uniqueid, f"{uniqueid}{n}"))
            return pbxd.ctl("status").returncode == 0 and readable(watcher)

        wait_until(seen, "the watcher to see a call")
        assert json.loads(watcher.stdout.readline())["dialled"] == "801"
        pbxd.process.send_signal(signal.SIGTERM) if pbxd.process else None
        assert watcher.wait(20) == 0  # the daemon's end is the end of watching


def readable(process: subprocess.Popen[str]) -> bool:

    return process.stdout is not None and bool(select.select([process.stdout], [], [], 0)[0])


def test_other_users_are_refused(pbxd: Running) -> None:
    code = (
        "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "s.sendall(b'GET /v1/status HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n'); print(s.recv(99).decode())"
    )
    reachable(pbxd.folder)
    path = str(pbxd.folder / "control.sock")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = subprocess.run(
        [*nobody, "/usr/bin/env", "python3", "-c", code, path], capture_output=True, text=True, check=False
    )
    allowed = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert "200 OK" in allowed.stdout
    assert "200 OK" not in done.stdout
    if done.returncode == 0:
        assert "403" in done.stdout


def test_statistics(pbxd: Running, journals: Path) -> None:
    done = pbxd.ctl("calls", "import", str(journals / "queue.csv"))
    assert done.returncode == 0
    status = json.loads(pbxd.ctl("stats", "status", "--json").stdout)
    assert (status["waiting_quarters"], status["waiting_days"], status["days"]) == (0, 0, 1)
    assert "made again" in pbxd.ctl("stats", "rebuild").stdout
    assert "0 calls" in pbxd.ctl("stats", "purge", "--dry-run").stdout
    assert "rolled up" in pbxd.ctl("stats", "status").stdout
    start = status["oldest_call"]

    def get(route: str) -> tuple[int, Any]:
        with closing(UnixConnection(pbxd.folder / "control.sock")) as connection:
            connection.request("GET", f"{route}&end={start + 1}")
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    code, report = get(f"/v1/reports/queues?start={start}&by=queue")
    assert (code, [row["queue"] for row in report["rows"]]) == (200, ["support"])
    assert "no report" in get(f"/v1/reports/cats?start={start}")[1]["error"]
    assert "microseconds" in get("/v1/reports/calls?start=noon")[1]["error"]


def test_metrics(pbxd: Running, journals: Path) -> None:
    pbxd.append(journals / "busy.csv")
    wait_until(lambda: pbxd.calls() == 1, "the call")
    text = pbxd.ctl("metrics").stdout
    assert "pbxd_calls_total 1.0" in text
    assert "pbxd_ami_connected 0.0" in text


def test_sighup_reloads_and_a_mistake_does_not(pbxd: Running) -> None:
    assert pbxd.process is not None
    good = pbxd.config.read_text()
    log = pbxd.folder / "log.json"
    pbxd.config.write_text(good.replace("trunks", "tranks"))
    pbxd.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "configuration refused" in log.read_text(), "the refusal")
    pbxd.config.write_text(good.replace("1XX", "2XX"))
    pbxd.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "configuration reloaded" in log.read_text(), "the reload")


def test_sigterm_stops_in_order(pbxd: Running, journals: Path) -> None:
    assert pbxd.process is not None
    pbxd.append(journals / "answered.csv")
    pbxd.process.send_signal(signal.SIGTERM)
    assert pbxd.process.wait(20) == 0
    assert not (pbxd.folder / "control.sock").exists()
    pbxd.start()
    wait_until(lambda: pbxd.calls() == 1, "the call")


def test_a_second_daemon_is_refused(pbxd: Running) -> None:
    command = [sys.executable, "-m", "pbxd.cli.daemon", "run", "-c", str(pbxd.config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 1
    assert "another pbxd is writing" in done.stderr
    assert "Traceback" not in done.stderr


def test_systemd_is_told(tmp_path: Path) -> None:

    running = Running(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(20)
        running.start(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="200000")
        assert running.process is not None
        told = notify.recv(4096).decode()
        while "READY=1" not in told:
            told += notify.recv(4096).decode()
        while "WATCHDOG=1" not in told:
            told += notify.recv(4096).decode()
        running.process.send_signal(signal.SIGTERM)
        while "STOPPING=1" not in told:
            told += notify.recv(4096).decode()
        assert running.process.wait(20) == 0


def test_no_daemon_is_said_plainly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pbxd.cli.main", "--socket", str(tmp_path / "none"), "status"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 1
    assert done.stderr.startswith("pbxctl: pbxd is not running")


@pytest.mark.parametrize("arguments", [["calls", "list", "--from", "noon-ish"], ["calls", "show", "1.1"]])
def test_mistakes_at_the_command_line(pbxd: Running, arguments: list[str]) -> None:
    done = pbxd.ctl(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("pbxctl: ")
    assert "Traceback" not in done.stderr


def test_a_mistake_in_the_configuration_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "pbxd.yaml").write_text("sit: 1\nami: {port: x}\n")
    for command in ("check", "run"):
        words = [sys.executable, "-m", "pbxd.cli.daemon", command, "-c", str(tmp_path / "pbxd.yaml")]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment())
        assert done.returncode == 1
        assert "pbxd.yaml:1: sit: unknown key; did you mean site?" in done.stderr
        assert "pbxd.yaml:2: ami.port" in done.stderr


def test_status_imports_nothing_heavy() -> None:
    heavy = ("sqlalchemy", "pydantic", "yaml", "panoramisk", "uvicorn")
    code = f"import sys, pbxd.cli.main; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.strip() == "[]"


def test_the_store_is_its_owners_only(pbxd: Running) -> None:
    assert (pbxd.folder / "state" / "stats.db").stat().st_mode & 0o007 == 0
