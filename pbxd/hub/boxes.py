"""Boxes in the store: tokens, enrolment, certificates, revocation, and who holds a box's connection."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Literal

import asyncssh
from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.errors import HubError, NoteError
from pbxd.hub import certificates
from pbxd.hub.database import Database, changed, now, rows, run
from pbxd.hub.keys import line_of
from pbxd.uplink.notes import Verifier

SECOND = 1_000_000
TOKEN_BYTES = 32  # of randomness

Verdict = Literal["good", "unknown", "expired"]


class TokenRefused(HubError):
    """An enrolment that the token does not allow; the message may be said to the box."""


@dataclass(frozen=True, slots=True)
class BoxRow:
    """What the store says of a box."""

    number: int
    id: str
    name: str
    key: str
    ledger: int  # the row of `ledgers`
    serial: int
    until: int  # microseconds
    revoked: int | None
    version: str
    seen: int | None
    session: str | None
    node: str | None


SAME = "SELECT 1 FROM boxes JOIN ledgers ON ledgers.id = ledger WHERE number = ? AND key = ? AND verifier = ?"
COLUMNS = "number, id, name, key, ledger, serial, until, revoked, version, seen, session, node"


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What a box is given."""

    box: str
    certificate: str
    until: int  # microseconds


@dataclass(frozen=True, slots=True)
class Wish:
    """What a box says of itself when it enrols."""

    key: str
    ledger: str  # verifier key
    name: str


def digest(token: str) -> str:
    """What the store keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


async def find(database: Database, box: str) -> BoxRow | None:
    """A box by its id."""
    found = await database.read("reading a box", f"SELECT {COLUMNS} FROM boxes WHERE id = ?", box)
    return BoxRow(*found[0]) if found else None


async def get(database: Database, box: str) -> BoxRow:
    """A box by its id. HubError if there is none."""
    found = await find(database, box)
    if found is None:
        raise HubError(f"there is no box {box}; `pbxhub boxes` lists them")
    return found


async def new_token(database: Database, length: float, note: str, box: BoxRow | None) -> str:
    """A token for one enrolment within `length` seconds; with `box`, to enrol that one anew."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    made = now()
    sql = "INSERT INTO tokens (sha256, note, made, expires, box) VALUES (?, ?, ?, ?, ?)"
    number = None if box is None else box.number
    await database.write("making a token", sql, digest(token), note, made, made + int(length * SECOND), number)
    return token


async def judge_token(database: Database, token: str) -> Verdict:
    """Whether a token lets somebody ask for an enrolment; a used one does while it lasts, see `enrol`."""
    found = await database.read("reading a token", "SELECT expires FROM tokens WHERE sha256 = ?", digest(token))
    if not found:
        return "unknown"
    return "good" if found[0][0] > now() else "expired"


async def enrol(database: Database, authority: asyncssh.SSHKey, token: str, wish: Wish, length: float) -> Enrolled:
    """Make a box of a token, once. The same wish again gets the same box: an answer that was lost costs no token.

    TokenRefused if the token does not allow it, HubError if the key or the ledger is none.
    """
    key = line_of(wish.key)
    try:
        verifier = Verifier.of(wish.ledger)
    except NoteError as error:
        raise HubError(str(error)) from error
    at = now()
    async with database.writing("enrolling a box") as connection:
        await run(connection, "UPDATE tokens SET note = note WHERE sha256 = ?", digest(token))  # nobody else now
        found = await rows(connection, "SELECT expires, box, used FROM tokens WHERE sha256 = ?", digest(token))
        if not found or found[0][0] <= at:
            raise TokenRefused("the token is not known, or its time is over; ask for a new one")
        _, number, used = found[0]
        if used is None:
            number = await _put(connection, number, key, wish.name, at)
            await run(connection, "UPDATE tokens SET used = ?, box = ? WHERE sha256 = ?", at, number, digest(token))
        elif not await rows(connection, SAME, number, key, verifier.text):
            raise TokenRefused("the token was used already, by another key; a token is good for one box")
        await _use_ledger(connection, number, verifier)
        return await certify(connection, authority, number, length)


