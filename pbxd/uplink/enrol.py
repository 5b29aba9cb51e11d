"""Enrolment: the public halves of the box's keys go to the hub with a one-time token, a certificate comes back."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import asyncssh

from pbxd import __version__
from pbxd.errors import HubAway, HubRefused
from pbxd.uplink.enrolment import LinkSettings
from pbxd.uplink.frames import ENROL_DOWN, Decoder, Frame, encode, frame
from pbxd.uplink.secure import WHYS, dial
from pbxd.uplink.vocabulary import ENROL_SUBSYSTEM, ENROL_USER, PROTOCOL

PATIENCE = 30.0  # s for the hub's answer
READ = 64 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Applicant:
    """What a box says of itself: the public halves of its keys, and its name."""

    key: str  # OpenSSH public key line
    ledger: str  # C2SP verifier key
    name: str
    classical_kex: bool = False  # see LinkSettings


async def enrol(hub: str, host_keys: tuple[str, ...], token: str, who: Applicant) -> dict[str, Any]:
    """The hub's answer: `box`, `certificate`, `until`, `support_ca`, `message_key`.

    HubAway, HubUntrusted or HubRefused say why there is none.
    """
    settings = LinkSettings(
        hub, host_keys, 10.0, 2, 0.0, 0.0, None, who.ledger, __version__, "", who.classical_kex
    )  # fmt: skip
    connection = await dial(settings, ENROL_USER, None, time.time(), password=token)
    try:
        async with asyncio.timeout(PATIENCE):
            answer = await _ask(connection, who)
    except TimeoutError as error:
        raise HubAway(f"{hub} did not answer within {PATIENCE:.0f} s; the token is still good") from error
    except (OSError, asyncssh.Error) as error:
        raise HubAway(f"{hub} ended the connection: {error or type(error).__name__}") from error
    finally:
        connection.abort()
    if answer.type == "refused":
        raise HubRefused(answer["why"], f"{answer['detail']} ({WHYS.get(answer['why'], answer['why'])})")
    return dict(answer.fields)


async def _ask(connection: asyncssh.SSHClientConnection, who: Applicant) -> Frame:
    writer, reader, _ = await connection.open_session(subsystem=ENROL_SUBSYSTEM, encoding=None)
    writer.write(encode(frame("enrol", protocol=PROTOCOL, key=who.key, ledger=who.ledger, name=who.name)))
    decoder = Decoder(ENROL_DOWN)
    while data := await reader.read(READ):
        for answer in decoder.feed(data):
            return answer
    raise HubAway("the hub closed the connection without an answer; the token is still good")
