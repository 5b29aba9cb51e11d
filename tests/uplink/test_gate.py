"""The one door: what may pass it, and that nothing else does."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from pbxd.calls.site import Site
from pbxd.config.schema import Config, keys
from pbxd.errors import GateRefused
from pbxd.stats import histogram
from pbxd.stats.layout import CALLS, QUALITY, QUEUES, SLOT, Layout, Row
from pbxd.stats.outgoing import Quarter, next_quarter, quarter
from pbxd.stats.queries import Queries
from pbxd.stats.question import ReportSettings
from pbxd.stats.rollup import roll_up
from pbxd.stats.writer import Batch, Writer
from pbxd.uplink import bodies, gate
from pbxd.uplink.bodies import Entry, body_of, check_body
from tests.stats import synthetic

OWN = Site(extensions=["1XX"]).is_extension
FIRST = 1_795_000_000_000_000 // SLOT * SLOT  # microseconds; any moment
SETTINGS = ReportSettings(site="north", service_levels={"sales": 30.0})


def calls_row(kind: int, key: str, calls: int = 1) -> Row:
    """A row of rollup_calls."""
    return (kind, key, calls, *[0] * (len(CALLS.sums) - 1), 0, 0, histogram.pack({3: calls}))


def queue_row(kind: int, key: str) -> Row:
    """A row of rollup_queues."""
    return (kind, key, 1, *[0] * (len(QUEUES.sums) - 1), 0, b"", b"", b"")


def made(rows: dict[Layout, list[Row]]) -> dict[str, Any]:
    entry = gate.stats(Quarter(7, {CALLS: [], QUEUES: [], QUALITY: [], **rows}, []), OWN)
    return check_body("stats", entry.body)


GOOD: dict[str, Callable[[], Entry]] = {
    "stats": lambda: gate.stats(
        Quarter(7, {CALLS: [calls_row(3, "101"), calls_row(0, "")], QUEUES: [], QUALITY: []}, [(0, "", 2)]), OWN
    ),
    "config": lambda: gate.config(Config(), SETTINGS, "0.1.0", messages=[], tickets=[]),
    "health": lambda: gate.health(HEALTH),
}
HEALTH: dict[str, Any] = {
    "at": "2026-11-28T07:00:00Z",
    "uptime": 3,
    "versions": {"pbxd": "0.1.0", "python": "3.11.7", "asterisk": "22.10.1"},
    "cpu": {"count": 2, "load": [0.1, 0.2, 0.3], "busy": 3.5},
    "memory": {"total": 1000, "available": 500, "pbxd": 80},
    "disks": {"statistics": {"size": 10, "free": 5}},
    "temperatures": [{"sensor": "cpu", "celsius": 41.5}],
    "asterisk": {"connected": True, "calls": 1, "open_calls": 1},
    "trunks": [{"trunk": "PJSIP/trunk-1", "state": "online"}],
    "doctor": [{"check": "disk", "state": "ok"}],
    "usage": {"calls": "100+"},
}


@pytest.mark.parametrize("class_", GOOD)
def test_P1_each_class_has_its_form(class_: str) -> None:
    entry = GOOD[class_]()
    assert entry.class_ == class_
    assert check_body(class_, entry.body) == json.loads(entry.body)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in JSON."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in items:
        found += paths(one, (*path, key))
    return found


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """The same JSON with another value at a place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


CANARIES = [
    "+4930123456", "030123456", "030123456@sip", "Zoë Müller", "Anna Schmidt", "voicemail/101/INBOX/msg0000.wav", "hello\nthere",
    "192.168.1.20", "anna@example.org", {"number": "030123456"}, [["030123456"]],
]  # fmt: skip


@pytest.mark.parametrize("class_", GOOD)
@pytest.mark.parametrize("canary", CANARIES, ids=str)
def test_P1_no_name_or_number_fits_anywhere(class_: str, canary: Any) -> None:
    """Each value of a good body is replaced by each canary, and each is put in as a further field or key."""
    good = check_body(class_, GOOD[class_]().body)
    for path in paths(good):
        for changed in (put(good, path, canary), more(good, path, canary)):
            with pytest.raises(GateRefused):
                body_of(class_, changed)


def more(good: Any, path: tuple[Any, ...], canary: Any) -> Any:
    """The same JSON with the canary as a further field or item at a place; in the place itself where that is neither."""
    value = good
    for key in path:
        value = value[key]
    if isinstance(value, dict):
        return put(good, path, {**value, str(canary): 1})
    return put(good, path, [*value, canary] if isinstance(value, list) else canary)


def test_no_class_but_these() -> None:
    for class_ in ("support", "calls", "recording", ""):
        with pytest.raises(GateRefused, match="no class"):
            body_of(class_, {})


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"slot":1,"slot":1}', b"\xff", b'{"slot":NaN}', b" " * (bodies.LARGEST + 1)]
)
def test_what_is_no_json_of_ours_is_refused(body: bytes) -> None:
    with pytest.raises(GateRefused):
        check_body("stats", body)


