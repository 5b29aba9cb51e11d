"""What is handed over: all messages of some mailboxes, their facts and greetings; made while it is sent, on no disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from pbxd.comms.chain import Entry
from pbxd.comms.handover import File, as_json, detail_of, whole
from pbxd.comms.handover import Granted as Handed
from pbxd.comms.people import Directory, Person
from pbxd.errors import CommsError, SpoolError
from pbxd.voicemail.mailboxes import Granted, Mailboxes
from pbxd.voicemail.spool import Box, parse_box

NOTE = "Voice messages and what is known of each. index.json lists all of them; those that could not be read say why."
SECOND = 1_000_000  # µs


async def files(
    mailboxes: Mailboxes, of: str, boxes: list[Box], found: list[Granted], folder: str = ""
) -> AsyncIterator[File]:
    """Messages whose export was granted: a folder a mailbox, a file and a .json a message, greetings, index.json."""
    index: list[dict[str, Any]] = []
    for one in found:
        facts = one.facts
        try:
            sound = await mailboxes.granted(one)
        except (SpoolError, CommsError) as error:
            index.append(facts | {"error": str(error)})
            continue
        name = f"{facts['box']}/{'archive' if facts['archived'] else facts['folder']}/{stem(facts)}"
        index.append(facts | {"file": f"{name}.{sound.format}"})
        yield whole(f"{folder}{name}.{sound.format}", facts["when"] * SECOND, sound.data)
        yield whole(f"{folder}{name}.json", facts["when"] * SECOND, as_json(facts))
    now = int(time.time())
    greetings = []
    for box in boxes:
        for name, data in (await asyncio.to_thread(mailboxes.greeting_files, box)).items():
            greetings.append(f"{box}/greetings/{name}")
            yield whole(folder + greetings[-1], now * SECOND, data)
    said = {"of": of, "made": now, "note": NOTE, "boxes": [str(box) for box in boxes], "messages": index}
    yield whole(f"{folder}index.json", now * SECOND, as_json(said | {"greetings": greetings}))


def stem(facts: dict[str, Any]) -> str:
    """The name of a message's file. Its id would not do: where one was forwarded twice, two have the same one."""
    return f"{facts['id'] or facts['when']}-{facts['number'] if facts['archived'] is None else facts['object'][-8:]}"


def own_boxes(people: Directory, person: Person) -> list[Box]:
    """The mailboxes that are this person's alone."""
    return [parse_box(box) for box in sorted(person.mailboxes) if person.name in people.owners(mailbox=box)[0]]


class VoicemailOf:
    """Source of an access request: mailboxes that are the person's alone. Those of several people are their teams'."""

    def __init__(self, mailboxes: Mailboxes, people: Directory) -> None:
        self._mailboxes = mailboxes
        self._people = people

    async def grant(self, who: Person, person: Person) -> Handed:
        """AccessRefused if they are not theirs."""
        boxes = own_boxes(self._people, person)
        found = await self._mailboxes.export(who, person.name, boxes)
        names = set(map(str, boxes))

        def concerns(row: Entry) -> bool:
            return row.kind == "voicemail" and (row.subject in names or detail_of(row).get("box") in names)

        return Handed(files(self._mailboxes, person.name, boxes, found, "voicemail/"), concerns)
