"""Imports by real processes: killed in the middle, resumed, repeated, grown; each record as the journal gives it."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bench.journal import journal as make_journal
from lab.asterisk import wait_until
from lab.tree import environment
from pbxd.calls.interpreter import records
from pbxd.calls.record import as_json
from pbxd.calls.site import Site
from pbxd.cli.client import UnixConnection
from tests.running import Running

SITE = Site(["PJSIP/trunk-*"], ["1XX"])
CALLS = 6_000  # five batches


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("history") / "cel.csv"
    make_journal(path, CALLS)
    return path


def wanted(data: bytes) -> list[dict[str, Any]]:
    """The records of these lines, as JSON, in the order of their ids."""
    made = {record.id: as_json(record) for record in records(data.splitlines(), SITE)}
    return sorted(made.values(), key=lambda record: str(record["id"]))


def stored(pbxd: Running) -> list[dict[str, Any]]:
    done = pbxd.ctl("calls", "export", "--format", "json")
    return sorted(map(json.loads, done.stdout.splitlines()), key=lambda record: str(record["id"]))


def started(pbxd: Running, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pbxd.cli.main", "--socket", str(pbxd.folder / "control.sock"), "calls", "import"]
    return subprocess.Popen([*command, str(path)], stderr=subprocess.PIPE, text=True, env=environment())


def committed(pbxd: Running) -> int:
    """Lines that the store says are read, of all imports."""
    with closing(sqlite3.connect(f"file:{pbxd.folder}/state/stats.db?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT coalesce(sum(lines), 0) FROM imports").fetchone()[0])


def middle(pbxd: Running) -> None:
    """Wait until an import has begun to commit, and has not ended."""
    wait_until(lambda: committed(pbxd) > 0, "the first batch")
    assert committed(pbxd) < CALLS * 15


def test_an_import_gives_what_the_journal_gives(pbxd: Running, journals: Path) -> None:
    data = b"".join(path.read_bytes() for path in sorted(journals.glob("*.csv")))
    path = pbxd.folder / "history.csv"
    path.write_bytes(data)
    first = pbxd.ctl("calls", "import", str(path))
    assert first.returncode == 0, first.stderr
    expected = wanted(data)
    assert first.stdout.startswith(f"{len(expected)} calls from {data.count(10)} lines, 0 lines not understood, in ")
    assert stored(pbxd) == expected
    second = pbxd.ctl("calls", "import", str(path))
    assert f"is complete: going on behind {data.count(10)} lines and {len(expected)} calls" in second.stderr
    assert second.stdout.startswith("0 calls from 0 lines")
    again = pbxd.ctl("calls", "import", "--again", str(path))
    assert again.stdout.split(" in ")[0] == first.stdout.split(" in ")[0]
    assert stored(pbxd) == expected


def test_kill_9_of_the_client(pbxd: Running, large: Path) -> None:
    client = started(pbxd, large)
    middle(pbxd)
    client.kill()
    client.communicate()
    assert pbxd.ctl("calls", "import", str(large)).returncode == 0
    assert committed(pbxd) == CALLS * 15
    assert stored(pbxd) == wanted(large.read_bytes())


def test_kill_9_of_the_daemon(pbxd: Running, large: Path) -> None:
    client = started(pbxd, large)
    middle(pbxd)
    assert pbxd.process is not None
    pbxd.process.send_signal(signal.SIGKILL)
    pbxd.process.wait()
    _, told = client.communicate()
    assert client.returncode == 1
    assert "the same command again goes on behind the" in told
    assert "Traceback" not in told
    pbxd.start()
    done = pbxd.ctl("calls", "import", str(large))
    assert done.returncode == 0, done.stderr
    assert "was begun: going on behind" in done.stderr
    assert committed(pbxd) == CALLS * 15
    assert stored(pbxd) == wanted(large.read_bytes())


def test_two_at_once(pbxd: Running, large: Path) -> None:
    """Both send the same batches: one of them is told so, or both find the other's work done; nothing is there twice."""
    clients = [started(pbxd, large) for _ in range(2)]
    told = [client.communicate()[1] for client in clients]
    assert 0 in [client.returncode for client in clients]
    for client, text in zip(clients, told, strict=True):
        assert client.returncode == 0 or "another one of the same source is running" in text
    assert committed(pbxd) == CALLS * 15
    assert pbxd.calls() == CALLS


def test_a_batch_out_of_order_is_refused(pbxd: Running, journals: Path) -> None:
    lines = (journals / "answered.csv").read_bytes().splitlines(keepends=True)
    numbered = [b"%d %s" % pair for pair in enumerate(lines)]

    def post(after: str, position: str, body: bytes, source: str = "ab" * 16) -> tuple[int, dict[str, Any]]:
        link = UnixConnection(pbxd.folder / "control.sock")
        link.request("POST", f"/v1/calls/import?source={source}&after={after}&position={position}&last=1", body)
        answer = link.getresponse()
        with closing(link):
            return answer.status, json.loads(answer.read())

    assert post("", "5", b"".join(numbered[:5]))[0] == 200
    for after in ("", "4", "15"):
        status, answer = post(after, "15", b"".join(numbered[5:]))
        assert (status, answer["position"]) == (409, "5")
    assert post("5", "15", b"".join(numbered[5:]))[1]["records"] == 1
    assert stored(pbxd) == wanted(b"".join(lines))
    for wrong in (post("", "x" * 65, b""), post("", "1", b"junk\n", "cd" * 16), post("", "1", b"", "no-hash")):
        assert wrong[0] == 400
        assert wrong[1]["error"]