def test_an_outside_number_counts_as_other() -> None:
    keys = [(3, "101"), (3, "101"), (3, "030123456"), (3, "911"), (4, "PJSIP/+4930123456"), (3, "Zoë")]
    rows = [calls_row(kind, key) for kind, key in keys]
    found = {(row[0], row[1]): row[2] for row in made({CALLS: rows})["tables"]["rollup_calls"]}
    assert found == {(3, "101"): 2, (3, "other"): 3, (4, "other"): 1}


def test_a_queue_named_by_a_number_counts_as_other() -> None:
    rows = [queue_row(0, ""), queue_row(1, "sales"), queue_row(1, "Zoë Müller"), queue_row(1, "q030123456")]
    found = [(row[0], row[1], row[2]) for row in made({QUEUES: rows})["tables"]["rollup_queues"]]
    assert found == [(0, "", 1), (1, "sales", 1), (1, "other", 2)]


def test_a_histogram_holds_nothing_but_counts() -> None:
    row = [0, "", *[0] * len(CALLS.sums), 0, 0]
    for stored in ("Zoë Müller, 030123456".encode(), b"\0", b"\xff\xff" + bytes(4), bytes(2) + b"\xff" * 4):
        tables = {
            "rollup_calls": [[*row, base64.b64encode(stored).decode()]],
            "rollup_queues": [],
            "rollup_quality": [],
        }
        with pytest.raises(GateRefused):
            body_of("stats", {"slot": 1, "tables": tables, "levels": []})


def test_P1_the_configuration_goes_without_texts() -> None:
    """Every text, path, name, number and address that can be configured is a canary; none is in the body."""
    text = "canary"
    config = Config.model_validate(
        {
            "site": {
                "name": "Canary 0301234567",
                "trunks": ["PJSIP/canary"],
                "extensions": ["1XX"],
                "phones": {"canary": "101"},
            },
            "ami": {"host": "canary.example", "username": text, "secret": text, "secret_file": "/canary"},
            "statistics": {"database": "sqlite+aiosqlite:////canary", "service_levels": {"canary 0301234567": "5s"}},
            "reports": {"mail": {"host": text, "username": text, "sender": "canary@example.org"}},
            "people": [{"name": text, "login": text, "role": "user", "extensions": ["101"]}],
            "agi": {
                "lookup": {"names": {"+49301234567": "Canary"}, "blocked": ["+4930123456"]},
                "directory": {"people": {}},
            },
            "uplink": {"hub": "canary.example:22", "host_keys": [f"ssh-ed25519 {'A' * 68} canary"]},
        }
    )
    config = config.model_copy(update={"ami": config.ami.model_copy(update={"secret": SecretStr(text)})})
    entry = gate.config(config, ReportSettings(site=config.site.name, zone="Europe/Berlin"), "0.1.0")
    assert b"anary" not in entry.body
    assert b"0301234567" not in entry.body
    found = check_body("config", entry.body)
    assert found["site"] == "pbx"
    assert found["counts"]["people"] == 1
    assert found["config"]["recording.enabled"] is False
    assert found["config"]["log.level"] == "info"
    assert "ami.host" not in found["config"]
    assert set(found["config"]) | set(found["counts"]) < set(keys())


def test_P5_small_counts_are_left_out_and_others_are_coarse() -> None:
    counts = {"calls": 9, "voice_messages": 10, "recordings": 35, "agi_sessions": 123_456}
    told = {"voice_messages": "10+", "recordings": "30+", "agi_sessions": "100000+"}
    assert gate.usage(counts, 10) == told
    assert gate.usage(counts, 30) == {"recordings": "30+", "agi_sessions": "100000+"}
    assert gate.usage(counts, 31) == {"agi_sessions": "100000+"}  # the bucket is told, and it begins below
    with pytest.raises(GateRefused, match="below 10"):
        gate.usage(counts, 9)  # it can only be made stricter
    with pytest.raises(ValidationError):
        Config.model_validate({"uplink": {"usage_at_least": 9}})
    assert int(bodies.BUCKETS[0][:-1]) == bodies.K


@pytest.mark.parametrize(
    ("version", "told"), [("22.10.1~dfsg+~cs6", "22.10.1"), ("git-master", "0.0"), ("6.1.0-21", "6.1.0")]
)
def test_versions_are_numbers(version: str, told: str) -> None:
    assert gate.numeric(version) == told


async def test_quarters_go_in_order_each_once_and_only_when_rolled_up(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/stats.db"
    writer = await Writer.open(url)
    queries = Queries(url)
    calls = synthetic.calls(5, 80, FIRST, 8 * SLOT)
    await writer.commit(Batch(records=calls))
    assert await next_quarter(queries, 0, 1 << 40) is None  # not rolled up yet
    await roll_up(writer)
    after, found = 0, list[int]()
    while (one := await next_quarter(queries, after, 1 << 40)) is not None:
        entry = gate.stats(one, OWN)
        assert entry.slot == one.slot > after
        assert entry == gate.stats(await quarter(queries, one.slot), OWN)
        found.append(one.slot)
        after = one.slot
    assert {call.start // SLOT for call in calls} <= set(found)
    assert await next_quarter(queries, 0, found[0]) is None
    await queries.close()
    await writer.close()
