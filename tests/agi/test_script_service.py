"""Scripts by the service, as systemd starts it: a host that is another user than pbxd, and has no rights to become one."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbxd.agi.script_hosting import Way, way
from pbxd.config.agi import Scripts
from tests.agi.peers import STATUS, serving
from tests.conftest import reachable

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
SCRIPTS, PBXD, STRANGER = (pwd.getpwnam(name) for name in ("nobody", "games", "daemon"))
AS_USER = """
import os, sys, socket
sys.path.insert(0, {project!r})
import encodings.idna, locale, shutil, pbxd.agi.script_host
os.setgroups([]); os.setgid({user.pw_gid}); os.setuid({user.pw_uid})
"""
HOST = "sys.argv[1:] = {words!r}\npbxd.agi.script_host.main()\n"
ASK = """
made = socket.socket(socket.AF_UNIX)
try:
    made.connect({path!r})
    print(made.recv(10) if {wait} else "connected")
except OSError as error:
    print(error.strerror)
"""
WHO = """#!/bin/sh
cat {key} >/dev/null 2>&1 && secret=read || secret=refused
echo NOOP $(id -un) $secret $(grep -c CREDENTIALS /proc/self/environ) $1
read answer
"""


def run_as(user: pwd.struct_passwd, code: str, **options: object) -> subprocess.Popen[str]:
    text = AS_USER.format(project=str(Path(__file__).parents[2]), user=user) + code
    return subprocess.Popen([sys.executable, "-c", text], text=True, **options)  # type: ignore[call-overload, no-any-return]


def asked_by(user: pwd.struct_passwd, path: Path, *, wait: bool) -> str:
    """What comes of a connection of that user."""
    process = run_as(user, ASK.format(path=str(path), wait=wait), stdout=subprocess.PIPE)
    return str(process.communicate()[0].strip())


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Path]:
    """The service's socket: pbxd's alone, as pbxd-scripts.socket makes it."""
    reachable(tmp_path)
    (tmp_path / "key").write_text("AGE-SECRET-KEY-1X")
    (tmp_path / "key").chmod(0o600)
    os.chown(tmp_path / "key", PBXD.pw_uid, PBXD.pw_gid)
    (tmp_path / "agi.d").mkdir(mode=0o755)
    (tmp_path / "agi.d" / "who").write_text(WHO.format(key=tmp_path / "key"))
    (tmp_path / "agi.d" / "who").chmod(0o755)
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        os.chown(path, PBXD.pw_uid, 0)
        path.chmod(0o600)
        listening.listen()
        number = listening.fileno()
        words = ["--folder", str(tmp_path / "agi.d"), "--fd", str(number), "--for", PBXD.pw_name]
        host = run_as(SCRIPTS, HOST.format(words=words), pass_fds=[number], env={"CREDENTIALS_DIRECTORY": "/secret"})
    yield path
    host.terminate()
    assert host.wait() == 0


async def test_a_script_is_another_user_and_reads_nothing_of_ours(service: Path, tmp_path: Path) -> None:
    async with serving(folder=tmp_path / "agi.d", scripts={"service": str(service)}) as host:
        assert await host.session("who", "one two") == ["NOOP nobody refused 0 one two", STATUS("OK")]
        assert host.server.status()["scripts"] == {"way": "service", "user": "", "files": 1, "running": 0}


async def test_only_pbxd_may_ask(service: Path, tmp_path: Path) -> None:
    assert asked_by(PBXD, service, wait=False) == "connected"
    assert asked_by(STRANGER, service, wait=False) == "Permission denied"
    service.chmod(0o666)
    assert asked_by(STRANGER, service, wait=True) == "b''"  # it is cut off
    async with serving(folder=tmp_path / "agi.d", scripts={"service": str(service)}) as host:
        assert (await host.session("who"))[-1] == STATUS("OK")


async def test_without_a_service_no_script_runs_as_pbxd(tmp_path: Path) -> None:
    (tmp_path / "who").write_text("#!/bin/sh\necho NOOP\n")
    (tmp_path / "who").chmod(0o755)
    async with serving(folder=tmp_path, scripts={"service": str(tmp_path / "none")}) as host:
        assert await host.session("who") == [STATUS("ERROR")]
        await host.good()
    assert way(Scripts(own_user=True)) is Way.OWN_USER
    assert way(Scripts(service=None)) is Way.NONE
