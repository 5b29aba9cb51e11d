"""What an admin does with the whole store: look whether all of it is whole, change its key, copy it out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Column, Select, Table, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.comms import keys
from pbxd.comms.schema import objects, parts
from pbxd.comms.schema import store as store_table
from pbxd.comms.store import Communications
from pbxd.comms.vault import Stored
from pbxd.errors import CommsError, ObjectDamaged, ObjectGone

PAGE = 500  # rows in memory at a time


@dataclass(slots=True)
class Verdict:
    """What a look at every object found."""

    objects: int = 0
    bytes: int = 0
    faults: list[str] = field(default_factory=list)
    orphans: int = 0  # set aside, in all


async def verify(store: Communications) -> Verdict:
    """Decrypt everything, compare it with its row, and find what has no row or no file. It reads the whole store."""
    verdict = Verdict()
    names = set()
    async for stored in listed(store):
        names.add(stored.id)
        verdict.objects += 1
        verdict.bytes += stored.size
        if (fault := await _fault(store, stored)) is not None:
            verdict.faults.append(fault)
    files = await store.vault.in_thread(lambda: sorted((store.vault.folder / "objects").glob("*/*.age")))
    for path in files:
        name = path.name.removesuffix(".age")
        if name not in names and await store.vault.find(name) is None and path.exists():
            verdict.faults.append(f"{name}: a file without a row")
    for part in store.database.parts:
        for column in part.sealed:
            if column.table is not objects:
                verdict.faults += [fault async for fault in _unsealable(store, column)]
    verdict.orphans = store.vault.orphans()
    return verdict


async def listed(store: Communications) -> AsyncIterator[Stored]:
    """The rows of all objects, in the order of their ids."""
    after = ""
    while True:
        rows = await store.database.fetch(
            select(objects).where(objects.c.id > after).order_by(objects.c.id).limit(PAGE)
        )
        for row in rows:
            yield Stored(*(getattr(row, name) for name in Stored.__slots__))
        if len(rows) < PAGE:
            return
        after = rows[-1].id


async def _fault(store: Communications, stored: Stored) -> str | None:
    """What is wrong with an object; None if nothing is, or if it was destroyed meanwhile."""
    path = store.vault.path(stored.id)

    def digest() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    try:
        if await store.vault.in_thread(digest) != stored.sha256:
            return f"{stored.id}: the file is not the one that was written"
        with await store.vault.open(stored.id) as file:
            length = file.seek(0, os.SEEK_END)
    except FileNotFoundError:
        return None if await store.vault.find(stored.id) is None else f"{stored.id}: the file is missing"
    except ObjectGone:
        return None
    except (ObjectDamaged, CommsError) as error:
        return f"{stored.id}: {error}"
    except OSError as error:
        return f"{stored.id}: cannot be read: {error.strerror}"
    return None if length == stored.length else f"{stored.id}: {length} bytes, {stored.length} were written"


async def rekey(store: Communications) -> dict[str, Any]:
    """Give the store a new key: everything sealed is sealed anew in one transaction; objects are not touched.

    A kill at any moment leaves the old key or the new one, and the database agrees with the file (`keys.find`).
    StoreKeyError if the key cannot be replaced; CommsError if the transaction failed, or the store has tables that nobody opened
    here and that would keep the old key: then the old key holds.
    """
    opened = {part.name for part in store.database.parts}
    unopened = {row.name for row in await store.database.fetch(select(parts.c.name))} - opened
    if unopened:
        raise CommsError(
            f"the store has {', '.join(sorted(unopened))} too, which this pbxd does not know: upgrade it first"
        )
    vault = store.vault
    old = vault.key
    new = await vault.in_thread(lambda: keys.stage(old))
    count = 0

    async def work(connection: AsyncConnection) -> None:
        nonlocal count
        for part in store.database.parts:
            for column in part.sealed:
                count += await _reseal(store, connection, column, new)
        now = int(vault.clock() * 1_000_000)
        await connection.execute(update(store_table).values(recipient=new.recipient, rekeyed=now))
        vault.change_key(new)

    try:
        await store.database.run("changing the key", work)
    except BaseException:
        vault.change_key(old)
        raise
    vault.change_key(await vault.in_thread(lambda: keys.promote(new, old)))
    await vault.erase()
    return {"resealed": count, "recipient": vault.key.recipient}


async def _reseal(store: Communications, connection: AsyncConnection, column: Column[bytes], new: keys.StoreKey) -> int:
    """Seal every value of a column anew, page by page; how many."""
    table, key = _keys(column)
    count = 0
    after: tuple[Any, ...] | None = None
    while True:
        rows = (await connection.execute(_page(column, after))).all()
        values = [row[-1] for row in rows]
        sealed = await store.vault.in_thread(partial(_anew, store, new, values))
        for row, value in zip(rows, sealed, strict=True):
            where = [field == part for field, part in zip(key, row[:-1], strict=True)]
            await connection.execute(update(table).where(*where).values({column.name: value}))
        count += len(rows)
        if len(rows) < PAGE:
            return count
        after = tuple(rows[-1][:-1])


def _anew(store: Communications, new: keys.StoreKey, values: list[bytes]) -> list[bytes]:
    return [new.seal(store.vault.unseal(value)) for value in values]


async def _unsealable(store: Communications, column: Column[bytes]) -> AsyncIterator[str]:
    """The rows of a column whose value does not come out of its seal."""
    after: tuple[Any, ...] | None = None
    while True:
        rows = await store.database.fetch(_page(column, after))
        for row in rows:
            try:
                await store.vault.in_thread(partial(store.vault.unseal, row[-1]))
            except ObjectDamaged as error:
                yield f"{column} of {', '.join(map(str, row[:-1]))} {error}"
        if len(rows) < PAGE:
            return
        after = tuple(rows[-1][:-1])


def _keys(column: Column[bytes]) -> tuple[Table, list[Column[Any]]]:
    if not isinstance(column.table, Table):
        raise TypeError(f"{column} is no column of a table")
    return column.table, list(column.table.primary_key.columns)


def _page(column: Column[bytes], after: tuple[Any, ...] | None) -> Select[*tuple[Any, ...]]:
    """The next values of a column that are there, each behind its row's primary key."""
    _, key = _keys(column)
    page = select(*key, column).where(column.is_not(None)).order_by(*key).limit(PAGE)
    return page if after is None else page.where(tuple_(*key) > tuple_(*after))
