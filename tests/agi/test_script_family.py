"""What a script leaves behind, and what it uses with all that it has started: real processes, in every way to slip away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.asterisk import wait_until
from pbxd.agi.script_keeper import passed
from pbxd.agi.script_request import ScriptRequest, parsed
from pbxd.errors import AGIAppError
from pbxd.family import Usage
from tests.agi.peers import STATUS, environment, serving
from tests.agi.test_scripts import alive, put
from tests.conftest import reachable

WAYS = {
    "background": "if os.fork() == 0:\n    quiet(); stay()\n",
    "with the pipes": "if os.fork() == 0:\n    stay()\n",
    "session of its own": "if os.fork() == 0:\n    os.setsid(); stay()\n",
    "double fork": "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: quiet(); stay()\n    os._exit(0)\nos.wait()\n",
    "deaf": "if os.fork() == 0:\n    [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; os.setsid(); stay()\n",
}
STAY = """
def quiet():
    for n in (0, 1, 2): os.close(n)
def stay():
    open({pid!r}, "w").write(str(os.getpid()))
    os.rename({pid!r}, {pid!r} + ".whole")
    time.sleep(600)
"""
KILLED = """
import os, signal, uvloop
from pathlib import Path
from tests.agi.peers import environment, serving
async def killed():
    async with serving(folder=Path({folder!r})) as host:
        peer = await host.peer(environment("leaves"))
        assert await peer.line() == "NOOP"
        os.kill(os.getpid(), signal.SIGKILL)
uvloop.run(killed())
"""


def leaving(folder: Path, name: str, text: str, then: str = "") -> Path:
    """A script that leaves a process, as soon as that runs; the file that has its id then."""
    pid = folder / f"{name}.pid"
    waits = f"while not os.path.exists({str(pid) + '.whole'!r}): time.sleep(.005)\n"
    put(folder, name, STAY.format(pid=str(pid)) + text + waits + then)
    return Path(f"{pid}.whole")


@pytest.mark.parametrize("how", WAYS)
async def test_nothing_is_left_when_the_session_ends(tmp_path: Path, how: str) -> None:
    left = leaving(tmp_path, "leaves", WAYS[how])
    async with serving(folder=tmp_path) as host:
        assert await host.session("leaves") == [STATUS("OK")]
        assert not alive(int(left.read_text()))


@pytest.mark.parametrize("how", ["session of its own", "double fork"])
async def test_nothing_is_left_when_its_time_is_over(tmp_path: Path, how: str) -> None:
    left = leaving(tmp_path, "leaves", WAYS[how] + "time.sleep(600)\n")
    async with serving(folder=tmp_path, scripts={"time": "1s"}) as host:
        assert await host.session("leaves") == [STATUS("TIMEOUT")]
        await host.until(left.exists)
        assert not alive(int(left.read_text()))


def test_nothing_is_left_when_the_server_is_killed(tmp_path: Path) -> None:
    """And on the loop that the daemon has."""
    left = leaving(tmp_path, "leaves", WAYS["double fork"], "print('NOOP', flush=True)\ntime.sleep(600)\n")
    server = subprocess.run([sys.executable, "-c", KILLED.format(folder=str(tmp_path))], check=False)
    assert server.returncode == -signal.SIGKILL
    wait_until(lambda: not alive(int(left.read_text())), "the script's family to end")


async def test_a_family_whose_keeper_is_killed_is_ended_by_the_host(tmp_path: Path) -> None:
    left = leaving(tmp_path, "kills", WAYS["double fork"], "os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(600)\n")
    async with serving(folder=tmp_path) as host:
        assert await host.session("kills") == [STATUS("ERROR")]
        await host.until(lambda: not alive(int(left.read_text())))
        assert host.server.scripts.running == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_the_limit_of_processes_is_each_familys_own(tmp_path: Path) -> None:
    reachable(tmp_path)
    for name, text in {
        "leaves": "sleep 300 </dev/null >/dev/null 2>&1 &\nexit 0\n",
        "holds": "sleep 300 & sleep 300 &\necho NOOP held\nread a\nread a\n",
        "good": "echo NOOP $(id -u)\nread a\n",
        "many": "for n in 1 2 3 4 5 6 7 8; do sleep 300 & done\nwait\n",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / name).chmod(0o755)
    async with serving(folder=tmp_path, scripts={"user": "games", "processes": 6}, drain="10ms") as host:
        for _ in range(10):
            assert await host.session("leaves") == [STATUS("OK")]
        holders = [await host.peer(environment("holds")) for _ in range(4)]  # twelve processes together
        for peer in holders:
            assert await peer.line() == "NOOP held"
        assert await host.session("many") == [STATUS("ERROR")]
        assert (await host.session("good"))[-1] == STATUS("OK")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_a_script_that_forks_for_ever_is_ended(tmp_path: Path) -> None:
    reachable(tmp_path)
    (tmp_path / "bomb").write_text("#!/bin/sh\nf() { while :; do sleep 600 & f & done; }\nf\n")
    (tmp_path / "bomb").chmod(0o755)
    limits = {"user": "games", "processes": 20, "at_once": 10}
    async with serving(folder=tmp_path, scripts=limits) as host:
        assert await host.session("bomb") == [STATUS("ERROR")]
        assert host.server.scripts.running == 0
        assert subprocess.run(["pgrep", "-u", "games", "bomb"], check=False).returncode == 1


async def test_processor_time_is_counted_for_all_together(tmp_path: Path) -> None:
    """Each of its processes ends before the kernel's own limit ends it."""
    put(
        tmp_path,
        "spends",
        "while True:\n"
        "    if os.fork() == 0:\n"
        "        while time.process_time() < 0.1: pass\n"
        "        os._exit(0)\n"
        "    os.wait()\n",
    )
    async with serving(folder=tmp_path, scripts={"cpu": "400ms"}) as host:
        assert await host.session("spends") == [STATUS("TIMEOUT")]


def test_which_limit_is_passed() -> None:
    request = ScriptRequest("a", (), processes=2, cpu=1.0, memory=1000, at_once=1)
    assert passed(Usage(2, 1.0, 1000), request) == ""
    assert passed(Usage(3, 1.0, 1000), request) == "processes"
    assert passed(Usage(2, 1.1, 1000), request) == "cpu"
    assert passed(Usage(2, 1.0, 1001), request) == "memory"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"x",
        b"{}",
        b"[]",
        b'{"name": "a"}',
        b'{"name":1,"arguments":[],"processes":1,"cpu":1,"memory":1,"at_once":1}',
    ],
)
def test_what_is_no_request(line: bytes) -> None:
    with pytest.raises(AGIAppError):
        parsed(line)


def test_a_request_comes_as_it_went() -> None:
    request = ScriptRequest("ä", ("", "two words", "zoë\n"), processes=2, cpu=1.5, memory=1000, at_once=1)
    assert parsed(request.line()) == request
    with pytest.raises(AGIAppError):
        parsed(ScriptRequest("a", ("\0",), processes=2, cpu=1.5, memory=1000, at_once=1).line())
