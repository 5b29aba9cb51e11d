"""`greeting`: record and choose the greetings of a mailbox by phone.

Asterisk itself checks the mailbox's PIN (VMAuthenticate), records, and puts the file in place: pbxd needs no right to the
spool, and no PIN passes through it. A new greeting is recorded beside the old one, and takes its place by one rename when
the caller accepts it: a call that ends meanwhile changes nothing. `greeting?mailbox=101@default` names the box, else
VMAuthenticate asks.

Keys: 1 unavailable, 2 busy, 3 the name, 4 the temporary greeting, which comes before the others while it is there; 5 takes
that away; after recording 1 accepts, 2 plays it, 3 records again. Sets `PBXD_GREETING`: the last that was changed
(`unavail`, `busy`, `greet`, `temp`, `removed`), or empty.
"""

from __future__ import annotations

import re

from pbxd.agi.application import Services
from pbxd.agi.prompts import choose, play
from pbxd.agi.session import Request, Session
from pbxd.errors import AGIAppError, AGIUsageError

KINDS = {
    "1": ("unavail", "vm-rec-unv"),
    "2": ("busy", "vm-rec-busy"),
    "3": ("greet", "vm-rec-name"),
    "4": ("temp", "vm-rec-temp"),
}
NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
FOLDER = re.compile(r"/[A-Za-z0-9._/-]{1,200}")
FORMATS = (
    "wav",
    "WAV",
    "wav49",
    "gsm",
    "ulaw",
    "alaw",
    "sln",
    "g722",
    "g729",
    "ogg",
    "opus",
)  # of an old greeting, to be taken away
OPTIONS = ("vm-options",)
MISTAKES = 3  # menus without an answer


async def greeting(session: Session, request: Request, services: Services) -> None:
    """The application."""
    asked = request.query.get("mailbox", "")
    if asked and not all(NAME.fullmatch(part) for part in asked.split("@", 1)):
        raise AGIUsageError(f"{asked!r} is no mailbox")
    await session.set_variable("PBXD_GREETING", "")
    await session.answer()
    folder = await folder_of(session, asked)
    form = services.config.greeting.format
    silent = 0
    while silent < MISTAKES:
        key = await choose(session, "12345*#", *OPTIONS)
        if key in ("*", "#"):
            break
        if key == "5":
            await remove(session, folder)
            silent = 0
        elif key in KINDS:
            await record(session, folder, *KINDS[key], form, services.config.greeting.longest)
            silent = 0
        else:
            silent += 1
    await play(session, "vm-goodbye")


async def folder_of(session: Session, asked: str) -> str:
    """The folder of the mailbox whose PIN was keyed. AGIAppError if none was."""
    done = await session.exec("VMAuthenticate", asked)
    mailbox, context = await session.get_variable("AUTH_MAILBOX"), await session.get_variable("AUTH_CONTEXT")
    context = context or asked.partition("@")[2] or "default"  # Asterisk 22 does not tell it when the box was named
    spool = await session.get_variable("ASTSPOOLDIR")
    if done != 0 or not (NAME.fullmatch(mailbox) and NAME.fullmatch(context) and FOLDER.fullmatch(spool)):
        raise AGIAppError("no mailbox was authenticated")
    return f"{spool}/voicemail/{context}/{mailbox}"


async def record(session: Session, folder: str, kind: str, prompt: str, form: str, longest: float) -> None:  # noqa: PLR0917
    """Record one greeting until it is accepted, or given up; the old one stays until then."""
    unfinished = f"{folder}/.pbxd-{kind}"
    await shell(session, f"mkdir -p -- {folder}")
    try:
        while True:
            await play(session, prompt)
            await session.record_file(unfinished, form, "#*", longest)
            key = "2"
            while key == "2":
                key = await choose(session, "123*", "vm-review") or "*"
                if key == "2":
                    await play(session, unfinished)
            if key == "1":
                await accept(session, folder, kind, form)
                await play(session, "auth-thankyou")
                return
            if key == "*":
                return
    finally:
        await shell(session, f"rm -f -- {unfinished}.{form}")


async def accept(session: Session, folder: str, kind: str, form: str) -> None:
    """Put the new greeting into its place, whole, and take away the old one in other formats: Asterisk would choose among them."""
    others = " ".join(f"{folder}/{kind}.{other}" for other in FORMATS if other != form)
    await shell(session, f"mv -f -- {folder}/.pbxd-{kind}.{form} {folder}/{kind}.{form} && rm -f -- {others}")
    await session.set_variable("PBXD_GREETING", kind)


async def remove(session: Session, folder: str) -> None:
    """Take the temporary greeting away."""
    await shell(session, "rm -f -- " + " ".join(f"{folder}/temp.{form}" for form in FORMATS))
    await session.set_variable("PBXD_GREETING", "removed")
    await play(session, "vm-tempremoved")


async def shell(session: Session, line: str) -> None:
    """Let Asterisk run a command as its own user. AGIAppError if it fails. Every word of it is ours or checked: NAME, FOLDER."""
    await session.exec("TrySystem", line)
    status = await session.get_variable("SYSTEMSTATUS")
    if status != "SUCCESS":
        raise AGIAppError(f"Asterisk could not do `{line[:60]}…`: {status}")
