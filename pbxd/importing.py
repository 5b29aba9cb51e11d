"""A CEL file from elsewhere, read into the store through its one writer. Twice is once: a call replaces itself."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pbxd.calls.interpreter import Interpreter
from pbxd.calls.site import Site
from pbxd.sources import understand
from pbxd.stats.rollup import roll_up
from pbxd.stats.writer import Batch, Writer

AT_ONCE = 2000  # records in one commit


async def import_lines(lines: AsyncIterator[bytes], site: Site, writer: Writer) -> dict[str, int]:
    """Read `lines` and roll up what they changed. StoreError from the writer.

    How many lines, records and lines that could not be understood there were, and how many calls were `late`: not taken, because
    they began where calls have been deleted for their age.
    """
    interpreter = Interpreter(site)
    done = {"lines": 0, "records": 0, "rejects": 0, "late": 0}
    batch = Batch()

    async def commit() -> None:
        nonlocal batch
        late = await writer.commit(batch)
        done["records"] += len(batch.records) - late
        done["late"] += late
        batch = Batch()

    async for line in lines:
        done["lines"] += 1
        for event, _ in understand(line):
            if event is None:
                done["rejects"] += 1
            else:
                batch.records.extend(interpreter.take(event))
        if len(batch.records) >= AT_ONCE:
            await commit()
    batch.records.extend(interpreter.finish())
    await commit()
    await roll_up(writer)
    return done


async def split_lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines of a stream of bytes, without their line breaks; empty ones are left out."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line.rstrip(b"\r")
    if rest.strip():
        yield rest.rstrip(b"\r")
