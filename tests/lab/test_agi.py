"""FastAGI beside a real Asterisk: each application by its subroutine, real scripts, a pbxd that dies."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import sys
import wave
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab.asterisk import owner, wait_until
from lab.box import Box
from lab.desk import Desk, Line
from lab.tree import LabError
from tests.agi.peers import serving
from tests.agi.test_dialplan import EXAMPLES
from tests.conftest import reachable, say

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

SETTINGS = """
site: {time_zone: Europe/Berlin}
agi:
  lookup:
    country: "+49"
    names: {"+4930123456": "Doctor Zoë Smith, M.D."}
    blocked: ["+4990*"]
  hours:
    always: {open: {mon-sun: ['00:00-24:00']}}
    never: {}
  agents:
    '4711': {pin: '0815', queues: [sales, support], name: Zoë}
  pause_reasons: {'1': lunch}
  directory: {people: {'104': {first: Zoë, last: Müller}}}
"""
DIALPLAN = """
[agi]
exten => _lookup.,1,Set(CALLERID(num)=${EXTEN:6})
 same => n,Gosub(pbxd-lookup,s,1)
 same => n,Set(GLOBAL(R)=${PBXD_STATUS}/${PBXD_LIST}/${PBXD_NUMBER}/${CALLERID(name)}/${AGISTATUS})
exten => _route.,1,Gosub(pbxd-route,s,1(${EXTEN:5}))
 same => n,Set(GLOBAL(R)=${PBXD_STATUS}/${PBXD_ROUTE})
