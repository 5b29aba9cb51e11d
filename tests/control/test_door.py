"""A running pbxd, asked by users of this machine with each role: who is let in, and what of it is put down."""

from __future__ import annotations

import json
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.asterisk import wait_until
from lab.tree import environment
from pbxd.control.roles import RULES
from tests.conftest import reachable
from tests.running import Running
from tests.test_recordings import by

LOGINS = {"user": "nobody", "supervisor": "sys", "admin": "bin", "auditor": "daemon", "nobody": "games"}
PEOPLE = """
people:
  - {name: anna, login: nobody, extensions: ['101']}
  - {name: sue, login: sys, role: supervisor, teams: [sales], supervises: [sales]}
  - {name: ada, login: bin, role: admin}
  - {name: otto, login: daemon, role: auditor}
"""
ASKER = """
import grp, http.client, json, os, pwd, socket, sys
user, path, routes = sys.argv[1:]
os.setgroups([]); os.setgid(grp.getgrnam("games").gr_gid); os.setuid(pwd.getpwnam(user).pw_uid)
found = []
for method, route in json.loads(routes):
    link = http.client.HTTPConnection("pbxd")
    link.sock = socket.socket(socket.AF_UNIX)
    link.sock.connect(path)
    link.request(method, route, headers={"Connection": "close"})
    found.append(link.getresponse().status)
print(json.dumps(found))
"""
COMMAND = """
import contextlib, decimal, grp, io, os, pwd, sys
from pbxd.cli.main import main
for words in (["status"], ["uplink", "status"]):  # all that is loaded is loaded as root: others may not be able to read it
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())), contextlib.suppress(SystemExit):
        main([*sys.argv[1:3], *words])
os.setgroups([]); os.setgid(grp.getgrnam("games").gr_gid); os.setuid(pwd.getpwnam("games").pw_uid)
main()
"""
ENDLESS = {"GET /v1/calls/watch"}


