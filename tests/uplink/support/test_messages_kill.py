"""A message that proposes something is one proposal and one row, wherever pbxd is killed while it takes it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pbxd.config.load import load
from pbxd.config.schema import Config
from pbxd.uplink.administration import Administration
from pbxd.uplink.files import append_line, lines_of
from pbxd.uplink.ledger import Ledger
from pbxd.uplink.messages import Messages
from pbxd.uplink.notes import Signer
from pbxd.uplink.vocabulary import message_text
from tests.uplink.support.rig import BOX, at

VENDOR, OWN = Signer("vendor-messages", bytes(range(32))), Signer("pbxd-ledger-test", bytes(range(32)))
STEPS = ("rename", "replace", "unlink", "fsync", "fdatasync", "write")  # of os
MOST = 60  # steps that taking a message may have


@dataclass
class Box:
    """A box that is its configuration alone: nobody answers a proposal here, so that nothing else is asked of it."""

    path: Path
    config: Config
    credentials: Path | None = None
    asterisk_connected: bool = True

    async def reload(self) -> list[str]:
        return []

    async def doctor(self) -> list[dict[str, str]]:
        return []


@dataclass
class Sender:
    box: str = BOX
    message_key: str = VENDOR.verifier.text


@dataclass
class Entered:
    """The real ledger."""

    ledger: Ledger

    async def message(self, name: str, note: bytes) -> None:
        digest = hashlib.sha256(note).hexdigest()
        self.ledger.append({"what": "message", "id": name, "size": len(note), "sha256": digest})


def collect(folder: Path) -> None:
    """What pbxd does with what lies there, from a fresh start."""
    box = Box(folder / "pbxd.yaml", load(folder / "pbxd.yaml"))
    ledger = Ledger(folder / "outbox", OWN)
    ledger.open()
    rules = box.config.uplink
    messages = Messages(rules.support, Administration(box), Entered(ledger), lambda: rules)
    asyncio.run(messages.collect(folder / "down", Sender()))
    ledger.close()


def killed(work: Callable[[], None], step: int) -> bool:
    """Do it in a process that is killed before its `step`th change of the disk; whether it came so far."""
    if (child := os.fork()) == 0:
        left = [step]

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)

            return call

        for name in STEPS:
            setattr(os, name, counted(getattr(os, name)))
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def lay(folder: Path) -> str:
    """A message that proposes something, as the link lays it down; its id."""
    message = {
        "id": str(uuid.uuid4()), "box": BOX, "kind": "propose-config", "issued": at(-60), "expires": at(3600), "by": "zoe",
        "reason": "a test", "changes": [{"path": "log.level", "value": "debug"}],
    }  # fmt: skip
    (folder / "down" / f"{message['id']}.note").write_bytes(VENDOR.sign(message_text(message)).encode())
    return str(message["id"])


def test_killed_at_each_step_a_message_is_one_proposal(tmp_path: Path) -> None:
    (tmp_path / "down").mkdir()
    (tmp_path / "pbxd.yaml").write_text(
        f"uplink: {{support: {tmp_path}/support, outbox: {tmp_path}/outbox, accepted: {tmp_path}/accepted.yaml}}\n"
    )
    kills = 0
    for step in range(1, MOST):
        name = lay(tmp_path)
        dead = killed(lambda: collect(tmp_path), step)
        collect(tmp_path)
        kills += dead
        proposals = map(json.loads, (one.read_text() for one in (tmp_path / "support" / "proposals").glob("*.json")))
        assert len([one for one in proposals if one["source"] == f"message {name}"]) == 1, step
        rows = [row for row in lines_of(tmp_path / "support" / "messages.jsonl") if row["id"] == name]
        assert [(row["word"], row["state"]) for row in rows] == [("", "proposal")], step
        assert not list((tmp_path / "down").iterdir())
        if not dead:
            break
    assert 8 < kills < MOST - 1


def test_what_a_line_left_behind_is_not_glued_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    append_line(path, {"n": 1})
    with path.open("ab") as file:
        file.write(b'{"n": 2, "cut')
    append_line(path, {"n": 3})
    assert [line["n"] for line in lines_of(path)] == [1, 3]
