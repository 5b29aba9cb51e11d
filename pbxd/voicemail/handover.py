"""What is handed over: all messages of some mailboxes, their facts and greetings, as one tar; made while it is sent, on no disk."""

from __future__ import annotations

import asyncio
import json
import tarfile
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from pbxd.errors import CommsError, SpoolError
from pbxd.voicemail.mailboxes import Granted, Mailboxes
from pbxd.voicemail.spool import Box

NOTE = "Voice messages and what is known of each. index.json lists all of them; those that could not be read say why."


async def packed(mailboxes: Mailboxes, of: str, boxes: list[Box], found: list[Granted]) -> AsyncIterator[bytes]:
    """A tar of messages whose export was granted: a folder a mailbox, a file and a .json a message, greetings, index.json."""
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
        yield member(f"{name}.{sound.format}", sound.data, facts["when"])
        yield member(f"{name}.json", _json(facts), facts["when"])
    now = int(time.time())
    greetings = []
    for box in boxes:
        for name, data in (await asyncio.to_thread(mailboxes.greeting_files, box)).items():
            greetings.append(f"{box}/greetings/{name}")
            yield member(greetings[-1], data, now)
    said = {"of": of, "made": now, "note": NOTE, "boxes": [str(box) for box in boxes], "messages": index}
    yield member("index.json", _json(said | {"greetings": greetings}), now)
    yield bytes(2 * tarfile.BLOCKSIZE)


def stem(facts: dict[str, Any]) -> str:
    """The name of a message's file. Its id would not do: where one was forwarded twice, two have the same one."""
    return f"{facts['id'] or facts['when']}-{facts['number'] if facts['archived'] is None else facts['object'][-8:]}"


def member(name: str, data: bytes, at: int) -> bytes:
    """A file of a tar, with all that belongs to it. `at` is in epoch seconds."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(data), at, 0o600
    return b"".join(_parts(info, data))


def _parts(info: tarfile.TarInfo, data: bytes) -> Iterator[bytes]:
    yield info.tobuf(tarfile.PAX_FORMAT)
    yield data
    yield bytes(-len(data) % tarfile.BLOCKSIZE)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2).encode()
