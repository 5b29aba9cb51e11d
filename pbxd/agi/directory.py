"""`directory`: dial by name on the letters of a keypad.

The first three keys or more of a name, then # (or a pause); each one who matches is named: by the name that is recorded in
the mailbox, else spelled. 1 takes the person, * goes on to the next. Sets `PBXD_EXTENSION`, empty if nobody was chosen; the
dialplan goes there.
"""

from __future__ import annotations

from pbxd.agi.application import Services
from pbxd.agi.keypad import matches
from pbxd.agi.prompts import ask, choose, play
from pbxd.agi.session import Request, Session
from pbxd.config.agi import Directory, Person
from pbxd.errors import AGIAppError, AGIHangup

TRIES = 3
MOST = 9  # people that are named for one try: more would be no help by phone


def those(keys: str, config: Directory) -> list[tuple[str, Person]]:
    """Who matches: by the name that is keyed first, then by the other; by extension within."""
    first = [
        (number, person)
        for number, person in sorted(config.people.items())
        if matches(keys, getattr(person, config.by))
    ]
    other = "first" if config.by == "last" else "last"
    second = [
        (number, person) for number, person in sorted(config.people.items()) if matches(keys, getattr(person, other))
    ]
    return [*first, *(pair for pair in second if pair not in first)][:MOST]


async def directory(session: Session, _request: Request, services: Services) -> None:
    """The application."""
    await session.answer()
    config = services.config.directory
    await session.set_variable("PBXD_EXTENSION", "")
    for _ in range(TRIES):
        keys = await ask(session, "dir-intro" if config.by == "last" else "dir-intro-fn")
        people = those(keys, config)
        if not people:
            await play(session, "dir-nomatch")
            continue
        for number, person in people:
            key = await say(session, person, "1*") or await choose(session, "1*", "dir-instr")
            if key == "1":
                await session.set_variable("PBXD_EXTENSION", number)
                return
        await play(session, "dir-nomore")


async def say(session: Session, person: Person, escape: str) -> str:
    """The person's own recorded name, or the name spelled; the key of `escape` that ended it."""
    if person.mailbox:
        mailbox, _, context = person.mailbox.partition("@")
        folder = await session.get_variable("ASTSPOOLDIR")
        try:
            return await session.stream_file(f"{folder}/voicemail/{context}/{mailbox}/greet", escape)
        except AGIHangup:
            raise
        except AGIAppError:
            pass  # none was recorded
    return await session.say_alpha(f"{person.first} {person.last}".strip(), escape)
