"""People of the vendor who may go through to boxes.

What they may do there is the box's own decision, by a certificate of the support CA.
"""

from __future__ import annotations

import re
from typing import Any

from pbxd.errors import HubError
from pbxd.hub.database import Database, changed, now, run
from pbxd.hub.keys import line_of
from pbxd.uplink.vocabulary import BOX_USER, ENROL_USER, SUPPORT_USER

PERSON = re.compile(r"[a-z][a-z0-9._-]{0,31}")
TICKET = re.compile(r"[0-9A-Za-z-]{4,40}")
EVERYBODY = 0  # stands in `changes` for all of the staff: no box has this number
TAKEN = (BOX_USER, ENROL_USER, SUPPORT_USER)


def check_person(person: str) -> str:
    """A person's name as SSH uses it. HubError if it is none."""
    if not PERSON.fullmatch(person) or person in TAKEN:
        raise HubError(
            f"{person[:40]!r} is no name of a person: small letters, digits, . _ -, and none of {', '.join(TAKEN)}"
        )
    return person


def check_ticket(ticket: str) -> str:
    """A ticket's id. HubError if it is none."""
    if not TICKET.fullmatch(ticket):
        raise HubError(f"{ticket[:50]!r} is no ticket: 4 to 40 letters, digits and -")
    return ticket


async def add(database: Database, person: str, key: str) -> None:
    """Let a person in by a key; a new key takes the place of the old one."""
    sql = (
        "INSERT INTO staff (person, key, added) VALUES (?, ?, ?)"
        " ON CONFLICT (person) DO UPDATE SET key = excluded.key, added = excluded.added"
    )
    await database.write("adding a person", sql, check_person(person), line_of(key), now())


async def remove(database: Database, person: str) -> None:
    """Let a person in no more, and end their connections. HubError if there is none such."""
    async with database.writing("removing a person") as connection:
        if not await run(connection, "DELETE FROM staff WHERE person = ?", person):
            raise HubError(f"there is no {person}; `pbxhub staff list` names them")
        await changed(connection, EVERYBODY)


async def key_of(database: Database, person: str) -> str | None:
    """A person's public key line; None if there is no such person."""
    found = await database.read("reading a person", "SELECT key FROM staff WHERE person = ?", person)
    return str(found[0][0]) if found else None


async def listed(database: Database) -> list[tuple[Any, ...]]:
    """Person, key, when added."""
    return await database.read("reading staff", "SELECT person, key, added FROM staff ORDER BY person")
