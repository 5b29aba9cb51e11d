"""A process that runs the pipeline until it is killed: `python -m tests.recording.ingesting FOLDER CODEC`."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pbxd.comms.store import Communications
from pbxd.errors import CommsBusy
from pbxd.recording.catalogue import CATALOGUE, Catalogue
from pbxd.recording.pipeline import Pipeline
from tests.comms.conftest import open_store


@asynccontextmanager
async def opened(folder: Path, codec: str = "opus") -> AsyncIterator[tuple[Communications, Catalogue, Pipeline]]:
    """A store and its pipeline, on `folder`/comms and `folder`/spool."""
    store = await open_store(folder, [CATALOGUE])
    catalogue = Catalogue(store.database, store.vault)
    pipeline = Pipeline([folder / "spool"], codec, store, catalogue)
    try:
        yield store, catalogue, pipeline
    finally:
        await pipeline.close()
        await store.close()


def ingest_forever(folder: Path, codec: str = "flac") -> None:
    """Run the pipeline in this process; it does not return."""

    async def run() -> None:
        while True:
            with contextlib.suppress(CommsBusy):  # the run before is going still
                async with opened(folder, codec) as (_, _, pipeline):
                    await pipeline.run()
            await asyncio.sleep(0.001)

    asyncio.run(run())


if __name__ == "__main__":
    ingest_forever(Path(sys.argv[1]), sys.argv[2])
