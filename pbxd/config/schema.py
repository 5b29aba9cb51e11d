"""Every key of pbxd.yaml: its kind, its default, what it means, and whether a change needs a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator

from pbxd.config.agi import Agi
from pbxd.config.chat import Chat, check_rooms
from pbxd.config.comms import Comms
from pbxd.config.part import RESTART, Part, at_start
from pbxd.config.people import PersonEntry, check_people
from pbxd.config.recording import Recording
from pbxd.config.uplink import Uplink
from pbxd.config.values import (
    AbsolutePath,
    Address,
    Clock,
    DialPattern,
    Duration,
    Extension,
    MailAddress,
    Size,
    Zone,
)
from pbxd.config.voicemail import Voicemail


class Site(Part):
    """The box and its numbers."""

    name: str = at_start("pbx", "What this box is called; its rows in a shared database are kept under this name.")
    time_zone: Zone | None = Field(None, description="Zone in which reports are read; empty is the machine's own.")
    trunks: tuple[str, ...] = Field(
        (),
        description="Endpoints that lead outside, as globs on TECH/name: 'PJSIP/trunk-*'. They decide a call's direction.",
    )
    extensions: tuple[DialPattern, ...] = Field((), description="The site's own numbers, as dial patterns: 1XX.")
    phones: dict[str, Extension] = Field(
        default_factory=dict,
        description="Extension of an endpoint whose name is not its extension: {reception: '100'}.",
    )


class Tls(Part):
    """Encryption of the AMI connection, for an Asterisk on another host."""

    enabled: bool = at_start(default=False, text="Connect by TLS.")
    ca_file: AbsolutePath | None = at_start(
        None, "Certificate that Asterisk's own is checked with; empty is the system's."
    )
    verify: bool = at_start(default=True, text="Check Asterisk's certificate and name.")


class Ami(Part):
    """The connection to Asterisk's manager interface."""

    host: str = at_start("127.0.0.1", "Host on which Asterisk runs.")
    port: int = at_start(5038, "Port of AMI.")
    username: str = at_start("pbxd", "User in manager.conf.")
    secret: SecretStr | None = at_start(
        None, "Its secret. Better in secret_file or in the systemd credential ami-secret."
    )
    secret_file: AbsolutePath | None = at_start(None, "File that holds the secret.")
    tls: Tls = Field(default_factory=Tls, description="Encryption.")
    connect_timeout: Duration = at_start(10.0, "How long a connection may take.")
    action_timeout: Duration = at_start(10.0, "How long Asterisk may take to answer an action.")
    ping_interval: Duration = at_start(15.0, "Time between signs of life; no answer ends the connection.")
    reconnect_longest: Duration = at_start(30.0, "Longest time between two tries to connect.")
    refused_wait: Duration = at_start(60.0, "Time to the next try after Asterisk refused the login.")
    max_message: Size = at_start(1024**2, "Longest AMI message that is taken.")


class Journal(Part):
    """The files from which call records are made."""

    cel: AbsolutePath = at_start(Path("/var/log/asterisk/cel-custom/pbxd.csv"), "CEL file that Asterisk writes.")
    queue_log: AbsolutePath = at_start(Path("/var/log/asterisk/queue_log"), "Queue log that Asterisk writes.")
    own: AbsolutePath = at_start(
        Path("/var/lib/pbxd/journal/own.csv"),
        "Journal that pbxd writes itself: voice quality, which Asterisk tells by AMI only.",
    )
    keep: Duration = at_start(
        604800.0, "Parts that were read are deleted after this time: they hold numbers and names."
    )
    rotate_at: Size = at_start(64 * 1024**2, "Size at which pbxd begins a new part of the CEL file.")
    batch: int = at_start(4000, "Lines that are read before a commit, at most about.")
    commit_interval: Duration = at_start(0.25, "How long new lines are gathered before they are read and committed.")


class Statistics(Part):
    """The store of call statistics."""

    database: str = at_start(
        "sqlite+aiosqlite:////var/lib/pbxd/stats/stats.db",
        "The store: a SQLite file, or postgresql+asyncpg://user@host/name, which several boxes may share.",
    )
    service_level: Duration = Field(20.0, description="A queue's call is answered in time if it waited less than this.")
    service_levels: dict[str, Duration] = Field(
        default_factory=dict, description="The same for queues that have their own: {sales: 30s}."
    )
    service_target: float = Field(
        0.8,
        gt=0,
        lt=1,
        description="Share of calls to answer in time, for the number of agents that a report suggests.",
    )
    short_abandon: Duration = Field(
        5.0, description="A caller who hangs up in less than this does not count as abandoned in the service level."
    )
    wrapup: Duration = at_start(0.0, "Time that an agent needs after each call of a queue, before the next one.")
    resolution: Duration = at_start(
        86400.0, "A call to a queue has resolved its matter if its caller does not come back to it within this time."
    )
    keep_calls: Duration | None = Field(
        None, description="Calls are deleted after this time, their figures are kept; empty is never."
    )
    keep_rollups: Duration | None = Field(None, description="Figures are deleted after this time; empty is never.")


class Schedule(Part):
    """One report that is mailed each day, week or month."""

    name: str = Field(
        description="What the schedule is called; two may not have the same name.", pattern=r"^[A-Za-z0-9_-]{1,40}$"
    )
    report: Literal["calls", "queues", "agents", "trunks", "quality", "heatmap"] = Field(description="Which report.")
    period: Literal["day", "week", "month"] = Field(
        "day", description="What it covers: yesterday, last week (from Monday), last month; and so how often it comes."
    )
    at: Clock = Field("07:00", description="Time of day at which it is sent, in site.time_zone.")
    by: str = Field("", description="What a row stands for; empty is the report's own way.", pattern="^[a-z_]{0,20}$")
    format: Literal["html", "pdf", "csv", "text"] = Field(
        "pdf", description="What is attached; text is a mail of plain text alone."
    )
    to: tuple[MailAddress, ...] = Field(description="Who gets it.")


