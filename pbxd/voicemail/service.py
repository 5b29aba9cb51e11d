"""Voicemail as the rest of pbxd uses it: what lies there, what is done with it, greetings."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pbxd.asterisk.manager import ManagerSession
from pbxd.errors import SpoolError
from pbxd.voicemail.index import Index
from pbxd.voicemail.operations import Operations
from pbxd.voicemail.spool import Box, Message

LARGEST_UPLOAD = 32 * 1024**2  # bytes of a greeting's file
CONVERSION = 60.0  # s that its conversion may take


@dataclass(frozen=True, slots=True)
class Sound:
    """A message's sound, as Asterisk wrote it."""

    format: str  # `wav`, `gsm`, …
    data: bytes


class Voicemail:
    """`run` is a part of its own for the daemon's `supervise`."""

    def __init__(self, spool: Path, ami: ManagerSession) -> None:
        self.index = Index(spool)
        self.operations = Operations(ami, self.index)

    async def run(self) -> None:
        """Keep the index until cancelled."""
        await self.index.run()

    def status(self) -> dict[str, Any]:
        """What lies there, and what is wrong with it."""
        scan = self.index.scan
        return {
            "spool": str(self.index.disk.root),
            "boxes": len(scan.boxes),
            "messages": len(scan.messages),
            "new": sum(message.new for message in scan.messages),
            "rejects": len(scan.rejects),
            "last_error": self.index.last_error,
        }

    async def sound(self, box: Box, name: str) -> Sound:
        """A message's sound. SpoolError if it is not there."""
        message = self.index.message(box, name)
        return Sound(*await asyncio.to_thread(self.index.disk.sound, message))

    async def set_greeting(self, box: Box, kind: str, data: bytes | None) -> None:
        """Make a sound file a box's greeting; None takes the greeting away. SpoolError says what is wrong with it."""
        made = None if data is None else await converted(data)
        await asyncio.to_thread(self.index.disk.greet, box, kind, made)


async def converted(data: bytes) -> bytes:
    """What Asterisk plays, made of an uploaded file by a process of its own. SpoolError if that is no sound file."""
    if len(data) > LARGEST_UPLOAD:
        raise SpoolError(f"the file has more than {LARGEST_UPLOAD // 1024**2} MiB")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pbxd.voicemail.sound", stdin=pipe, stdout=pipe, stderr=pipe
    )
    try:
        async with asyncio.timeout(CONVERSION):
            made, said = await process.communicate(data)
    except TimeoutError as error:
        raise SpoolError("the file takes too long to be converted") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise SpoolError(said.decode(errors="replace").strip().rpartition("\n")[2] or "the file cannot be converted")
    return made


def as_json(message: Message) -> dict[str, Any]:
    """A message for the API: `when` in epoch seconds, `duration` in seconds."""
    text = message.text
    return {
        "id": text.id,
        "box": str(message.box),
        "folder": message.folder,
        "new": message.new,
        "when": text.when,
        "duration": text.duration,
        "caller": text.caller,
        "caller_name": text.caller_name,
        "urgent": text.urgent,
        "extension": text.extension,
        "formats": list(message.formats),
    }
