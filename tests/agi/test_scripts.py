"""A customer's scripts as real processes: what they do wrong stays with them and their own call."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pbxd.agi.script_file import fault
from pbxd.agi.script_process import SPOKEN, Speech
from pbxd.agi.scripts import without_empty_end
from tests.agi.peers import STATUS, environment, serving
from tests.conftest import reachable

FAST = {"time": "1s", "hangup_time": "500ms", "cpu": "1s"}


def put(folder: Path, name: str, text: str, mode: int = 0o755) -> Path:
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport os, signal, sys, time\n{text}")
    path.chmod(mode)
    return path


ECHO = """
env = {}
while (line := sys.stdin.readline().strip()):
    name, _, value = line.partition(": ")
    env[name] = value
for line in ("NOOP " + env["agi_network_script"], "NOOP " + env["agi_arg_1"], "NOOP " + "|".join(sys.argv[1:])):
    print(line, flush=True)
    assert sys.stdin.readline() == "200 result=0\\n"
"""


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_a_script_gets_its_environment_and_its_arguments(tmp_path: Path) -> None:
    put(tmp_path, "echo.agi", ECHO)
    async with serving(folder=tmp_path) as host:
        commands = await host.session("echo.agi?x=1", "one", "two words", "")
        assert commands == ["NOOP echo.agi?x=1", "NOOP one", "NOOP one|two words", STATUS("OK")]


async def test_many_lines_go_through_as_they_are(tmp_path: Path) -> None:
    put(
        tmp_path,
        "usage",
        "while sys.stdin.readline().strip(): pass\n"
        "print('GET DATA', flush=True)\n"
        "lines = [sys.stdin.readline() for _ in range(3)]\n"
        "print('NOOP', repr(''.join(lines)), flush=True)\nsys.stdin.readline()\n",
    )
    async with serving(folder=tmp_path) as host:
        usage = b"520-Invalid\nusage\n520 End of proper usage.\n"
        commands = await host.session("usage", answer=lambda line: usage if line == "GET DATA" else b"200 result=0\n")
        assert commands[1] == f"NOOP {usage.decode()!r}"


async def test_pyst2_after_520_and_the_end_of_its_input_dies_by_its_limits(tmp_path: Path) -> None:
    """It loops there and gathers lines until no memory is left."""
    put(
        tmp_path,
        "pyst",
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "from asterisk.agi import AGI\nAGI().execute('GET DATA')\n",
    )
    async with serving(folder=tmp_path, scripts=FAST) as host:
        peer = await host.peer(environment("pyst"))
        assert await peer.line() == "GET DATA"
        await peer.send(b"520-Invalid\nusage\n")
        peer.close()
        await host.until(lambda: host.server.running == 0)
        assert host.server.scripts.running == 0
        assert not alive(int((tmp_path / "pid").read_text()))
        await host.good()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("while True: pass\n", "TIMEOUT"),
        ("signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass\n", "TIMEOUT"),
        ("time.sleep(100)\n", "TIMEOUT"),
        ("while True: print('NOOP')\n", "TIMEOUT"),
        ("x = bytearray(2**31)\n", "ERROR"),
        ("sys.exit(3)\n", "ERROR"),
        ("os.kill(os.getpid(), 9)\n", "ERROR"),
        ("sys.stdout.write('x' * 100_000)\nsys.stdout.flush()\ntime.sleep(100)\n", "ERROR"),
        ("sys.stderr.write('y' * 10_000_000)\n", "OK"),
        ("os.close(0)\nprint('NOOP', flush=True)\n", "OK"),
        ("if os.fork() == 0: time.sleep(100)\n", "OK"),
    ],
)
async def test_what_a_script_does_wrong_ends_that_script_only(tmp_path: Path, text: str, status: str) -> None:
    put(tmp_path, "bad", text)
    limits = (
        FAST if status == "TIMEOUT" else FAST | {"time": "1min", "cpu": "1min"}
    )  # what is to end by itself gets the time for it
    async with serving(folder=tmp_path, scripts=limits) as host:
        peer = await host.peer(environment("bad"))
        await host.good()
        assert (await peer.play())[-1] == STATUS(status)
        await host.until(lambda: host.server.scripts.running == 0)


async def test_children_of_an_ended_script_are_ended_too(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    put(
        tmp_path,
        "forks",
        f"if os.fork() == 0:\n    open({str(pid)!r}, 'w').write(str(os.getpid()))\n    signal.signal(1, signal.SIG_IGN)\n"
        "time.sleep(100)\n",
    )
    async with serving(folder=tmp_path, scripts=FAST) as host:
        assert await host.session("forks") == [STATUS("TIMEOUT")]
        await host.until(lambda: not alive(int(pid.read_text())))


async def test_one_that_ignores_the_hangup_is_ended(tmp_path: Path) -> None:
    put(tmp_path, "deaf", "signal.signal(signal.SIGHUP, signal.SIG_IGN)\nprint('NOOP', flush=True)\ntime.sleep(100)\n")
    async with serving(folder=tmp_path, scripts=FAST | {"time": "1h"}) as host:
        peer = await host.peer(environment("deaf"))
        assert await peer.line() == "NOOP"
        await peer.send(b"200 result=0\nHANGUP\n")
        assert await peer.line() == STATUS("HANGUP")
        peer.close()


async def test_no_more_than_may_run(tmp_path: Path) -> None:
    put(tmp_path, "waits", "print('NOOP', flush=True)\ntime.sleep(100)\n")
    async with serving(folder=tmp_path, scripts={"at_once": 1}, drain="50ms") as host:
        first = await host.peer(environment("waits"))
        assert await first.line() == "NOOP"
        assert await host.session("waits") == [STATUS("BUSY")]
        await host.good()


async def test_what_is_no_script(tmp_path: Path) -> None:
    folder = tmp_path / "agi.d"
    folder.mkdir()
    put(tmp_path, "outside", "")
    put(folder, "plain", "", 0o644)
    put(folder, "open", "", 0o777)
    (folder / "folder").mkdir()
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "none").write_text("#!/no/such/interpreter\n")
    (folder / "none").chmod(0o755)
    for name, reason in {"plain": "chmod +x", "open": "chmod o-w", "folder": "no file", "link": "out of the folder",
                         "../outside": "letters", "gone": "No such file"}.items():  # fmt: skip
        assert reason in fault(folder, name), name
    async with serving(folder=folder) as host:
        for name in ("plain", "open", "folder", "link", "none"):
            assert await host.session(name) == [STATUS("ERROR")]
        for name in ("../outside", "%2e%2e/outside", ".hidden", "gone", "/etc/passwd", "plain/../plain"):
            assert await host.session(name) == [STATUS("NOROUTE")], name
        listed = {script["name"]: script["fault"] for script in host.server.scripts.listing()}
        assert set(listed) == {"plain", "open", "folder", "link", "none"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_as_another_user_without_anything_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reachable(tmp_path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/secret")
    path = tmp_path / "who"
    path.write_text(
        '#!/bin/sh\necho "NOOP $(id -u) $(id -G) $(ls /proc/self/fd | wc -l) $(env | grep -c CREDENTIALS)"\nread answer\n'
    )
    path.chmod(0o755)
    async with serving(folder=tmp_path, scripts={"user": "nobody"}) as host:
        (said, end) = await host.session("who")
        assert said == f"NOOP {65534} {65534} 4 0"  # 0, 1, 2 and the folder that ls reads
        assert end == STATUS("OK")


def test_what_is_said_is_short_and_has_no_digits() -> None:
    speech = Speech("x")
    text = b"    RESULT_LINE: 200 result=4711\nENV LINE: agi_callerid: 49301234\nTraceback: line 12\nPIN 4711 keyed\n"
    assert speech.hear(text) == ["Traceback: line 12", "PIN **** keyed"]
    assert speech.hear(b"half") == []
    assert speech.hear(b" a line\n" * 2 * SPOKEN)[0] == "half a line"
    assert speech.lines == SPOKEN
    assert speech.dropped > 0
    assert speech.hear(b"z" * 1_000_000) == []


def test_arguments_without_an_empty_end() -> None:
    assert without_empty_end(("a", "", "b", "", "")) == ("a", "", "b")
    assert without_empty_end(("", "")) == ()
