"""The installed link, and what pretends not to be one, are found; each clause about them with what breaks it."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.asterisk import wait_until
from lab.tree import environment
from pbxd import __version__
from pbxd.policy import clauses, processes
from pbxd.policy.facts import Evidence
from pbxd.uplink.enrolment import LinkSettings
from pbxd.uplink.link_status import link_status
from pbxd.uplink.outbox import SUPPORT
from pbxd.uplink.results import FILE
from pbxd.uplink.support.family import MARK
from tests.uplink.boxes import USER, BoxEnd
from tests.uplink.support.rig import Rig, halls, read_until, say

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can see what other users' processes hold")
ROOT = Path(__file__).parents[2]
INSTALL = """
import sys
from pip._vendor.distlib.scripts import ScriptMaker
maker = ScriptMaker(None, sys.argv[1])
maker.variants = {""}
print(*maker.make(sys.argv[2]))
"""
# Not a link, but in its place: arguments are what it holds, then whatever the test calls it with.
PRETENDER = """
import fcntl, os, socket, sys
held = []
for word in sys.argv[1].split("+"):
    if word == "udp":
        held.append(socket.socket(type=socket.SOCK_DGRAM)); held[-1].bind(("127.0.0.1", 0))
    elif word == "listen":
        held.append(socket.create_server(("127.0.0.1", 0)))
    elif word.startswith("/"):
        held.append(open(word, "a")); fcntl.flock(held[-1], fcntl.LOCK_EX)
    elif word.startswith("uid="):
        os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(int(word[4:]), int(word[4:]), 0)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def end() -> Iterator[BoxEnd]:
    """A box's end whose hub is not there, in a folder that every user can get to."""
    with tempfile.TemporaryDirectory(prefix="pbxd-policy-") as folder:
        Path(folder).chmod(0o755)
        made = BoxEnd(Path(folder))
        made.tell(
            LinkSettings("127.0.0.1:9", ("ssh-ed25519 " + "A" * 68,), 20.0, 3, 1.0, 1.0, None, "", __version__, "")
        )
        made.on()
        yield made
        made.close()


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The command `pbxd-link` as pip installs it."""
    target = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["pbxd-link"]
    made = subprocess.run(
        [sys.executable, "-c", INSTALL, str(tmp_path), f"pbxd-link = {target}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(made.stdout.strip())


@contextlib.contextmanager
def started(end: BoxEnd, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A link by this command, which holds its lock."""
    with (end.folder / "link.json").open("ab") as log:
        process = subprocess.Popen(command, stderr=log, env=environment())
    try:
        end.wait(lambda: link_status(end.state)["state"] not in ("none", "starting"), "the link to run")
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def pretending(held: str, *arguments: str, env: dict[str, str] | None = None) -> Iterator[int]:
    """A program that is none of ours, with these arguments, which holds something."""
    with subprocess.Popen(
        [sys.executable, "-c", PRETENDER, held, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment() | (env or {}),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process.pid
        finally:
            process.kill()


def found(end: BoxEnd) -> list[int]:
    return [one.pid for one in processes.links(end.outbox, end.state, 0, end.state / FILE)]


def verdict(good: Evidence, end: BoxEnd, clause: str, *, off: bool = False) -> tuple[str, str]:
    """How a clause stands with the links that there are, and what is told."""
    links = tuple(processes.links(end.outbox, end.state, 0, end.state / FILE))
    locked = link_status(end.state)["state"] != "none"
    seen = replace(good, links=links, locked=locked, switched_off=off)
    (one,) = [one for one in clauses.judged(seen) if one.clause == clause]
    return one.state, "\n".join(one.evidence)


def test_the_installed_link_is_found_and_judged(good: Evidence, end: BoxEnd, installed: Path) -> None:
    assert found(end) == []
    with started(end, str(installed), str(end.outbox), str(end.state), USER) as link:
        assert found(end) == [link.pid]
        for clause in ("P3", "P6", "P7", "P8"):
            assert verdict(good, end, clause)[0] == "kept", verdict(good, end, clause)
        assert str(link.pid) in verdict(good, end, "P6")[1]
        assert str(link.pid) in verdict(good, end, "P7")[1]
        (one,) = processes.links(end.outbox, end.state, 0, end.state / FILE)
        assert (one.uid, one.powers) == (pwd.getpwnam(USER).pw_uid, ())
        link.send_signal(signal.SIGSTOP)  # it cannot obey
        end.off()
        assert verdict(good, end, "P8", off=True)[0] == "broken"
        link.send_signal(signal.SIGCONT)
        link.wait()
    assert verdict(good, end, "P8", off=True)[0] == "kept"


def test_a_link_under_another_name_and_with_other_arguments_is_found_by_its_lock(
    good: Evidence, end: BoxEnd, installed: Path
) -> None:
    other = installed.rename(installed.with_name("backup-helper"))
    (end.folder / "o").symlink_to(end.outbox)
    (end.folder / "s").symlink_to(end.state)
    with started(end, str(other), str(end.folder / "o"), str(end.folder / "s"), USER) as link:
        assert found(end) == [link.pid]
        assert verdict(good, end, "P8", off=True)[0] == "broken"


def test_who_only_starts_the_link_is_none(end: BoxEnd, installed: Path) -> None:
    command = (str(installed), str(end.outbox), str(end.state))
    line = f"{' '.join(command)} {USER}; true"
    with started(end, "sh", "-c", line, *command) as shell:
        (link,) = found(end)
        assert link != shell.pid
        os.kill(link, signal.SIGKILL)


def test_what_is_in_the_links_place_breaks_the_clauses(good: Evidence, end: BoxEnd) -> None:
    arguments = (str(end.outbox), str(end.state))
    with pretending("udp", *arguments) as pid:
        assert found(end) == [pid]
        assert verdict(good, end, "P6")[0] == "broken"
        assert verdict(good, end, "P8", off=True)[0] == "broken"
        assert "as root" in verdict(good, end, "P3")[1]
    with pretending(
        "listen", "elsewhere", str(end.outbox)
    ) as pid:  # with a socket of the network: not named, but suspect
        assert found(end) == [pid]
        assert verdict(good, end, "P7")[0] == "broken"
    with pretending("uid=65534", *arguments):  # with a way back to root
        state, told = verdict(good, end, "P3")
        assert (state, "the id of root" in told) == ("broken", True)
    with pretending(str(end.state / FILE)) as pid:  # by nothing but the lock
        assert found(end) == [pid]
    with pretending("nothing", str(end.outbox)):  # somebody who looks into the folder
        assert found(end) == []


def test_a_link_that_cannot_be_seen_is_told_of(good: Evidence) -> None:
    """Its lock is seen, its process is not: another container."""
    for clause, off, wanted in (
        ("P3", False, "warning"),
        ("P6", False, "warning"),
        ("P7", False, "warning"),
        ("P8", True, "broken"),
    ):
        (one,) = [
            one
            for one in clauses.judged(replace(good, links=(), locked=True, switched_off=off))
            if one.clause == clause
        ]
        assert one.state == wanted
        assert clauses.HIDDEN in one.evidence[0]


def test_processes_of_support_are_found_whatever_they_are_called(rig: Rig) -> None:
    core = rig.pbxd.process
    assert core is not None

    def sessions(*tickets: str) -> list[int]:
        return [one.pid for one in processes.sessions(core.pid, rig.outbox / SUPPORT, tickets)]

    with rig.ticket() as ticket:
        assert sessions(ticket) == halls()
        assert len(processes.sessions(0, rig.outbox / SUPPORT, ())) == 1  # by the socket alone
    with rig.ticket("shell") as ticket, rig.shell(ticket) as person:
        read_until(person, b"COMMUNICATIONS")
        say(person, "env -i sleep 86399 & sleep 86399")
        wait_until(lambda: len({*sessions()} - {*halls()}) >= 3, "the shell and what it started")
    wait_until(lambda: not sessions(ticket), "no process of support")
    with pretending("nothing", env={MARK: ticket}) as pid:  # it was left by a session
        assert sessions(ticket) == [pid]
        said = {one["clause"]: one["state"] for one in json.loads(rig.pbxd.ctl("policy", "verify", "--json").stdout)}
        assert said["P4"] == "broken"