class Mail(Part):
    """The mail server that reports go by."""

    host: str = Field("", description="Its name; empty is no mail.")
    port: int = Field(
        587, description="Its port: 587 with starttls, 465 with tls, 25 in one's own network.", ge=1, le=65535
    )
    security: Literal["none", "starttls", "tls"] = Field(
        "starttls", description="How the connection is encrypted; there is no falling back to none."
    )
    ca_file: AbsolutePath | None = Field(
        None, description="Certificate that the server's own is checked with; empty is the system's."
    )
    username: str = Field("", description="User to log in as; empty is no login.")
    password: SecretStr | None = Field(
        None, description="Its password. Better in password_file or in the systemd credential mail-password."
    )
    password_file: AbsolutePath | None = Field(None, description="File that holds the password.")
    sender: MailAddress | None = Field(None, description="Address that the mails come from.")
    timeout: Duration = Field(30.0, description="How long the server may take for each answer.")


class Reports(Part):
    """Reports that come by themselves, by mail."""

    schedules: tuple[Schedule, ...] = Field((), description="What is sent, when and to whom: see docs/reports.md.")
    state: AbsolutePath = at_start(Path("/var/lib/pbxd/reports/deliveries.json"), "File that remembers what was sent.")
    mail: Mail = Field(default_factory=Mail, description="The mail server.")

    @model_validator(mode="after")
    def can_be_sent(self) -> Reports:
        """Schedules need a mail server and names of their own."""
        names = [schedule.name for schedule in self.schedules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two schedules have the name {twice[0]}: what was sent is remembered by it")
        nobody = [schedule.name for schedule in self.schedules if not schedule.to]
        if nobody:
            raise ValueError(f"the schedule {nobody[0]} goes to nobody")
        if names and not (self.mail.host and self.mail.sender):
            raise ValueError("schedules need reports.mail.host and reports.mail.sender")
        return self


class Control(Part):
    """The local API."""

    socket: AbsolutePath = at_start(Path("/run/pbxd/control.sock"), "Unix socket on which it listens.")
    group: str | None = Field(
        None, description="Members may use it as far as their role in `people` goes, beside root and pbxd's own user."
    )


class Metrics(Part):
    """Prometheus metrics; they are always on the control socket."""

    listen: Address | None = at_start(None, "host:port on which they are offered without a password; empty is nowhere.")


class Log(Part):
    """The daemon's own log."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least important line that is written."
    )
    format: Literal["auto", "console", "json"] = Field(
        "auto", description="console for people, json for programs; auto is console on a terminal, json elsewhere."
    )


class Doctor(Part):
    """Limits at which `pbxctl doctor` speaks."""

    disk_low: Size = Field(1024**3, description="Free space below which it warns.")
    clock_offset: Duration = Field(
        2.0, description="Difference between our clock and Asterisk's at which it is a fault."
    )


class Config(Part):
    """The whole file."""

    site: Site = Field(default_factory=Site)
    ami: Ami = Field(default_factory=Ami)
    journal: Journal = Field(default_factory=Journal)
    statistics: Statistics = Field(default_factory=Statistics)
    reports: Reports = Field(default_factory=Reports)
    people: Annotated[tuple[PersonEntry, ...], AfterValidator(check_people)] = Field(
        (), description="Who may hear, read and administer what: see docs/access.md."
    )
    comms: Comms = Field(default_factory=Comms)
    recording: Recording = Field(default_factory=Recording)
    control: Control = Field(default_factory=Control)
    metrics: Metrics = Field(default_factory=Metrics)
    log: Log = Field(default_factory=Log)
    doctor: Doctor = Field(default_factory=Doctor)
    agi: Agi = Field(default_factory=Agi)
    voicemail: Voicemail = Field(default_factory=Voicemail)
    chat: Annotated[Chat, AfterValidator(check_rooms)] = Field(default_factory=Chat)
    uplink: Uplink = Field(default_factory=Uplink)


def keys(model: type[BaseModel] = Config, prefix: str = "") -> dict[str, Any]:
    """Every key by its dotted name, with pydantic's description of it."""
    found: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, Part):
            found |= keys(inner, f"{prefix}{name}.")
        else:
            found[prefix + name] = info
    return found


def value_of(config: Config, key: str) -> Any:  # noqa: ANN401 - of any key
    """The value of a dotted key."""
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


P = TypeVar("P", bound=Part)


def taken_up(old: P, new: P) -> P:
    """`new`, but with the old value of each key that needs a restart: what a running daemon goes on with after a reload."""
    update: dict[str, Any] = {}
    for name, info in type(new).model_fields.items():
        before = getattr(old, name)
        if isinstance(before, Part):
            update[name] = taken_up(before, getattr(new, name))
        elif info.json_schema_extra == RESTART:
            update[name] = before
    return new.model_copy(update=update)


def changed(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """The keys that differ: those that take effect at once, and those that need a restart."""
    now: list[str] = []
    later: list[str] = []
    for key, info in keys().items():
        if value_of(old, key) != value_of(new, key):
            (later if info.json_schema_extra == RESTART else now).append(key)
    return now, later