async def _put(connection: AsyncConnection, number: int | None, key: str, name: str, at: int) -> int:
    """The row of a new box, or a new key for one that is there; its number."""
    if number is not None:
        sql = "UPDATE boxes SET key = ?, name = ?, enrolled = ?, revoked = NULL, revoked_why = '' WHERE number = ?"
        await run(connection, sql, key, name, at, number)
        await changed(connection, number)
        return number
    sql = (
        "INSERT INTO boxes (id, name, key, ledger, serial, until, enrolled, revoked_why, version)"
        " VALUES (?, ?, ?, 0, 0, 0, ?, '', '') RETURNING number"
    )
    ((made,),) = await rows(connection, sql, secrets.token_hex(8), name, key, at)
    return int(made)


async def _use_ledger(connection: AsyncConnection, number: int, verifier: Verifier) -> None:
    sql = (
        'INSERT INTO ledgers (box, sha256, verifier, "next") VALUES (?, ?, ?, 0)'
        " ON CONFLICT (box, sha256) DO UPDATE SET verifier = excluded.verifier RETURNING id"
    )
    ((ledger,),) = await rows(connection, sql, number, verifier.fingerprint, verifier.text)
    await run(connection, "UPDATE boxes SET ledger = ? WHERE number = ?", ledger, number)


async def certify(connection: AsyncConnection, authority: asyncssh.SSHKey, number: int, length: float) -> Enrolled:
    """A new certificate for a box, in the transaction of `connection`."""
    at = now()
    until = at + int(length * SECOND)
    sql = "UPDATE boxes SET serial = serial + 1, until = ? WHERE number = ? RETURNING id, key, serial"
    ((box, key, serial),) = await rows(connection, sql, until, number)
    certificate = certificates.for_box(authority, key, box, serial, (at // SECOND, until // SECOND))
    return Enrolled(box, certificate, until)


async def renew(database: Database, authority: asyncssh.SSHKey, number: int, length: float) -> Enrolled:
    """A new certificate for a box whose own ends soon."""
    async with database.writing("renewing a certificate") as connection:
        return await certify(connection, authority, number, length)


async def revoke(database: Database, box: BoxRow, why: str) -> None:
    """Let a box in no more, and end its connection wherever it is."""
    async with database.writing("revoking a box") as connection:
        sql = "UPDATE boxes SET revoked = ?, revoked_why = ? WHERE number = ?"
        await run(connection, sql, now(), why, box.number)
        await changed(connection, box.number)


async def alarm(connection: AsyncConnection, box: int, kind: str, text: str) -> bool:
    """Tell the operator, once of the same thing; whether it is new."""
    same = "SELECT 1 FROM alarms WHERE box = ? AND kind = ? AND text = ?"
    if await rows(connection, same, box, kind, text):
        return False
    sql = "INSERT INTO alarms (box, at, kind, text) VALUES (?, ?, ?, ?)"
    await run(connection, sql, box, now(), kind, text)
    return True


async def hold(database: Database, number: int, session: str, node: str, version: str) -> None:
    """This connection is now the one that may write for the box."""
    sql = "UPDATE boxes SET session = ?, node = ?, version = ?, seen = ? WHERE number = ?"
    await database.write("beginning a connection", sql, session, node, version, now(), number)


async def let_go(database: Database, number: int, session: str) -> None:
    """This connection has ended."""
    sql = "UPDATE boxes SET session = NULL, seen = ? WHERE number = ? AND session = ?"
    await database.write("ending a connection", sql, now(), number, session)


async def let_all_go(database: Database, node: str) -> None:
    """A node has no connection any more: it ends, or it begins after an end that it did not see."""
    sql = "UPDATE boxes SET session = NULL, seen = ? WHERE node = ? AND session IS NOT NULL"
    await database.write("ending all connections", sql, now(), node)
    await database.write("ending all links", "UPDATE links SET ended = ? WHERE node = ? AND ended IS NULL", now(), node)
