"""Sound of calls that is no recording in the catalogue: it was damaged, or it still waits in the spool.

Whose it is says what lies beside the sound: ready.json, or state.json while the call goes on. Else nobody can tell.
"""

from __future__ import annotations

import asyncio
import json
import tarfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from pbxd.comms.store import Communications
from pbxd.errors import ObjectDamaged, ObjectGone
from pbxd.recording.catalogue import FOREVER, Catalogue
from pbxd.recording.stage import READY, STATE

LARGEST = 16 * 1024**2  # bytes of a state that is read
GOES_ON = "the call goes on, or its recording was not finished: ask again when it is over"
WAITS = "it waits in the spool: ask again in a moment; `pbxctl doctor` says why it does not get into the vault, if it does not"
UNKNOWN = "; whose it is cannot be told: root finds it by `pbxctl vault export`, or in the spool"


@dataclass(frozen=True, slots=True)
class Unmade:
    """One of them."""

    id: str
    why: str
    at: int | None = None  # µs; when it was found to be damaged
    call: str = ""
    start: int | None = None  # µs
    queue: str = ""
    extensions: frozenset[str] = frozenset()  # of the site's own parties
    numbers: frozenset[str] = frozenset()  # that the others said
    known: bool = False  # whose it is

    def of(self, numbers: Collection[str], *, claimed: bool) -> bool:
        """Whether one of these numbers took part; with `claimed` also as what an outside party said of itself."""
        return bool(self.extensions & set(numbers)) or (claimed and bool(self.numbers & set(numbers)))

    def as_json(self) -> dict[str, Any]:
        """Its facts, for people."""
        why = self.why if self.known else self.why + UNKNOWN
        return {"id": self.id, "call": self.call, "start": self.start, "damaged": self.at, "reason": why}


def described(found: Unmade, text: bytes) -> Unmade:
    """With the parties that a ready.json or state.json tells of, whatever else is wrong with it."""
    try:
        said = json.loads(text)
        parties = said["parties"].values() if isinstance(said["parties"], dict) else said["parties"]
        pairs = [(party.get("trunk", True) is False, str(party["number"])) for party in parties]
        call, start, queue = said.get("call"), said.get("start"), said.get("queue")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return found
    return replace(
        found,
        call=call if isinstance(call, str) else "",
        start=start if isinstance(start, int) else None,
        queue=queue if isinstance(queue, str) else "",
        extensions=frozenset(number for own, number in pairs if own),
        numbers=frozenset(number for own, number in pairs if not own),
        known=bool(pairs),
    )


class UnmadeSound:
    """Finds them."""

    def __init__(self, store: Communications, catalogue: Catalogue, spools: Sequence[Path]) -> None:
        self._store = store
        self._catalogue = catalogue
        self._spools = tuple(spools)

    async def waiting(self) -> list[Unmade]:
        """What lies in the spools now. OSError if one cannot be read."""
        found: dict[str, Unmade] = {}
        for one in await asyncio.to_thread(lambda: list(_waiting(self._spools))):
            if one.id not in found or not found[one.id].known:  # a call may be in two spools, its state in one
                found[one.id] = one
        return list(found.values())

    async def damaged(self) -> list[Unmade]:
        """What could not be made into a recording, the newest first; all of it is in the vault, as a tar."""
        return [await self._damaged(row) for row in await self._catalogue.damage(FOREVER)]

    async def _damaged(self, row: dict[str, Any]) -> Unmade:
        found = Unmade(row["id"], f"it is damaged: {row['reason']}", row["at"])
        try:
            with await self._store.vault.open(found.id) as file:
                text = await self._store.vault.in_thread(lambda: _state_in(file))
        except (ObjectGone, ObjectDamaged) as error:
            return replace(found, why=f"{found.why}; {error}")
        return described(found, text)


def _state_in(file: BinaryIO) -> bytes:
    """What a packed folder says of itself; nothing, if it does not."""
    try:
        with tarfile.open(fileobj=file) as tar:
            for member in tar:
                if member.isfile() and Path(member.name).name in (READY, STATE) and member.size <= LARGEST:
                    content = tar.extractfile(member)
                    return b"" if content is None else content.read()
    except tarfile.TarError:
        return b""
    return b""


def _waiting(spools: Iterable[Path]) -> Iterable[Unmade]:
    for folder in (found for spool in spools if spool.is_dir() for found in sorted(spool.iterdir())):
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        for name, why in ((READY, WAITS), (STATE, GOES_ON)):
            try:
                text = (folder / name).read_bytes()
            except FileNotFoundError:
                continue
            yield described(Unmade(folder.name, why), text)
            break
        else:
            if folder.is_dir():  # it has not been taken out of the spool meanwhile
                yield Unmade(folder.name, GOES_ON)
