"""Has an uploaded sound file turned into what Asterisk plays, by a process of its own: see `sound`."""

from __future__ import annotations

import asyncio
import os
import sys

from pbxd.errors import SpoolError

LARGEST_UPLOAD = 32 * 1024**2  # bytes of a greeting's file
CONVERSION = 60.0  # s that its conversion may take


async def converted(data: bytes) -> bytes:
    """What Asterisk plays, made of an uploaded file. SpoolError if that is no sound file."""
    if len(data) > LARGEST_UPLOAD:
        raise SpoolError(f"the file has more than {LARGEST_UPLOAD // 1024**2} MiB")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pbxd.voicemail.sound", stdin=pipe, stdout=pipe, stderr=pipe,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # numpy would make threads, with memory each
    )  # fmt: skip
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
