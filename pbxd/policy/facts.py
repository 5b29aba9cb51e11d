"""What was seen on the box, and what is said of each clause. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pbxd.comms.theft import Theft
from pbxd.config.schema import Config

State = Literal["kept", "warning", "broken", "not applicable"]  # warning: not kept whole, or not to be seen from here


@dataclass(frozen=True, slots=True)
class Verdict:
    """One clause."""

    clause: str  # P1 … P14
    state: State
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Process:
    """A process of ours, and what it holds of the network."""

    pid: int
    uid: int
    listening: tuple[str, ...] = ()  # TCP addresses, host:port
    connected: tuple[str, ...] = ()  # TCP addresses of other ends
    groups: tuple[int, ...] = ()  # its own and its supplementary ones
    powers: tuple[str, ...] = ()  # that let it past the rights of files: an id of root's, capabilities
    udp: tuple[str, ...] = ()  # of what sends without a connection: UDP, UDP-Lite, raw; kind and address

    @property
    def networked(self) -> bool:
        """Whether it holds any socket of the network."""
        return bool(self.listening or self.connected or self.udp)


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What the ledger holds, looked at with nothing but its files and its public key."""

    lines: int
    faults: tuple[str, ...]
    entries: Mapping[str, int] = field(default_factory=dict)  # by class
    misfits: tuple[str, ...] = ()  # bodies that are not of the form of their class
    usage: Mapping[str, str] = field(default_factory=dict)  # what the latest report of health told of use
    bodies: int = 0  # that are there still, and were looked at
    unsent_stats: int = 0
    stats_off: bool = False  # whether its last word is that statistics are switched off
    stats_after_off: int = 0  # entries of class stats behind the line that switched statistics off
    events: tuple[Mapping[str, Any], ...] = ()  # lines about support: event and its facts


@dataclass(frozen=True, slots=True)
class TicketFacts:
    """A support ticket."""

    id: str
    state: str
    reason: str
    seconds: float  # that it was to be open
    sessions: tuple[tuple[int, str, str], ...]  # number, sum in the ticket's log, sum of the recording now ("" is none)
    entered: Mapping[str, str] = field(default_factory=dict)  # as its line in the ledger has to be


@dataclass(frozen=True, slots=True)
class Searched:
    """A search for the configuration's secrets."""

    secrets: int  # that were looked for
    short: int  # too short to be looked for: they would be in every text by chance
    found: tuple[str, ...] = ()  # places where one stands
    read: tuple[str, ...] = ()  # what was looked through
    unread: tuple[str, ...] = ()  # what could not be


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was seen."""

    config: Config
    enrolled: bool
    core: Process
    links: tuple[Process, ...]  # all that are this box's link, by what they hold or how they were started
    locked: bool  # whether some process says, by its lock, that it is this box's link
    support: tuple[Process, ...]  # processes that hold sessions, or were left by one
    switched_off: bool  # by `pbxctl uplink off` or uplink.enabled
    eyes: str  # as whom the stores were tried: the link's user, or nobody
    opened: Mapping[str, str]  # store -> "" if the operating system refused, "absent", or what could be read
    modes: tuple[str, ...]  # files and folders that others than their owner can get at, and should not
    control: str  # what the control socket says to the link's user; "" if it refuses
    ledger: LedgerFacts | None
    tickets: tuple[TicketFacts, ...] = ()
    support_socket: bool = False
    unlike: tuple[str, ...] = ()  # what pbxd or the link go by, where it is not what the configuration file says
    audit: tuple[str, ...] | None = None  # faults of the audit log; None where there is none
    theft: Theft | None = None  # what a thief of the store's disk has; None where nothing is kept
    clear: tuple[str, ...] = ()  # folders on a disk in which pbxd or Asterisk keep sound as it is
    objects: int = 0  # stored recordings, voicemail, chats
    plain: tuple[str, ...] = ()  # of those, what is not encrypted
    searched: Searched = Searched(0, 0)  # for secrets of the configuration
    messages: tuple[Mapping[str, Any], ...] = ()
    columns: tuple[str, ...] = ()  # names of the databases' columns
    findings: tuple[Mapping[str, str], ...] = ()  # the doctor's
