"""Searches logs, the ledger and what support has shown for the configuration's secrets; says what was read and what was not."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, SecretStr
from sqlalchemy.engine import make_url

from pbxd.comms.keys import CREDENTIAL
from pbxd.config.schema import Config
from pbxd.policy.facts import Process, Searched
from pbxd.uplink.outbox import BODIES, LEDGER

SHORTEST = 8  # characters; a shorter one is in every text by chance
PIECE = 1024 * 1024  # bytes that are read at a time
DAYS = 30  # of journald's that are read


def secrets_of(config: Config, keys: Iterable[Path]) -> list[str]:
    """Every secret of the configuration, wherever it stands in it, and those in files of keys, a line each."""
    found = [*_within(config)]
    if password := make_url(config.statistics.database).password:
        found.append(password)
    for path in keys:
        if path.is_file():
            lines = path.read_text(errors="replace").splitlines()
            found += [line.strip() for line in lines if line.strip() and not line.startswith(("#", "-----"))]
    return found


def _within(value: Any) -> Iterator[str]:  # noqa: ANN401 - of any kind
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _within(getattr(value, name))
    elif isinstance(value, dict):
        for one in value.values():
            yield from _within(one)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from _within(one)


def search(config: Config, core: Process, links: Iterable[Process], credentials: Path | None) -> Searched:
    """Look for them in every log that can be read, in the ledger and in what support has shown."""
    keys = [config.comms.key_file, config.uplink.key_file] + ([] if credentials is None else [credentials / CREDENTIAL])
    secrets = secrets_of(config, keys)
    long = {secret for secret in secrets if len(secret) >= SHORTEST}
    look = _Look({form for secret in long for form in _forms(secret)})
    outbox, support, own = config.uplink.outbox, config.uplink.support, config.journal.own
    look.files("the ledger", [outbox / LEDGER])
    look.files("its bodies", (outbox / BODIES).glob("*"))
    look.files("pbxd's own journal", own.parent.glob(f"{own.name}*"))
    look.files("tickets and recordings of support", [*support.glob("tickets/*/*"), *support.glob("*.jsonl")])
    look.output("pbxd", core)
    for one in links:
        look.output("pbxd-uplink", one)
    return Searched(len(long), len(set(secrets)) - len(long), tuple(look.found), tuple(look.read), tuple(look.unread))


def _forms(secret: str) -> set[bytes]:
    """A secret as it is, and as JSON writes it."""
    return {secret.encode(), json.dumps(secret)[1:-1].encode(), json.dumps(secret, ensure_ascii=False)[1:-1].encode()}


class _Look:
    """Places that were looked at."""

    def __init__(self, wanted: set[bytes]) -> None:
        self._wanted = wanted
        self.found: list[str] = []
        self.read: list[str] = []
        self.unread: list[str] = []

    def files(self, what: str, paths: Iterable[Path]) -> None:
        """Files of one kind; those that are not there are no log."""
        there = [path for path in paths if path.is_file()]
        for path in there:
            with path.open("rb") as file:
                self._in(str(path), file)
        if there:
            self.read.append(f"{what} ({len(there)} files)")

    def output(self, unit: str, process: Process) -> None:
        """Where a process writes its log: a file, or journald."""
        target = Path(f"/proc/{process.pid}/fd/2")
        try:
            where = str(target.readlink())
            if target.is_file():
                self.files(f"the log of {unit} in {where}", [target])
            elif where.startswith(("socket:", "pipe:")):
                self._journald(unit)
            else:
                self.unread.append(f"the log of {unit}, which goes to {where}")
        except OSError as error:  # it has just ended
            self.unread.append(f"the log of {unit}: {error.strerror}")

    def _journald(self, unit: str) -> None:
        command = ["journalctl", "--unit", unit, "--output", "cat", "--no-pager", "--quiet", "--since", f"-{DAYS}d"]
        if shutil.which(command[0]) is None:
            self.unread.append(f"the log of {unit}: there is no journalctl")
            return
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            size = 0 if process.stdout is None else self._in(f"journald's log of {unit}", process.stdout)
        if process.returncode or not size:
            self.unread.append(f"the log of {unit}: journald has nothing of it")
        else:
            self.read.append(f"journald's log of {unit} of the last {DAYS} days ({size} bytes)")

    def _in(self, place: str, file: IO[bytes]) -> int:
        """Search what can be read; how many bytes that were."""
        size, kept, overlap = 0, b"", max(map(len, self._wanted), default=0)
        while data := file.read(PIECE):
            size += len(data)
            text = kept + data
            if place not in self.found and any(one in text for one in self._wanted):
                self.found.append(place)
            kept = text[-overlap:] if overlap else b""
        return size
