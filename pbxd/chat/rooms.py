"""Who writes to whom: rooms, members, numbers and phones, from the configuration. No I/O.

A room is a group, which the configuration names, or direct, between two people; a direct room is made by its first message and is
called after the two of them: `anna+bert`. A phone or a person writes to a room's number or name, a person's extension or name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pbxd.comms.people import ROOT, Directory, Person
from pbxd.errors import ChatRefused

RoomKind = Literal["direct", "group"]
BETWEEN = "+"  # in the name of a direct room; no name of a person or a group holds it


@dataclass(frozen=True, slots=True)
class Group:
    """A group room as it is configured."""

    name: str
    title: str = ""
    number: str = ""
    members: frozenset[str] = frozenset()
    teams: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Room:
    """A room that can be written to."""

    name: str
    kind: RoomKind
    members: frozenset[str]
    title: str = ""
    number: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the configuration says of chats, without the people."""

    groups: tuple[Group, ...] = ()
    phones: Mapping[str, str] = field(default_factory=dict)  # endpoint -> extension, where they differ
    mute: frozenset[str] = frozenset()  # extensions whose phones get no messages
    phoning: bool = True  # whether any phone gets messages


def direct_name(one: str, other: str) -> str:
    """The name of the room of two people."""
    return BETWEEN.join(sorted((one, other)))


def takes_part(person: Person) -> bool:
    """Whether a person can be in a room: an auditor reads the audit log and nothing else."""
    return person.role not in ("auditor", "nobody")


class Addresses:
    """Looks up rooms, people and phones of one configuration."""

    def __init__(self, people: Directory, plan: Plan) -> None:
        self._people = people
        self._mute = plan.mute
        self._phoning = plan.phoning
        self._by_extension = {number: person for person in people for number in person.extensions}
        self._extension = dict(plan.phones)
        self._endpoints: dict[str, list[str]] = {}
        for endpoint, extension in plan.phones.items():
            self._endpoints.setdefault(extension, []).append(endpoint)
        self._groups = {group.name: self._room_of(group) for group in plan.groups}
        self._numbers = {room.number: room for room in self._groups.values() if room.number}

    def _room_of(self, group: Group) -> Room:
        members = frozenset(
            person.name
            for person in self._people
            if takes_part(person) and (person.name in group.members or person.teams & group.teams)
        )
        return Room(group.name, "group", members, group.title or group.name, group.number)

    @property
    def groups(self) -> Iterable[Room]:
        """All group rooms."""
        return self._groups.values()

    def group(self, name: str) -> Room | None:
        """The group room of this name."""
        return self._groups.get(name)

    def person(self, name: str) -> Person | None:
        """The person of this name; root is one."""
        return ROOT if name == ROOT.name else self._people.by_name(name)

    def target(self, who: Person, to: str) -> Room:
        """The room that `who` means by `to`, whether or not they may write there. ChatRefused if there is none."""
        to = to.strip()
        if (room := self._groups.get(to) or self._numbers.get(to)) is not None:
            return room
        if BETWEEN in to:
            return self._direct(to)
        other = self._by_extension.get(to) or self.person(to)
        if other is None or not takes_part(other):
            raise ChatRefused(nobody(to))
        if other.name == who.name:
            raise ChatRefused("nobody can write to themselves")
        return Room(direct_name(who.name, other.name), "direct", frozenset({who.name, other.name}))

    def _direct(self, name: str) -> Room:
        """The direct room of this name, whoever asks."""
        members = frozenset(name.split(BETWEEN))
        known = [person for member in members if (person := self.person(member)) is not None and takes_part(person)]
        if len(members) != 2 or len(known) != 2 or name != direct_name(*members):
            raise ChatRefused(nobody(name))
        return Room(name, "direct", members)

    def owner_of(self, endpoint: str) -> Person | None:
        """The person whose phone this endpoint is."""
        return self._by_extension.get(self._extension.get(endpoint, endpoint))

    def phones_of(self, name: str) -> tuple[str, ...]:
        """The endpoints of a person that can show messages."""
        person = self._people.by_name(name)
        if person is None or not self._phoning or not takes_part(person):
            return ()
        numbers = sorted(person.extensions - self._mute)
        return tuple(endpoint for number in numbers for endpoint in self._endpoints.get(number, [number]))

    def reply_address(self, room: str, sender: str) -> str:
        """What a phone shows as the sender of a message, and answers to: a number if there is one."""
        if (group := self._groups.get(room)) is not None:
            return group.number or group.name
        person = self._people.by_name(sender)
        return min(person.extensions, default=sender) if person is not None else sender

    def display(self, name: str) -> str:
        """How a person is called."""
        person = self._people.by_name(name)
        return (person.full_name if person is not None else "") or name


def nobody(to: str) -> str:
    """What is said of an address that leads nowhere, and of a room that is not theirs: the same."""
    return f"there is no person and no room {to[:80]!r} that you may write to"
