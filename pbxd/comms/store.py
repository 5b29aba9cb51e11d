"""The store of communications as one thing: database, key, vault, audit and access, opened and closed together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.comms import keys
from pbxd.comms.access import Access
from pbxd.comms.audit import Audit
from pbxd.comms.database import Database
from pbxd.comms.files import file_errors, make_folder
from pbxd.comms.people import Directory
from pbxd.comms.schema import Part, objects
from pbxd.comms.schema import store as store_table
from pbxd.comms.vault import Recovered, Vault
from pbxd.errors import StoreKeyError

log = structlog.get_logger("pbxd.comms")


@dataclass(frozen=True, slots=True)
class CommsSettings:
    """Where the store and its key are."""

    folder: Path
    key_file: Path
    credentials: Path | None = None  # systemd's $CREDENTIALS_DIRECTORY


class Communications:
    """An open store. Recordings, voicemail and chat use its parts; `await Communications.open(…)` and `await close()`."""

    def __init__(self, database: Database, vault: Vault, access: Access, recovered: Recovered) -> None:
        self.database = database
        self.vault = vault
        self.access = access
        self.recovered = recovered  # what the start found

    @property
    def audit(self) -> Audit:
        """The audit log."""
        return self.access.audit

    @classmethod
    async def open(
        cls,
        settings: CommsSettings,
        people: Callable[[], Directory],
        parts: Sequence[Part] = (),
        clock: Callable[[], float] = time.time,
    ) -> Communications:
        """Open the store, or make it; `people` are those of the configuration in force, `parts` the tables of its users.

        CommsBusy, CommsFull, StoreKeyError or CommsError if it cannot be opened.
        """
        if settings.key_file.is_relative_to(settings.folder):
            raise StoreKeyError(
                "comms.key_file is within comms.folder: whoever copies the store would have its key too"
            )
        with file_errors(f"making {settings.folder}"):
            await asyncio.to_thread(make_folder, settings.folder)
        database = await Database.open(settings.folder, parts)
        vault = None
        try:
            vault = Vault(settings.folder, database, await _key(database, settings, clock), clock)
            recovered = await vault.recover(tuple(part.remade for part in parts if part.remade))
        except BaseException:
            if vault is not None:
                await vault.close()
            await database.close()
            raise
        return cls(database, vault, Access(Audit(database, clock), people), recovered)

    async def close(self) -> None:
        """Close everything."""
        await self.vault.close()
        await self.database.close()


async def _key(database: Database, settings: CommsSettings, clock: Callable[[], float]) -> keys.StoreKey:
    """The store's key; of a new store its recipient is entered, and everything is wrapped with it from then on."""
    rows = await database.fetch(select(store_table.c.recipient))
    recipient = rows[0].recipient if rows else None
    key = await asyncio.to_thread(keys.find, settings.key_file, settings.credentials, recipient)
    if recipient is None:
        count = (await database.fetch(select(func.count()).select_from(objects)))[0][0]
        if count:
            raise StoreKeyError(f"{database.path} has {count} objects and does not say whose key they are wrapped with")

        async def enter(connection: AsyncConnection) -> None:
            await connection.execute(
                insert(store_table).values(id=1, recipient=key.recipient, made=int(clock() * 1_000_000))
            )

        await database.run("entering the store's key", enter)
        log.info("a store of communications was made", folder=str(settings.folder), key=str(key.source))
    return key
