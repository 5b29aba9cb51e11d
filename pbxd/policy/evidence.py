"""Gathers what the clauses are judged by, on the running box, as root: files, processes, sockets, and what the daemon tells."""

from __future__ import annotations

import contextlib
import pwd
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from pbxd.config.load import load_with_notes
from pbxd.config.schema import Config, keys, value_of
from pbxd.errors import ControlError
from pbxd.policy import eyes, ledger, network
from pbxd.policy.facts import Evidence, Process, TicketFacts
from pbxd.stats.engine import database_path
from pbxd.uplink.enrolment import Enrolment
from pbxd.uplink.outbox import BODIES, ENABLED, LEDGER, OFF, SUPPORT
from pbxd.uplink.support.cast import measure
from pbxd.uplink.support.family import parents

NOBODY = "nobody"
AGE = b"age-encryption.org/v1"
SHORTEST_SECRET = 8  # characters; a shorter one is in every text by chance


def gather(told: dict[str, Any]) -> Evidence:
    """All of it. `told` is the daemon's: config, credentials, pid, doctor, tickets, messages, audit.

    ControlError if it cannot be looked at: we are not root, or pbxd is gone. ConfigError, UplinkError as they come.
    """
    credentials = Path(told["credentials"]) if told["credentials"] else None
    config = load_with_notes(Path(told["config"]), credentials=credentials).config
    outbox = config.uplink.outbox
    enrolment = Enrolment.read(outbox)
    core = network.process(int(told["pid"]))
    if core is None:
        raise ControlError("pbxd is not running any more")
    link = _link(config)
    eyes_of = _eyes(config, link)
    objects = sorted((config.comms.folder / "objects").glob("*/*"))
    return Evidence(
        config=config,
        enrolled=enrolment is not None,
        core=core,
        link=link,
        support=tuple(_support(core.pid)),
        switched_off=not config.uplink.enabled or (outbox / OFF).exists() or not (outbox / ENABLED).exists(),
        eyes=eyes_of,
        opened=eyes.as_user(eyes_of, lambda: eyes.tried(stores(config, Path(told["config"])))),
        modes=tuple(_open_to_all(config)),
        control=eyes.as_user(eyes_of, lambda: {"": eyes.control(config.control.socket)})[""],
        ledger=None if enrolment is None else ledger.facts(outbox, enrolment.ledger),
        tickets=tuple(_tickets(config, told["tickets"])),
        support_socket=(outbox / SUPPORT).exists(),
        audit=None if told["audit"] is None else tuple(told["audit"]),
        objects=len(objects),
        plain=tuple(str(path) for path in objects if not _is_encrypted(path)),
        secrets_found=tuple(_secrets_found(config)),
        messages=tuple(told["messages"]),
        columns=tuple(_columns(config)),
        findings=tuple(told["doctor"]),
    )


def _link(config: Config) -> Process | None:
    """The link of this box."""
    for pid in network.named("pbxd.uplink.link", str(config.uplink.outbox)):
        if (found := network.process(pid)) is not None:
            return found
    return None


def _support(core: int) -> Iterator[Process]:
    """Processes with sessions that this pbxd started."""
    table = parents()
    for pid in network.named("pbxd.uplink.support"):
        if table.get(pid, (0, ""))[0] == core and (found := network.process(pid)) is not None:
            yield found


def _eyes(config: Config, link: Process | None) -> str:
    """The link's user: that of the running one, else of the name that the unit gives it, else nobody."""
    for name in (config.uplink.group, NOBODY):
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return pwd.getpwuid(link.uid).pw_name if link is not None and link.uid else found.pw_name
    raise ControlError("there is neither a user for the link nor nobody on this machine")


def stores(config: Config, file: Path) -> list[Path]:
    """What the link's user must not open: all that people say, what is counted of it, keys, secrets, sessions."""
    statistics = database_path(config.statistics.database)
    found = [
        config.comms.folder,
        config.comms.folder / "comms.db",
        config.comms.key_file,
        *config.recording.spools,
        config.voicemail.spool,
        config.journal.cel,
        config.journal.queue_log,
        config.journal.own,
        config.uplink.support,
        config.uplink.key_file,
        file,
    ]
    found += [statistics] if statistics is not None else []
    return found + [path for path in (config.ami.secret_file, config.reports.mail.password_file) if path is not None]


def _open_to_all(config: Config) -> Iterator[str]:
    """Folders and keys whose mode lets everybody in."""
    for path in (config.comms.folder, config.comms.key_file, config.uplink.support, config.uplink.key_file):
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o007:
                yield f"{path} has the mode {mode:o}: everybody may use it"


def _tickets(config: Config, told: Iterable[dict[str, Any]]) -> Iterator[TicketFacts]:
    for one in told:
        said = {event["session"]: event["sha256"] for event in one["events"] if event["event"] == "end"}
        begun = [event["session"] for event in one["events"] if event["event"] == "begin"]
        folder = config.uplink.support / "tickets" / one["id"]
        sessions = []
        for number in begun:
            path = folder / f"{number:03}.cast"
            sessions.append((number, said.get(number, ""), measure(path)[1] if path.exists() else ""))
        yield TicketFacts(one["id"], one["state"], one["reason"], one["until"] - one["opened"], tuple(sessions))


def _is_encrypted(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(AGE)) == AGE


def _secrets_found(config: Config) -> Iterator[str]:
    """Places in our own logs and in the ledger where a secret stands."""
    values = [value_of(config, key) for key in keys()]
    secrets = [one.get_secret_value().encode() for one in values if isinstance(one, SecretStr)]
    wanted = [secret for secret in secrets if len(secret) >= SHORTEST_SECRET]
    places = [config.uplink.outbox / LEDGER, config.journal.own, *(config.uplink.outbox / BODIES).glob("*")]
    places += [*config.uplink.support.glob("tickets/*/*"), *config.uplink.support.glob("*.jsonl")]
    for path in places:
        with contextlib.suppress(FileNotFoundError):
            data = path.read_bytes()
            if any(secret in data for secret in wanted):
                yield str(path)


def _columns(config: Config) -> Iterator[str]:
    """Names of the columns of both stores, as table.column; their files are read as they lie."""
    for path in (database_path(config.statistics.database), config.comms.folder / "comms.db"):
        if path is None or not path.exists():
            continue
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as database:
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                yield from (f"{table}.{row[1]}" for row in database.execute(f'PRAGMA table_info("{table}")'))
