"""The keys of FastAGI: the server, the applications that come with pbxd, and the customer's own scripts."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from pbxd.config.part import Part, at_start
from pbxd.config.values import AbsolutePath, Address, Duration, Extension, Network, Size, UserName, clock, number

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def phone_pattern(value: Any) -> str:  # noqa: ANN401 - whatever stands in the file
    """A telephone number, `+4930123456`, the beginning of one, `+4990*`, or `anonymous`."""
    value = re.sub(r"[ ()/.-]", "", number(value))
    if value != "anonymous" and not re.fullmatch(r"\+?[0-9*#]*[0-9*#]\*?|\+\*?|\*", value):
        raise ValueError(
            "a number is written '+4930123456', the beginning of some '+4990*', a withheld one 'anonymous'"
        )
    return str(value)


def span(value: Any) -> str:  # noqa: ANN401 - whatever stands in the file
    """`09:00-17:30`; it may end at 24:00, and not go over midnight."""
    start, dash, end = value.partition("-") if isinstance(value, str) else ("", "", "")
    if not dash:
        raise ValueError("hours are written '09:00-17:30'")
    begun = clock(start.strip())
    ended = "24:00" if end.strip() == "24:00" else clock(end.strip())
    if begun >= ended:
        raise ValueError(
            f"{value}: it ends before it begins; hours over midnight are two: '22:00-24:00' and '00:00-06:00'"
        )
    return f"{begun}-{ended}"


def days(value: Any) -> str:  # noqa: ANN401 - whatever stands in the file
    """`mon`, or `mon-fri`; `fri-mon` goes over the weekend."""
    match = re.fullmatch(r"([a-z]{3})(?:-([a-z]{3}))?", value) if isinstance(value, str) else None
    if match is None or match[1] not in DAYS or (match[2] or "mon") not in DAYS:
        raise ValueError(f"days are written mon, or mon-fri: {', '.join(DAYS)}")
    return str(value)


def day(value: Any) -> str:  # noqa: ANN401 - whatever stands in the file
    """`2026-12-24`, or `12-25` for that day of each year."""
    if isinstance(value, date):  # YAML reads it as one
        return value.isoformat()
    text = value if isinstance(value, str) else ""
    try:
        date.fromisoformat(text if len(text) == 10 else f"2024-{text}")
    except ValueError as error:
        raise ValueError("a day is written '2026-12-24', or '12-25' for each year") from error
    return text


def word(value: Any) -> str:  # noqa: ANN401 - whatever stands in the file
    """A name that may stand in a dialplan: letters, digits, - and _."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,60}", value):
        raise ValueError("such a name has letters, digits, - and _ only")
    return value


def interface(value: Any) -> str:  # noqa: ANN401 - whatever stands in the file
    """A queue member's interface, `PJSIP/101`."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9]+/[A-Za-z0-9@._/-]{1,80}", value):
        raise ValueError("an interface is written PJSIP/101")
    return value


def pin(value: Any) -> Any:  # noqa: ANN401 - pydantic makes the secret of it
    """Four or more digits; without quotes YAML takes away leading zeros, so they are needed."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4,20}", value):
        raise ValueError("a PIN is written in quotes and has 4 to 20 digits")
    return value


PhonePattern = Annotated[str, BeforeValidator(phone_pattern)]
Span = Annotated[str, BeforeValidator(span)]
Days = Annotated[str, BeforeValidator(days)]
Day = Annotated[str, BeforeValidator(day)]
Word = Annotated[str, BeforeValidator(word)]
Interface = Annotated[str, BeforeValidator(interface)]
Pin = Annotated[SecretStr, BeforeValidator(pin)]


class Lookup(Part):
    """The application `lookup`: who calls."""

    names: dict[PhonePattern, str] = Field(
        default_factory=dict,
        description="Address book, names by number or by the beginning of one: {'+4930123456': Doctor Smith}.",
    )
    blocked: tuple[PhonePattern, ...] = Field((), description="Numbers to block, or beginnings: ['+4990*', anonymous].")
    allowed: tuple[PhonePattern, ...] = Field((), description="Numbers that are never blocked.")
    country: str = Field(
        "", description="The site's own country code; with it 030123 is +4930123.", pattern=r"^(\+[1-9][0-9]{0,3})?$"
    )
    trunk_prefix: str = Field("0", description="What is dialled before an area code.", pattern="^[0-9]{0,3}$")
    international_prefix: str = Field(
        "00", description="What is dialled before a country code.", pattern="^[0-9]{0,4}$"
    )


class Hours(Part):
    """Opening hours of one line or department."""

    open: dict[Days, tuple[Span, ...]] = Field(
        default_factory=dict, description="Hours by days of the week: {mon-fri: ['09:00-12:00', '13:00-17:30']}."
    )
    holidays: dict[Day, str] = Field(
        default_factory=dict, description="Closed all day, with a name for it: {'12-25': Christmas}."
    )
    special: dict[Day, tuple[Span, ...]] = Field(
        default_factory=dict, description="Days with hours of their own: {'2026-12-24': ['09:00-12:00']}."
    )