def test_a_file_that_grows_line_by_line(pbxd: Running, journals: Path) -> None:
    """After each piece open calls are in the store as they stand; at the end each is what it would have been at once.

    The daemon is another one for every second piece, so that the open calls come from the store.
    """
    data = b"".join((journals / name).read_bytes() for name in ("attended.csv", "annotated.csv", "queue.csv"))
    lines = data.splitlines(keepends=True)
    path = pbxd.folder / "history.csv"
    path.touch()
    for n in range(0, len(lines), 7):
        with path.open("ab") as file:
            file.write(b"".join(lines[n : n + 7]))
        assert pbxd.ctl("calls", "import", str(path)).returncode == 0
        if n % 2:
            assert pbxd.process is not None
            pbxd.process.kill()
            pbxd.process.wait()
            pbxd.start()
    assert stored(pbxd) == wanted(data)


def test_what_is_packed_what_is_piped_and_what_is_counted(pbxd: Running, journals: Path) -> None:
    data = (journals / "queue.csv").read_bytes() + b"junk\n"
    path = pbxd.folder / "history.csv"
    path.write_bytes(data)
    dry = pbxd.ctl("calls", "import", "--dry-run", str(path))
    assert dry.stdout.startswith("dry run: 1 calls from ")
    assert ", 1 lines not understood, " in dry.stdout
    assert stored(pbxd) == []
    subprocess.run(["xz", "-k", str(path)], check=True)
    assert pbxd.ctl("calls", "import", f"{path}.xz").stdout.startswith("1 calls from ")
    assert pbxd.ctl("calls", "import", "-", input=data.decode()).stdout.startswith("0 calls from 0 lines")
    with closing(sqlite3.connect(f"file:{pbxd.folder}/state/stats.db?mode=ro", uri=True)) as connection:
        rejects = connection.execute("SELECT source, offset, line FROM journal_rejects").fetchall()
    assert rejects == [("import", len(data) - 5, b"junk")]


def test_a_database(pbxd: Running, journals: Path) -> None:
    lines = (journals / "queue.csv").read_text().splitlines()
    with closing(sqlite3.connect(pbxd.folder / "master.db")) as connection, connection:
        connection.execute(
            "CREATE TABLE log (eventtype, eventtime, uniqueid, linkedid, channame, appname, cid_num, exten, extra)"
        )
        for line in lines:
            connection.execute(
                "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [json.loads(json.dumps(value)) for value in columns_of(line, 0, 1, 14, 15, 9, 10, 3, 7, 19)],
            )
    url = f"sqlite:///{pbxd.folder}/master.db"
    wrong = pbxd.ctl("calls", "import", url)
    assert wrong.returncode == 1
    assert "has no table cel; there are log. Name it by --table" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    done = pbxd.ctl("calls", "import", url, "--table", "log", "--zone", "Europe/Berlin")
    assert done.stdout.startswith(f"1 calls from {len(lines)} lines"), done.stderr
    (record,) = stored(pbxd)
    assert record["queues"]
    shown = pbxd.ctl("calls", "import", url, "--table", "log", "--format", "json", "--trunk", "PJSIP/trunk-*")
    assert json.loads(shown.stdout)["queues"] == record["queues"]


def columns_of(line: str, *places: int) -> list[str]:
    from csv import reader  # noqa: PLC0415

    values = next(reader([line]))
    return [values[place] for place in places]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nowhere/cel.csv"], "/nowhere/cel.csv cannot be read: No such file or directory"),
        (["sqlite:////nowhere/master.db"], "there is no file /nowhere/master.db"),
        (["junk://x"], "junk: CEL can be read from sqlite, postgresql, mysql, mariadb"),
        (["-", "--zone", "Nowhere/Atall"], "Nowhere/Atall is no time zone"),
        (["-", "--columns", "eventtype,eventtime"], "no column uniqueid, linkedid"),
    ],
)
def test_mistakes_are_told(arguments: list[str], message: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pbxd.cli.main",
        "--socket",
        str(tmp_path / "none"),
        "calls",
        "import",
        "--dry-run",
    ]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=False, env=environment(), input="a,b\n"
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bar_on_a_terminal(pbxd: Running, large: Path) -> None:
    """`script` gives the command a terminal."""
    command = f"{sys.executable} -m pbxd.cli.main --socket {pbxd.folder}/control.sock calls import {large}"
    words = ["script", "-qec", command, "/dev/null"]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, env={**environment(), "TERM": "xterm", "COLUMNS": "120"}
    )
    assert "MB/s" in done.stdout
    assert f"{CALLS:,} calls" in done.stdout
