"""Whose recordings people may pause by the API: those of the calls that their own phones are in."""

from __future__ import annotations

import json
import pwd
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware

from pbxd.comms.people import Directory
from pbxd.config.people import PersonEntry
from pbxd.control import recorder
from pbxd.control.api import refuse
from pbxd.control.door import Door
from pbxd.errors import PbxdError
from tests.recording.test_monitor import Peer, come_up, monitor

PEOPLE = Directory(
    [
        PersonEntry(name="anna", login="nobody", extensions=("101",)),
        PersonEntry(name="carl", login="daemon", extensions=("103",)),
        PersonEntry(name="sue", login="sys", role="supervisor", supervises=("sales",)),
        PersonEntry(name="bert", extensions=("102",), teams=("sales",)),
        PersonEntry(name="ada", login="bin", role="admin"),
    ]
)


class Api:
    """The recorder's routes behind the door, with a call between 101 and 102."""

    def __init__(self, folder: Path) -> None:
        self.monitor, self.live = monitor(folder / "spool", Peer({}))
        routes = recorder.routes(SimpleNamespace(monitor=self.monitor, people=PEOPLE))
        door = Middleware(Door, routes=routes, people=lambda: PEOPLE, audit=lambda: None)
        self.app = Starlette(routes=routes, middleware=[door], exception_handlers={PbxdError: refuse})

    async def ask(self, login: str, method: str, path: str) -> tuple[int, Any]:
        """As the server asks it: the peer's user id is its host."""
        said: list[Any] = []
        uid = 65_534 if login == "nobody" else pwd.getpwnam(login).pw_uid
        scope: dict[str, Any] = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [],
            "client": (str(uid), 0), "server": None, "scheme": "http", "http_version": "1.1", "root_path": "",
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            said.append(message)

        await self.app(scope, receive, send)
        return said[0]["status"], json.loads(b"".join(part.get("body", b"") for part in said[1:]))


@pytest.fixture
async def api(tmp_path: Path) -> Api:
    made = Api(tmp_path)
    come_up(made.live)
    await made.monitor.connected()
    assert list(made.monitor.recorder.recordings) == ["1.1"]
    return made


async def test_P13_people_pause_their_own_calls(api: Api) -> None:
    recording = api.monitor.recorder.recordings["1.1"]
    for login in ("nobody", "bin", "root"):
        assert (await api.ask(login, "POST", "/v1/recorder/1.2/pause"))[0] == 200
        assert recording.paused
        assert (await api.ask(login, "POST", "/v1/recorder/1.1/resume"))[0] == 200
        assert not recording.paused


async def test_nobody_pauses_or_stops_the_calls_of_others(api: Api) -> None:
    recording = api.monitor.recorder.recordings["1.1"]
    for login in ("daemon", "sys", "games"):
        for what in recorder.WHAT:
            status, said = await api.ask(login, "POST", f"/v1/recorder/1.1/{what}")
            assert (status, "may not" in said["error"]) == (400, True), (login, what)
    status, said = await api.ask("nobody", "POST", "/v1/recorder/1.1/stop")
    assert (status, "not even of one's own" in said["error"]) == (400, True)
    assert (recording.paused, recording.unwanted) == (False, False)
    assert (await api.ask("nobody", "POST", "/v1/recorder/9.9/pause"))[1]["error"].endswith("it is not theirs")
    assert "is being recorded" in (await api.ask("root", "POST", "/v1/recorder/9.9/pause"))[1]["error"]
    assert (await api.ask("bin", "POST", "/v1/recorder/1.1/stop"))[0] == 200
    assert recording.unwanted


async def test_people_see_their_own_and_their_teams(api: Api) -> None:
    seen = {
        login: len((await api.ask(login, "GET", "/v1/recorder"))[1]["recordings"])
        for login in ("nobody", "daemon", "sys", "games", "bin", "root")
    }
    assert seen == {"nobody": 1, "daemon": 0, "sys": 1, "games": 0, "bin": 1, "root": 1}


async def test_who_has_left_the_call_pauses_it_no_more(api: Api) -> None:
    live = api.live.channels["1.1"]
    live.name, live.number = "PJSIP/103-00000003", "103"  # transferred: the phone of carl has the channel's place
    api.monitor.handlers()["Newstate"](SimpleNamespace(event="Newstate", get=lambda *_: "1.1"))
    assert (await api.ask("nobody", "POST", "/v1/recorder/1.1/pause"))[0] == 400
    assert (await api.ask("daemon", "POST", "/v1/recorder/1.1/pause"))[0] == 200