class Agent(Part):
    """One agent who logs in by phone."""

    pin: Pin = Field(description="What the agent keys to be believed.")
    queues: tuple[Word, ...] = Field(description="Queues that the agent logs in to.")
    name: str = Field("", description="Name in the queue log.", pattern=r"^[^,\r\n]{0,80}$")
    interface: Interface | None = Field(None, description="The agent's phone; empty is the one that calls.")


class Greeting(Part):
    """The application `greeting`: voicemail greetings by phone."""

    format: str = Field("wav", description="Sound format that greetings are recorded in.", pattern="^[a-z0-9]{1,10}$")
    longest: Duration = Field(120.0, description="Longest greeting.")


class Person(Part):
    """One entry of the directory."""

    first: str = Field("", description="First name.")
    last: str = Field(description="Last name.")
    mailbox: str = Field(
        "",
        description="Mailbox whose recorded name is played: 101@default.",
        pattern=r"^([A-Za-z0-9_-]+@[A-Za-z0-9_-]+)?$",
    )


class Directory(Part):
    """The application `directory`: dial by name."""

    people: dict[Extension, Person] = Field(
        default_factory=dict, description="Who can be found, by extension: {'101': {first: Zoë, last: Müller}}."
    )
    by: str = Field("last", description="Which name is keyed first: last or first.", pattern="^(last|first)$")


class Scripts(Part):
    """AGI scripts of the customer."""

    folder: AbsolutePath = Field(Path("/etc/pbxd/agi.d"), description="Programs in it are routes by their names.")
    user: str | None = Field(
        None,
        description="User as whom they run, if pbxd runs as root; empty: by the service.",
        pattern=r"^[a-z_][a-z0-9_-]*$",
    )
    service: AbsolutePath | None = Field(
        Path("/run/pbxd-scripts/socket"),
        description="Socket of pbxd-scripts.service, which runs them as a user of its own.",
    )
    own_user: bool = Field(
        False, description="Run them as pbxd's own user instead, who can read and delete all that pbxd can."
    )
    time: Duration = Field(3600.0, description="How long one may run.")
    hangup_time: Duration = Field(10.0, description="How long one may go on after the caller has hung up.")
    cpu: Duration = Field(30.0, description="Processor time that one may use, with all that it starts.")
    memory: Size = Field(
        512 * 1024**2, description="Memory that each of its processes may have mapped, and all together in RAM."
    )
    processes: int = Field(64, description="Processes that one may be, with all that it starts.", ge=1)
    at_once: int = Field(50, description="How many may run at the same time.", ge=0)


class Agi(Part):
    """The FastAGI server."""

    listen: Address | None = at_start("127.0.0.1:4573", "host:port on which Asterisk finds it; empty is nowhere.")
    socket: AbsolutePath | None = at_start(None, "Unix socket on which it listens too, for a proxy; empty is none.")
    users: tuple[UserName, ...] = Field(
        ("asterisk",),
        description="Users of this machine, by name or number, who may connect beside root and pbxd's own.",
    )
    peers: tuple[Network, ...] = Field(
        (), description="Other hosts, or networks of them, that may connect: ['10.0.0.7']; see docs/dialplan.md."
    )
    sessions: int = Field(2000, description="Sessions at the same time; more are told BUSY.", ge=0)
    environment: Size = at_start(64 * 1024, "Longest environment that is taken.")
    reply: Size = at_start(256 * 1024, "Longest reply that is taken.")
    answer_time: Duration = Field(10.0, description="How long Asterisk may owe an answer that needs no caller.")
    session_time: Duration = Field(7200.0, description="How long a session may last.")
    drain: Duration = Field(
        2.0, description="How long running sessions get when pbxd stops; calls go on after that too."
    )
    lookup: Lookup = Field(default_factory=Lookup, description="Who calls.")
    hours: dict[Word, Hours] = Field(
        default_factory=dict, description="Opening hours by name, for the application route: see docs/dialplan.md."
    )
    agents: dict[Extension, Agent] = Field(
        default_factory=dict, description="Agents by number, for the application agent: see docs/dialplan.md."
    )
    pause_reasons: dict[Extension, Word] = Field(
        default_factory=dict, description="Why an agent pauses, by the key pressed: {'1': lunch}."
    )
    greeting: Greeting = Field(default_factory=Greeting, description="Voicemail greetings.")
    directory: Directory = Field(default_factory=Directory, description="Dial by name.")
    scripts: Scripts = Field(default_factory=Scripts, description="AGI scripts of the customer.")

    @model_validator(mode="after")
    def keys_are_digits(self) -> Agi:
        """Agents and reasons are chosen on a keypad."""
        for what, given in (("agents", self.agents), ("pause_reasons", self.pause_reasons)):
            wrong = [name for name in given if not name.isdecimal()]
            if wrong:
                raise ValueError(f"agi.{what}: {wrong[0]!r} cannot be keyed: digits only")
        return self
