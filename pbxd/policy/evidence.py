"""Gathers what the clauses are judged by, on the running box, as root: files, processes, sockets, and what the daemon tells."""

from __future__ import annotations

import contextlib
import pwd
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from pbxd.comms import theft
from pbxd.config.load import load_with_notes
from pbxd.config.schema import Config
from pbxd.errors import ControlError
from pbxd.policy import eyes, ledger, network, processes, secrets
from pbxd.policy.facts import Evidence, LedgerFacts, Process, TicketFacts
from pbxd.stats.engine import database_path
from pbxd.uplink.enrolment import Enrolment, LinkSettings
from pbxd.uplink.keyring import read_signer
from pbxd.uplink.link_status import link_status
from pbxd.uplink.outbox import ENABLED, OFF, SUPPORT
from pbxd.uplink.results import FILE
from pbxd.uplink.support.agreement import entered
from pbxd.uplink.support.cast import measure
from pbxd.uplink.support.ticket import Ticket

NOBODY = "nobody"
AGE = b"age-encryption.org/v1"


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
    links = processes.links(outbox, config.uplink.state, core.pid, config.uplink.state / FILE)
    eyes_of = _eyes(config, links)
    groups = {group for one in links for group in one.groups}  # which the running ones were given beside the user's own
    objects = sorted((config.comms.folder / "objects").glob("*/*"))
    return Evidence(
        config=config,
        enrolled=enrolment is not None,
        core=core,
        links=tuple(links),
        locked=link_status(config.uplink.state)["state"] != "none",
        support=tuple(processes.sessions(core.pid, outbox / SUPPORT, [one["id"] for one in told["tickets"]])),
        switched_off=not config.uplink.enabled or (outbox / OFF).exists() or not (outbox / ENABLED).exists(),
        eyes=eyes_of,
        opened=eyes.as_user(eyes_of, lambda: eyes.tried(stores(config, Path(told["config"]), credentials)), groups),
        modes=tuple(_open_to_others(config, core)),
        control=eyes.as_user(eyes_of, lambda: {"": eyes.control(config.control.socket)}, groups)[""],
        ledger=_ledger(config, enrolment),
        tickets=tuple(_tickets(config, told["tickets"])),
        support_socket=(outbox / SUPPORT).exists(),
        unlike=tuple(_unlike(config, told["uplink"])),
        audit=None if told["audit"] is None else tuple(told["audit"]),
        theft=theft.risk(config.comms.folder, config.comms.key_file, credentials) if told["kept"] or objects else None,
        clear=tuple(_clear(config)),
        objects=len(objects),
        plain=tuple(str(path) for path in objects if not _is_encrypted(path)),
        searched=secrets.search(config, core, links, credentials),
        messages=tuple(told["messages"]),
        columns=tuple(_columns(config)),
        findings=tuple(told["doctor"]),
    )


def _eyes(config: Config, links: Sequence[Process]) -> str:
    """The link's user: that of the running one, else of the name that the unit gives it, else nobody."""
    for one in links:
        with contextlib.suppress(KeyError):
            if one.uid:
                return pwd.getpwuid(one.uid).pw_name
    for name in (config.uplink.group, NOBODY):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise ControlError("there is neither a user for the link nor nobody on this machine")


def stores(config: Config, file: Path, credentials: Path | None) -> list[Path]:
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
    found += [path for path in (statistics, credentials) if path is not None]
    return found + [path for path in (config.ami.secret_file, config.reports.mail.password_file) if path is not None]


def _open_to_others(config: Config, core: Process) -> Iterator[str]:
    """Folders and keys that are not pbxd's alone, or that everybody may use."""
    for path, mask in (
        (config.comms.folder, 0o077), (config.comms.key_file, 0o077),
        (config.uplink.support, 0o007), (config.uplink.key_file, 0o007),
    ):  # fmt: skip
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            if stat.S_IMODE(found.st_mode) & mask:
                yield f"{path} has the mode {stat.S_IMODE(found.st_mode):o}: others than pbxd may use it"
            if found.st_uid not in (core.uid, 0):
                yield f"{path} belongs to user {found.st_uid}, who is not pbxd"


def _ledger(config: Config, enrolment: Enrolment | None) -> LedgerFacts | None:
    """The ledger, by the keys that the enrolment names and that this box signs with; also of a box that is enrolled no more."""
    file = config.uplink.key_file
    own = read_signer(file).verifier.text if file.exists() else ""
    return ledger.facts(config.uplink.outbox, own if enrolment is None else enrolment.ledger, own)


def _unlike(config: Config, told: dict[str, Any]) -> Iterator[str]:
    """Where pbxd goes by other switches than the file says, or the link by another hub than pbxd."""
    for key, said in (("enabled", config.uplink.enabled), ("share_statistics", config.uplink.share_statistics)):
        if told[key] != said:
            yield f"uplink.{key} is {told[key]} for the pbxd that runs, and {said} in the file: `pbxctl reload`".lower()
    settings = LinkSettings.read(config.uplink.outbox)
    if settings is None or not (config.uplink.outbox / ENABLED).exists():
        return
    if (settings.hub, settings.host_keys) != (config.uplink.hub, config.uplink.host_keys):
        yield f"the link goes to {settings.hub} by {len(settings.host_keys)} keys, which is not what the file says: `pbxctl reload`"


def _tickets(config: Config, told: Iterable[dict[str, Any]]) -> Iterator[TicketFacts]:
    for one in told:
        said = {event["session"]: event["sha256"] for event in one["events"] if event["event"] == "end"}
        begun = [event["session"] for event in one["events"] if event["event"] == "begin"]
        folder = config.uplink.support / "tickets" / one["id"]
        sessions = []
        for number in begun:
            path = folder / f"{number:03}.cast"
            sessions.append((number, said.get(number, ""), measure(path)[1] if path.exists() else ""))
        ticket = Ticket(**{field.name: one[field.name] for field in fields(Ticket)})
        seconds = ticket.until - ticket.opened
        yield TicketFacts(ticket.id, one["state"], ticket.reason, seconds, tuple(sessions), entered(ticket))


def _clear(config: Config) -> Iterator[str]:
    """Where sound lies as it is, on a disk that is not encrypted, or may be not."""
    for used, what, folder in (
        *((config.recording.enabled, "recordings of calls in progress", spool) for spool in config.recording.spools),
        (config.voicemail.enabled, "voice messages that are not archived", config.voicemail.spool),
    ):
        found = theft.lying(folder)
        if used and not found.sealed and found.kind in ("disk", "unknown"):
            yield f"{what} lie unencrypted in {found}"


def _is_encrypted(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(AGE)) == AGE


def _columns(config: Config) -> Iterator[str]:
    """Names of the columns of both stores, as table.column; their files are read as they lie."""
    for path in (database_path(config.statistics.database), config.comms.folder / "comms.db"):
        if path is None or not path.exists():
            continue
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as database:
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                yield from (f"{table}.{row[1]}" for row in database.execute(f'PRAGMA table_info("{table}")'))