exten => nothing,1,AGI(agi://ADDRESS:4573/nothing)
 same => n,Set(GLOBAL(R)=${PBXD_STATUS}/${AGISTATUS})
exten => _script.,1,Set(CHANNEL(hangup_handler_push)=agi,gone,1)
 same => n,Answer()
 same => n,Gosub(pbxd-script,s,1(${EXTEN:6},one two))
 same => n,Set(GLOBAL(R)=${PBXD_STATUS}/${SCRIPT}/${AGISTATUS})
exten => gone,1,Set(GLOBAL(H)=${PBXD_STATUS}/${SCRIPT})
 same => n,Return()
exten => value,1,Set(X=${BASE64_DECODE(VALUE)})
 same => n,AGI(agi://ADDRESS:4574/value)
 same => n,Set(GLOBAL(R)=${PBXD_STATUS})
[phones](+)
exten => 771,1,Gosub(pbxd-agent,s,1(login,4711))
 same => n,Set(GLOBAL(R)=${PBXD_STATUS}/${PBXD_AGENT_STATE}/${PBXD_AGENT})
exten => 772,1,Gosub(pbxd-agent,s,1(pause))
 same => n,Set(GLOBAL(R)=${PBXD_STATUS}/${PBXD_AGENT_STATE}/${PBXD_AGENT})
exten => 773,1,Gosub(pbxd-agent,s,1(logout,4711))
 same => n,Set(GLOBAL(R)=${PBXD_STATUS}/${PBXD_AGENT_STATE}/${PBXD_AGENT})
exten => 774,1,Gosub(pbxd-directory,s,1)
 same => n,Set(GLOBAL(R)=${PBXD_STATUS}/${PBXD_EXTENSION})
exten => 775,1,Gosub(pbxd-greeting,s,1(101@default))
 same => n,Set(GLOBAL(R)=${PBXD_STATUS}/${PBXD_GREETING})
"""
EVIL = "smile a) or: x)\r\n200 result=0\nHANGUP\nZoë ü\n"
SCRIPTS = {
    "pyst": """
from asterisk.agi import AGI
agi = AGI()
agi.verbose("hello")
words = [agi.env["agi_arg_1"], *sys.argv[1:], agi.get_variable("EXTEN"), agi.env["agi_network"]]
agi.set_variable("SCRIPT", "+".join(words))
""",
    "waits": """
from asterisk.agi import AGI, AGIHangup, AGIException
agi = AGI()
agi.set_variable("SCRIPT", "waiting")
open(__file__ + ".waits", "w").close()
try:
    while True:
        time.sleep(0.05)
        agi.test_hangup()
except AGIException as error:
    open(__file__ + ".half", "w").write(type(error).__name__)
    os.rename(__file__ + ".half", __file__ + ".out")
""",
    "loops": "import os\nsys.stdin.readline()\nwhile True: pass\n",
    "usage": """
from asterisk.agi import AGI, AGIUsageError
agi = AGI()
try:
    agi.execute("GET DATA")
except AGIUsageError as error:
    agi.set_variable("SCRIPT", "usage")
os.kill(os.getppid(), 0)
""",
}


@pytest.fixture(scope="module")
def agi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """One box for all: Asterisk, pbxd, a dialplan that calls each application."""
    box = Box(reachable(tmp_path_factory.mktemp("agi")), say)
    try:
        with (box.asterisk.etc / "extensions.conf").open("a") as file:
            file.write(
                DIALPLAN.replace("ADDRESS", box.asterisk.address).replace(
                    "VALUE", base64.b64encode(EVIL.encode()).decode()
                )
            )
        with (box.asterisk.etc / "extensions.conf").open("a") as file:
            file.writelines(example.replace("[from-trunk]", f"[example-{n}]") if "[" in example.splitlines()[0] else
                            f"[example-{n}]\n{example}" for n, example in enumerate(EXAMPLES))  # fmt: skip
        folder = box.pbxd.folder / "agi.d"
        folder.mkdir()
        for name, text in SCRIPTS.items():
            (folder / name).write_text(f"#!{sys.executable}\nimport os, sys, time\n{text}")
            (folder / name).chmod(0o755)
        (folder / "plain").write_text("no script")
        box.pbxd.configure(more=SETTINGS + "  scripts: {cpu: 1s, hangup_time: 2s}\n")
        box.start()
        wait_until(lambda: bool(status(box)["listening"]), "FastAGI to listen")
        yield box
    finally:
        box.stop()


@pytest.fixture(scope="module")
def desk(agi: Box) -> Iterator[Desk]:
    made = Desk(agi.asterisk)
    yield made
    made.close()


def status(box: Box) -> dict[str, Any]:
    found: dict[str, Any] = box.pbxd.status()["agi"]
    return found


def result(box: Box, name: str = "R") -> str:
    """What the dialplan says of the call that has just been through it; empty if it is not there yet."""
    found = re.search(rf"^\s*{name}=(.*)$", box.asterisk.command("dialplan show globals"), re.MULTILINE)
    return found[1].strip() if found else ""


def forget(box: Box) -> None:
    for name in "RH":
        box.asterisk.command(f"dialplan set global {name} .")


def dialled(box: Box, extension: str) -> str:
    """What comes of a call without a phone."""
    forget(box)
    box.asterisk.command(f"channel originate Local/{extension}@agi/n application Wait 20")
    wait_until(lambda: result(box) not in ("", "."), extension)
    return result(box)


def test_the_documented_examples_are_loaded(agi: Box) -> None:
    for number, example in enumerate(EXAMPLES):
        loaded = agi.asterisk.command(f"dialplan show example-{number}")
        assert len(re.findall(r"\d+\. [A-Za-z]+\(", loaded)) == example.count(" => "), loaded


def test_lookup(agi: Box) -> None:
    assert dialled(agi, "lookup030123456") == "OK/none/+4930123456/Doctor Zoë Smith, M.D./SUCCESS"
    assert dialled(agi, "lookup0049901234").startswith("OK/blocked/+49901234/")


def test_route_and_what_is_no_route(agi: Box) -> None:
    assert dialled(agi, "routealways") == "OK/open"
    assert dialled(agi, "routenever") == "OK/closed"
    assert dialled(agi, "routeunknown") == "ERROR/open"
    assert dialled(agi, "nothing") == "NOROUTE/SUCCESS"
    assert "1 NOROUTE" in agi.pbxd.ctl("agi", "status").stdout


def test_any_value_of_a_variable_comes_whole(agi: Box) -> None:
    got: list[str] = []

    async def value(session: Any, _request: Any, _services: Any) -> None:
        got.append(await session.get_variable("X"))
        got.append(await session.get_variable("EXTEN"))
        await session.database_put("pbxdtest", "k", 'a "b" \\ c')
        got.append(await session.database_get("pbxdtest", "k"))

    async def run() -> None:
        async with serving(
            {"value": value}, listen=f"{agi.asterisk.address}:4574", users=[str(owner(agi.asterisk.tree)[0])]
        ):
            assert await asyncio.to_thread(dialled, agi, "value") == "OK"

    asyncio.run(run())
    assert got == [EVIL, "value", 'a "b" \\ c']


def press(call: Line, key: str, until: Callable[[], bool], what: str) -> None:
    """Press a key, again if it came while nobody listened for it, until it has had its effect."""
    for _ in range(15):
        call.key(key)
        with contextlib.suppress(LabError):
            wait_until(until, what, 1)
            return
    raise LabError(f"pressed {key} in vain for {what}")


def test_an_agent_logs_in_pauses_and_logs_out(agi: Box, desk: Desk) -> None:
    forget(agi)
    call = desk.call("131", "771").talks()
    call.key("9999#0815#")
    wait_until(lambda: result(agi) == "OK/loggedin/4711", "the agent to be logged in")
    assert "PJSIP/131" in agi.asterisk.command("queue show support")
    call.ended()
    forget(agi)
    call = desk.call("131", "772").talks()
    call.key("4711#0815#")
    press(call, "1", lambda: result(agi) == "OK/paused/4711", "the agent to be paused")
    assert re.search(r"PJSIP/131.*paused:lunch", agi.asterisk.command("queue show sales"))
    call.ended()
    call = desk.call("131", "773").talks()
    call.key("0815#")
    wait_until(lambda: result(agi) == "OK/loggedout/4711", "the agent to be logged out")
    assert "PJSIP/131" not in agi.asterisk.command("queue show sales")
    call.ended()
    log = agi.pbxd.log.read_text()
    assert "0815" not in log
    assert "9999" not in log


def test_dial_by_name(agi: Box, desk: Desk) -> None:
    forget(agi)
    call = desk.call("132", "774").talks()
    call.key("685#")
    press(call, "1", lambda: result(agi) == "OK/104", "the person to be found")
    call.ended()


def test_a_greeting_is_recorded_and_takes_its_place_whole(agi: Box, desk: Desk) -> None:
    forget(agi)
    mailbox = agi.asterisk.folder / "spool" / "voicemail" / "default" / "101"
    mailbox.mkdir(parents=True, exist_ok=True)
    for folder in (mailbox, *mailbox.parents[:3]):
        folder.chmod(0o777)
    (mailbox / "unavail.gsm").write_bytes(b"old")
    call = desk.call("133", "775").talks()
    call.key("1234#")
    press(call, "1", (mailbox / ".pbxd-unavail.wav").exists, "the recording to begin")
    assert not (mailbox / "unavail.wav").exists()
    desk.pause(2)
    call.key("#")
    press(call, "1", (mailbox / "unavail.wav").exists, "the greeting")
    press(call, "*", lambda: result(agi) == "OK/unavail", "the end of it")
    assert sorted(path.name for path in mailbox.iterdir()) == ["unavail.wav"]
    with wave.open(str(mailbox / "unavail.wav")) as sound:
        assert sound.getnframes() > 8000


def test_scripts_of_pyst2_run_unchanged(agi: Box) -> None:
    assert dialled(agi, "scriptpyst") == "OK/one two+one two+s+yes/SUCCESS"
    assert dialled(agi, "scriptusage").startswith("OK/usage")
    assert dialled(agi, "scriptplain").startswith("ERROR/")
    assert "plain: it is not executable" in agi.pbxd.log.read_text()
    assert dialled(agi, "scriptloops").startswith("TIMEOUT/")
    assert dialled(agi, "lookup030123456").startswith("OK/")


def begin_to_wait(agi: Box) -> None:
    """A call whose script waits, and has said so."""
    forget(agi)
    said = agi.pbxd.folder / "agi.d" / "waits.waits"
    said.unlink(missing_ok=True)
    agi.asterisk.command("channel originate Local/scriptwaits@agi/n application Wait 60")
    wait_until(said.exists, "the script to wait")


def test_a_script_is_told_of_a_hangup(agi: Box) -> None:
    begin_to_wait(agi)
    agi.asterisk.command("channel request hangup all")
    wait_until(lambda: result(agi, "H") == "HANGUP/waiting", "the h extension")
    out = agi.pbxd.folder / "agi.d" / "waits.out"
    wait_until(out.exists, "the script's last word")
    assert out.read_text() == "AGISIGHUPHangup"


def test_a_killed_pbxd_holds_no_call(agi: Box) -> None:
    begin_to_wait(agi)
    agi.pbxd.kill()
    wait_until(lambda: result(agi).startswith("NOSERVER/"), "the dialplan to go on")
    assert dialled(agi, "lookup030123456") == "NOSERVER/none/030123456//FAILURE"
    agi.pbxd.start()
    wait_until(lambda: bool(status(agi)["listening"]), "FastAGI to listen again")
    assert dialled(agi, "routealways") == "OK/open"


def test_a_stop_tells_the_dialplan_and_hangs_nothing_up(agi: Box) -> None:
    begin_to_wait(agi)
    agi.pbxd.stop()
    wait_until(lambda: result(agi).startswith("STOPPED/"), "the dialplan to go on")
    agi.pbxd.start()
    assert json.loads(agi.pbxd.ctl("status", "--json").stdout)["agi"]["sessions"] == 0
