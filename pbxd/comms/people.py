"""Who may do what with whose communications: one table, one function, no I/O. docs/access.md is written from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pbxd.config.people import PersonEntry

Role = Literal["user", "supervisor", "admin", "auditor", "root", "system", "nobody"]
Kind = Literal["recording", "voicemail", "chat", "person", "audit", "vault"]  # person: all that is kept of one
# see: that it is there, and its facts. export: content and facts of all that concerns a person. run: verify, rekey, status.
# start, stop, pause, resume: the recording of a call in progress.
# change, of a recording: its class; of a mailbox: mark, move and archive messages, set greetings.
# send: forward messages; write in a chat.
Action = Literal[
    "see", "play", "download", "export", "delete", "hold", "release", "send", "change", "run",
    "start", "stop", "pause", "resume",
]  # fmt: skip
CONTENT: frozenset[Action] = frozenset({"play", "download", "export"})


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks."""

    name: str
    role: Role
    full_name: str = ""
    extensions: frozenset[str] = frozenset()
    mailboxes: frozenset[str] = frozenset()
    teams: frozenset[str] = frozenset()
    supervises: frozenset[str] = frozenset()


ROOT = Person("root", "root")
SYSTEM = Person("pbxd", "system")  # pbxd itself: retention, archiving


@dataclass(frozen=True, slots=True)
class Thing:
    """What it is about."""

    kind: Kind
    id: str = ""
    owners: frozenset[str] = frozenset()  # names of people who took part, whose mailbox it is, who are in the room
    teams: frozenset[str] = frozenset()  # of the owners, and the queue


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether it is allowed, and why."""

    allowed: bool
    reason: str


ALL: frozenset[Action] = frozenset(get_args(Action))
NONE: frozenset[Action] = frozenset()
OWN: dict[Kind, frozenset[Action]] = {  # what people may do with their own; nobody is an owner of audit and vault
    "recording": frozenset({"see", "play", "download", "export", "start", "pause", "resume"}),
    "voicemail": frozenset({"see", "play", "download", "export", "delete", "send", "change"}),
    "chat": frozenset({"see", "play", "download", "export", "delete", "send"}),
    "person": frozenset({"export"}),
}
TEAM: dict[Kind, frozenset[Action]] = {  # what supervisors may do with their teams'
    "recording": frozenset({"see", "play", "download"}),
    "voicemail": frozenset({"see", "play", "download"}),  # a mailbox of the team; one of a person is that person's
}
OFFICE: dict[Role, dict[Kind, frozenset[Action]]] = {  # what comes with the role, whoever's it is
    "admin": {
        "recording": frozenset({"see", "delete", "hold", "release", "change", "start", "stop", "pause", "resume"}),
        "voicemail": frozenset({"see", "delete", "hold", "release", "change"}),
        "chat": frozenset({"see", "delete", "hold", "release"}),
        "vault": frozenset({"see", "run"}),
    },
    "auditor": {"audit": frozenset({"see", "run"})},
    "root": dict.fromkeys(get_args(Kind), ALL),
    "system": {
        "recording": frozenset({"delete"}),
        "voicemail": frozenset({"see", "delete"}),
        "chat": frozenset({"delete"}),
    },
}


def may(person: Person, action: Action, thing: Thing) -> Decision:
    """Whether `person` may do `action` with `thing`, and the reason in words."""
    if person.role == "nobody":
        return Decision(allowed=False, reason=f"{person.name} is nobody that `people` names")
    if action in OFFICE.get(person.role, {}).get(thing.kind, NONE):
        return Decision(allowed=True, reason=f"the role {person.role}")
    if person.role != "auditor" and person.name in thing.owners and action in OWN.get(thing.kind, NONE):
        return Decision(allowed=True, reason="their own")
    team = sorted(person.supervises & thing.teams)
    shared = thing.kind != "voicemail" or not thing.owners
    if person.role == "supervisor" and team and shared and action in TEAM.get(thing.kind, NONE):
        return Decision(allowed=True, reason=f"supervises {team[0]}")
    return Decision(allowed=False, reason=_why_not(person, action, thing))


def _why_not(person: Person, action: Action, thing: Thing) -> str:
    what = f"{action} {thing.kind}"
    if person.role == "auditor":
        return f"{what}: an auditor reads the audit log, and nothing else"
    if person.name in thing.owners:
        return f"{what}: not even of one's own"
    if person.role == "admin" and action in CONTENT:
        return f"{what}: an admin takes care of it, and does not hear or read it"
    return f"{what}: it is not theirs"


def full_mailbox(name: str) -> str:
    """`101@default` of `101`: a mailbox of another context is another's."""
    return name if "@" in name else f"{name}@default"


class Directory:
    """The people of a configuration."""

    def __init__(self, people: Sequence[PersonEntry]) -> None:
        self._people = {
            entry.name: Person(
                entry.name, entry.role, entry.full_name, frozenset(entry.extensions),
                frozenset(map(full_mailbox, entry.mailboxes)),
                frozenset(entry.teams), frozenset(entry.supervises),
            )
            for entry in people
        }  # fmt: skip
        self._logins = {entry.login: entry.name for entry in people if entry.login}

    def __iter__(self) -> Iterator[Person]:
        return iter(self._people.values())

    def by_name(self, name: str) -> Person | None:
        """The person of this name."""
        return self._people.get(name)

    def by_login(self, login: str) -> Person:
        """Who a user of this machine is: root, a person, or nobody."""
        if login == "root":
            return ROOT
        name = self._logins.get(login)
        return self._people[name] if name is not None else Person(login, "nobody")

    def numbers(self, teams: frozenset[str]) -> frozenset[str]:
        """The extensions of the people of these teams."""
        return frozenset().union(*(person.extensions for person in self._people.values() if person.teams & teams))

    def owners(self, extensions: Iterable[str] = (), mailbox: str = "") -> tuple[frozenset[str], frozenset[str]]:
        """The names of those whose extensions or mailbox these are, and their teams: `Thing.owners` and `Thing.teams`.

        A mailbox is `101` or `101@context`; one that is several people's is nobody's own: it is their teams'.
        """
        numbers = frozenset(extensions)
        found = [person for person in self._people.values() if person.extensions & numbers]
        box = full_mailbox(mailbox)
        holders = [person for person in self._people.values() if mailbox and box in person.mailboxes]
        own = found + (holders if len(holders) == 1 else [])
        return (
            frozenset(person.name for person in own),
            frozenset(team for person in found + holders for team in person.teams),
        )
