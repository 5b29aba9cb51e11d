"""The keys of `people`: who there is, and what they may do."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pbxd.config.part import Part
from pbxd.config.values import Extension

NAME = r"^[a-z0-9][a-z0-9._-]{0,39}$"


class PersonEntry(Part):
    """One person."""

    name: str = Field(description="What the person is called here and in the audit log; root is taken.", pattern=NAME)
    full_name: str = Field("", description="The name that others see.")
    login: str = Field("", description="User of this machine who is this person, for pbxctl; empty is none.")
    role: Literal["user", "supervisor", "admin", "auditor"] = Field(
        "user", description="What the person may do: see docs/access.md."
    )
    extensions: tuple[Extension, ...] = Field((), description="The person's own numbers.")
    mailboxes: tuple[Extension, ...] = Field((), description="The person's own mailboxes.")
    teams: tuple[str, ...] = Field((), description="Teams that the person belongs to; a queue may be a team.")
    supervises: tuple[str, ...] = Field((), description="Teams whose recordings a supervisor may hear.")


def check_people(people: tuple[PersonEntry, ...]) -> tuple[PersonEntry, ...]:
    """Names, logins and extensions are one person's each. ValueError if not."""
    for what in ("name", "login"):
        values = [value for person in people if (value := getattr(person, what))]
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise ValueError(f"two people have the {what} {twice[0]}")
    if any("root" in (person.name, person.login) for person in people):
        raise ValueError("root is there already, and may do everything")
    numbers = [number for person in people for number in set(person.extensions)]
    if twice := sorted({number for number in numbers if numbers.count(number) > 1}):
        raise ValueError(f"two people have the extension {twice[0]}; what is shared is a team's")
    wrong = [person.name for person in people if person.supervises and person.role != "supervisor"]
    if wrong:
        raise ValueError(f"{wrong[0]} supervises teams and has not the role supervisor")
    return people
