"""The vault: objects as encrypted files, each with a key of its own, which the store's key wraps and the object's row holds.

`<folder>/objects/ab/<id>.age`, where ab is taken from a hash of the id. An object is there when its row is: first the file,
durably, then the row. To delete is to destroy the wrapped key (`shred`), then the file. Whatever a kill leaves is told apart at the
next start by `recover`. Blocking work is done in one thread of its own, at low priority.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

import structlog
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.comms import age, priority
from pbxd.comms.database import Database
from pbxd.comms.encrypted import Encrypted, encrypt_file
from pbxd.comms.files import HALF, ID, file_errors, make_folder, sync_folder
from pbxd.comms.keys import StoreKey
from pbxd.comms.schema import objects, shredded
from pbxd.errors import CommsError, ObjectDamaged, ObjectGone

T = TypeVar("T")
OPEN_AT_ONCE = 8  # objects that are decrypted in memory at one time for readers; others wait
log = structlog.get_logger("pbxd.vault")
Also = Callable[[AsyncConnection], Awaitable[None]]  # rows of the caller's own that belong into the same transaction


@dataclass(frozen=True, slots=True)
class Stored:
    """The row of an object."""

    id: str
    kind: str
    size: int  # bytes, encrypted
    length: int  # bytes, in the clear
    sha256: str  # of the encrypted bytes
    at: int  # µs


@dataclass(frozen=True, slots=True)
class Draft:
    """An object's key before there is an object: whoever encrypts needs `recipient` only."""

    id: str
    kind: str
    identity: str = field(repr=False)

    @property
    def recipient(self) -> str:
        """The public half of its key."""
        return age.recipient_of(self.identity)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a start found."""

    unfinished: int  # files that were being written: deleted, for what they were made of is still there
    shredded: int  # files whose key had been destroyed: deleted
    unknown: list[str]  # objects without a row: set aside in `orphans`
    missing: list[str]  # rows without their object: kept and reported


class Vault:
    """The objects of one store."""

    def __init__(self, folder: Path, database: Database, key: StoreKey, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self.database = database
        self.key = key
        self._key_before: StoreKey | None = None
        self.clock = clock
        self._thread = ThreadPoolExecutor(1, "vault", initializer=priority.lower_this_thread)
        self._reading = asyncio.Semaphore(OPEN_AT_ONCE)
        self.erase_pending = False  # bytes of a destroyed key may still stand in the write-ahead log

    def path(self, name: str) -> Path:
        """Where the object `name` is, or would be. ValueError if that is no id."""
        if not ID.fullmatch(name):
            raise ValueError(f"{name!r} is no id: letters, digits, dot, line and underline, at most 64")
        return self.folder / "objects" / hashlib.sha256(name.encode()).hexdigest()[:2] / f"{name}.age"

    def seal(self, value: bytes) -> bytes:
        """A small value, sealed with the store's key, for a column that its part calls sealed.

        To be called within `Database.run`: else the key may be another one when the row is written.
        """
        return self.key.seal(value)

    def unseal(self, value: bytes) -> bytes:
        """What `seal` made, in the clear. ObjectDamaged if it was changed."""
        try:
            return self.key.unseal(value)
        except ObjectDamaged:
            if self._key_before is None:
                raise
            return self._key_before.unseal(value)  # it was read just before the key was changed

    def change_key(self, key: StoreKey) -> None:
        """Seal with another key from now on."""
        self._key_before, self.key = self.key, key

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do blocking work in the vault's thread, at low priority."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def find(self, name: str) -> Stored | None:
        """The row of an object, if there is one."""
        rows = await self.database.fetch(select(objects).where(objects.c.id == name))
        return Stored(*(getattr(rows[0], name) for name in Stored.__slots__)) if rows else None

    async def is_shredded(self, name: str) -> bool:
        """Whether an object of this id was destroyed."""
        return bool(await self.database.fetch(select(shredded.c.id).where(shredded.c.id == name)))

    def draft(self, name: str, kind: str) -> Draft:
        """A new key for an object that is to be made. ValueError if `name` is no id."""
        self.path(name)
        return Draft(name, kind, age.new_identity())

    async def put(self, name: str, kind: str, source: BinaryIO | bytes, also: Also | None = None) -> Stored:
        """Encrypt and keep an object, with the rows that `also` adds; durable when it returns.

        An id that is there already is left as it is. `source` is read to its end, in the
        vault's thread. CommsFull, CommsError; ObjectGone if the id was shredded.
        """
        if (found := await self.find(name)) is not None:
            return found
        draft = self.draft(name, kind)
        return await self.adopt(draft, await self.in_thread(lambda: self._encrypt(draft, source)), also)

    def scratch(self, name: str) -> Path:
        """Where a file is written that `adopt` takes: on the same file system, and deleted by `recover` if nobody does."""
        path = self.path(name)
        return path.with_name(path.name + HALF)

    def _encrypt(self, draft: Draft, source: BinaryIO | bytes) -> Encrypted:
        scratch = self.scratch(draft.id)
        with file_errors(f"writing {scratch}"):
            make_folder(scratch.parent)
            return encrypt_file(source, scratch, draft.recipient)

    async def adopt(self, draft: Draft, made: Encrypted, also: Also | None = None) -> Stored:
        """Make an encrypted file an object: renamed, durable, then its row, with what `also` adds, in one transaction."""
        path = self.path(draft.id)
        stored = Stored(draft.id, draft.kind, made.size, made.length, made.sha256, int(self.clock() * 1_000_000))

        def move() -> None:
            with file_errors(f"writing {path}"):
                made.path.rename(path)
                sync_folder(path.parent)

        async def enter(connection: AsyncConnection) -> None:
            gone = select(shredded.c.id).where(shredded.c.id == draft.id)
            if (await connection.execute(gone)).first() is not None:
                raise ObjectGone(f"{draft.id} was destroyed; it does not come back")
            row = {name: getattr(stored, name) for name in Stored.__slots__}
            await connection.execute(insert(objects).values(**row, wrapped=self.seal(draft.identity.encode())))
            if also is not None:
                await also(connection)

        await self.in_thread(move)
        await self.database.run(f"entering {draft.id}", enter)
        return stored

    async def discard(self, name: str) -> None:
        """Delete the file of an object that got no row, and that nobody will put again."""
        if await self.find(name) is None:
            await self.in_thread(lambda: self._unlink(self.path(name)))

    async def open(self, name: str) -> BinaryIO:
        """The object in the clear, as a seekable file in memory that no other process can open. Close it.

        ObjectGone; ObjectDamaged if it does not decrypt; CommsError.
        """
        identity = await self._unwrap(name)
        async with self._reading:
            return await self.in_thread(lambda: self._decrypt(name, identity))

    async def read(self, name: str) -> bytes:
        """The object in the clear; see `open`."""
        with await self.open(name) as file:
            return file.read()

    async def _unwrap(self, name: str) -> str:
        rows = await self.database.fetch(select(objects.c.wrapped).where(objects.c.id == name))
        if not rows:
            raise ObjectGone(f"{name} is not in the vault")
        try:
            return self.unseal(rows[0].wrapped).decode()
        except ObjectDamaged as error:
            raise ObjectDamaged(f"the key of {name} {error}") from error

    def _decrypt(self, name: str, identity: str) -> BinaryIO:
        file = os.fdopen(os.memfd_create("pbxd-object", os.MFD_CLOEXEC), "w+b", buffering=0)
        try:
            with self.path(name).open("rb", buffering=0) as source:
                age.decrypt_stream(source, file, identity)
        except FileNotFoundError as error:
            file.close()
            raise ObjectGone(f"{name} has a row and no file: see pbxctl vault verify") from error
        except ObjectDamaged as error:
            file.close()
            raise ObjectDamaged(f"{name} {error}") from error
        except OSError as error:
            file.close()
            raise CommsError(f"{name} cannot be read: {error.strerror or error}") from error
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    async def shred(self, name: str, also: Also | None = None) -> None:
        """Destroy an object: its key, with what `also` does, in one transaction, then its file. ObjectGone if it is not there."""

        async def destroy(connection: AsyncConnection) -> None:
            found = await connection.execute(delete(objects).where(objects.c.id == name))
            if found.rowcount != 1:
                raise ObjectGone(f"{name} is not in the vault")
            await connection.execute(insert(shredded).values(id=name, at=int(self.clock() * 1_000_000)))
            if also is not None:
                await also(connection)

        await self.database.run(f"destroying {name}", destroy)
        await self.erase()
        await self.in_thread(lambda: self._unlink(self.path(name)))

    async def erase(self) -> bool:
        """Overwrite what is left of deleted rows; False if a reader was in the way, and it has to be tried again."""
        self.erase_pending = not await self.database.erase()
        return not self.erase_pending

    @staticmethod
    def _unlink(path: Path) -> None:
        with file_errors(f"deleting {path}"):
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                sync_folder(path.parent)

    async def recover(self, remade: tuple[str, ...] = ()) -> Recovered:
        """Put in order what a kill or a power cut left. To be called before anything is put. `remade`: see `schema.Part`."""
        rows = {row.id for row in await self.database.fetch(select(objects.c.id))}
        gone = {row.id for row in await self.database.fetch(select(shredded.c.id))}
        found = await self.in_thread(lambda: self._look(rows, gone, remade))
        await self.erase()
        if found.missing:
            log.error("objects of the vault are missing", objects=found.missing)
        return found

    def _look(self, rows: set[str], gone: set[str], remade: tuple[str, ...]) -> Recovered:
        seen: set[str] = set()
        unfinished = leftover = 0
        unknown = []
        with file_errors(f"looking through {self.folder}"):
            for path in sorted((self.folder / "objects").glob("*/*")):
                name = path.name.removesuffix(".age")
                if path.name.endswith(HALF):
                    path.unlink()
                    unfinished += 1
                elif name in rows:
                    seen.add(name)
                elif name in gone:
                    self._unlink(path)
                    leftover += 1
                elif remade and name.startswith(remade):
                    self._unlink(path)
                    unfinished += 1
                else:
                    unknown.append(name)
        return Recovered(unfinished, leftover, unknown, sorted(rows - seen))

    async def set_aside(self, name: str) -> None:
        """Move an object without a row out of the way, to `orphans`: nobody can read it, and nobody is to lose it unasked."""

        def move() -> None:
            with file_errors(f"moving {name}"):
                place = self.folder / "orphans"
                make_folder(place)
                self.path(name).rename(place / f"{name}.age")
                sync_folder(place)

        await self.in_thread(move)
        log.error("an object without a row was set aside", object=name, folder=str(self.folder / "orphans"))

    def orphans(self) -> int:
        """How many objects were set aside."""
        return sum(1 for _ in (self.folder / "orphans").glob("*.age"))

    async def close(self) -> None:
        """Wait for the thread. The database is closed by whoever opened it."""
        await asyncio.to_thread(self._thread.shutdown)
