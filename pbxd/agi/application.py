"""What an application is, what it may use beside the call, and how a session can end."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from pbxd.agi.guard import Guard
from pbxd.agi.session import Request, Session
from pbxd.config.agi import Agi


class Status(StrEnum):
    """How a session ended: `PBXD_STATUS` in the dialplan, beside Asterisk's own AGISTATUS."""

    OK = "OK"
    NOROUTE = "NOROUTE"  # no application and no script of that name
    ERROR = "ERROR"  # the application failed; the log says how
    TIMEOUT = "TIMEOUT"  # Asterisk, the application or the script took too long
    BUSY = "BUSY"  # too many sessions, or too many scripts
    HANGUP = "HANGUP"  # the caller hung up meanwhile
    STOPPED = "STOPPED"  # pbxd is stopping

    __hash__ = str.__hash__  # Enum's own is Python code, and this is looked up several times a session


class Recorder(Protocol):
    """Who records calls."""

    def ask(self, uniqueid: str, what: str) -> None:
        """`start`, `stop`, `pause` or `resume` the recording of this channel's call. RecordingError if there is none."""

    def payment(self, uniqueid: str, *, begins: bool) -> None:
        """Somebody pays in this channel's call, or no longer does."""

    def classify(self, uniqueid: str, kind: str) -> None:
        """The call of this channel is of this class. RecordingError if there is no such class."""

    def consented(self, uniqueid: str) -> None:
        """The announcement was heard on this channel, to its end."""


class Chat(Protocol):
    """Who keeps chats."""

    async def from_phone(self, sender: str, to: str, text: str, *, token: str = "", missing: int = 0) -> str:
        """Keep a SIP MESSAGE of a phone; what to answer it, empty if it is kept.

        `sender` is its From header; `token` is the same when it comes again; `missing` is the length of a body that did not come.
        """


@dataclass(slots=True)
class Services:
    """What applications may use beside the session. One for the whole server; a reload replaces its values."""

    config: Agi
    zone: str = "UTC"  # the site's time zone, an IANA name
    now: Callable[[], float] = time.time  # epoch seconds
    recorder: Recorder | None = None  # None: nothing is recorded
    chat: Chat | None = None  # None: there are no chats
    announcement: str = ""  # sound that says that the call is recorded
    guard: Guard = field(default_factory=Guard)  # counts wrong PINs


Application = Callable[[Session, Request, Services], Awaitable[None]]