def configured(folder: Path) -> Running:
    """A box whose control socket is for the group games, to which all belong here."""
    reachable(folder)
    running = Running(folder)
    socket = f"control: {{socket: {folder}/control.sock"
    text = running.config.read_text().replace(socket, socket + ", group: games") + PEOPLE
    uplink = f"outbox: {folder}/outbox, state: {folder}/link, key_file: {folder}/keys/ledger.key"
    running.config.write_text(
        text + f"uplink: {{{uplink}, support: {folder}/support, accepted: {folder}/accepted.yaml}}\n"
    )
    return running


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Without a store of communications."""
    box = configured(tmp_path_factory.mktemp("plain"))
    box.start()
    yield box
    box.kill()


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[Running]:
    """With one."""
    box, folder = configured(tmp_path), tmp_path
    with box.config.open("a") as file:
        file.write(f"chat: {{enabled: true}}\ncomms: {{folder: {folder}/comms, key_file: {folder}/keys/comms.key}}\n")
    box.start()
    wait_until(lambda: box.ask("/v1/status")["comms"]["open"], "the store to be open")
    yield box
    box.kill()


def statuses(login: str, running: Running, routes: list[str]) -> list[int]:
    """What a user of this machine is answered to each: one process that becomes that user, and asks."""
    asked = [re.sub(r"{[^}]*}", "0", route).split() for route in routes]
    command = [
        sys.executable,
        "-c",
        ASKER,
        pwd.getpwnam(login).pw_name,
        str(running.folder / "control.sock"),
        json.dumps(asked),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


def test_P10_each_route_is_for_the_roles_of_the_table(plain: Running) -> None:
    """What a route says of a thing that is not there is not looked at: only whether the door lets it in."""
    for role, login in LOGINS.items():
        names = [name for name, rule in RULES.items() if role not in rule.roles or name not in ENDLESS]
        for name, status in zip(names, statuses(login, plain, names), strict=True):
            assert (status == 403) == (role not in RULES[name].roles), (name, role, status)
            assert status in (200, 400, 403, 404), (name, role)
    assert by("nobody", plain, "POST", "/v1/nothing")[0] == 404
    assert by("nobody", plain, "POST", "/v1/status")[0] == 405
    refused = [json.loads(line) for line in (plain.folder / "log.json").read_text().splitlines() if '"refused"' in line]
    assert {"who": "anna", "action": "open", "kind": "support"}.items() <= next(
        line for line in refused if line["kind"] == "support" and line["action"] == "open"
    ).items()


def test_everybody_is_told_that_it_works_and_nothing_of_people(plain: Running) -> None:
    whole = json.loads(by("bin", plain, "GET", "/v1/status")[1])
    assert "recording" in whole
    for login in ("nobody", "sys", "games"):
        told = json.loads(by(login, plain, "GET", "/v1/status")[1])
        assert set(told) == {"version", "site", "time_zone", "state", "uptime", "short", "ami", "live"}
        assert not set(told["live"]) - {"calls"}
        findings = json.loads(by(login, plain, "GET", "/v1/doctor")[1])["findings"]
        assert {one["detail"] for one in findings} == {"details are for the roles admin and auditor"}
    assert json.loads(by("sys", plain, "GET", "/v1/live")[1]) == {"calls": [], "queues": [], "endpoints": {}}


def test_what_was_done_and_refused_is_in_the_audit_log(keeping: Running) -> None:
    for login, route in (
        ("nobody", "/v1/support?scope=shell&reason=request&seconds=600"), ("daemon", "/v1/uplink/off"),
        ("games", "/v1/stats/purge"), ("bin", "/v1/uplink/off"), ("bin", "/v1/uplink/on"), ("bin", "/v1/stats/purge?dry_run=1"),
        ("bin", "/v1/support/0123456789abcdef/end"),
    ):  # fmt: skip
        by(login, keeping, "POST", route)
    keeping.ask("/v1/status")  # reading is not in it
    rows = [json.loads(line) for line in keeping.ctl("audit", "list", "--json").stdout.splitlines()]
    assert [(row["who"], row["role"], row["action"], row["kind"], row["subject"], row["allowed"]) for row in rows][
        :7
    ] == [
        ("anna", "user", "open", "support", "", False),
        ("otto", "auditor", "off", "uplink", "", False),
        ("games", "nobody", "purge", "statistics", "", False),
        ("ada", "admin", "off", "uplink", "", True),
        ("ada", "admin", "on", "uplink", "", True),
        ("ada", "admin", "purge", "statistics", "", True),
        ("ada", "admin", "end", "support", "0123456789abcdef", True),
    ]
    assert rows[0]["detail"]["scope"] == "shell"
    assert keeping.ctl("audit", "verify").returncode == 0
    asked = keeping.folder / "outbox" / "off"
    assert not asked.exists()


def test_without_its_audit_log_only_what_takes_away_is_done(keeping: Running) -> None:
    """The key of the store is gone: an admin cannot let the vendor in, and can always shut it out; root is never kept out."""
    keeping.kill()
    (keeping.folder / "keys" / "comms.key").unlink()
    keeping.start()
    status, body = by("bin", keeping, "POST", "/v1/uplink/on")
    assert (status, b"not open" in body) == (400, True)
    assert by("bin", keeping, "POST", "/v1/uplink/off")[0] == 200
    assert (keeping.folder / "outbox" / "off").exists()
    assert keeping.ctl("uplink", "on").returncode == 0
    assert not (keeping.folder / "outbox" / "off").exists()
    assert "not in the audit log" in (keeping.folder / "log.json").read_text()
    assert by("nobody", keeping, "POST", "/v1/uplink/on")[0] == 403


def test_the_command_says_why_it_is_refused(plain: Running) -> None:
    """Whoever is refused is told which role it takes, and not that the socket is closed to them."""
    socket = str(plain.folder / "control.sock")
    command = [sys.executable, "-c", COMMAND, "--socket", socket, "uplink", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert (done.returncode, done.stderr) == (
        1, "pbxctl: games may not use uplink (off): that is for the role admin; `people` names nobody with the login games\n"
    )  # fmt: skip
    told = subprocess.run([*command[:-2], "status"], capture_output=True, text=True, check=True, env=environment())
    assert [line.split()[0] for line in told.stdout.splitlines()] == ["pbxd", "ami", "live"]
